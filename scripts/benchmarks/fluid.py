"""Streams of bytes over shared links, in small steps of time: nearly max-min fair, and cut-through.

Every link end has a level, the rate that none of its streams exceeds; a stream takes the lower one of its two ends, or what its source
has to give. After each step a level moves by how much of its end was used, so that within some steps the streams that could take more
have what others leave (water-filling, Bertsekas and Gallager, *Data Networks* 6.5). What is still too much is scaled down: no end ever
carries more than its rate.

A stream whose source is still receiving the piece can't overtake it, and is a step behind. All streams are stepped at once, as arrays:
a swarm of a thousand has tens of thousands of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush

import numpy as np

_CLOSE = 1.0
"""Bytes that don't matter: rates are floats."""
_BUSY_SECONDS_MIN, _HALF_LIFE_SECONDS = 0.5, 120.0
"""As in core/uplink.py."""


class Stream:
    """One piece after the other from `source` to `target`, both places in the list of ends."""

    __slots__ = ("_done", "fluid", "is_over", "place", "size", "source", "target")

    def __init__(self, fluid: Fluid, source: int, target: int) -> None:
        self.fluid, self.source, self.target = fluid, source, target
        self.size, self._done, self.place = 0, 0.0, -1
        self.is_over = False

    @property
    def done(self) -> float:
        """Bytes of the present piece that have come."""
        return float(self.fluid.done[self.place]) if self.place >= 0 else self._done

    def begin(self, size: int) -> None:
        """Another piece; nothing of it moves before flow()."""
        self.halt()
        self.size, self._done = size, 0.0

    def flow(self, feeder: Stream | None = None) -> None:
        """The source has all of the piece, or gets it by the feeder, which is moving."""
        if self.place < 0:
            self.place = self.fluid.admit(self, self._done)
        self.fluid.feeder[self.place] = feeder.place if feeder is not None else -1

    def halt(self) -> None:
        """Its source has nothing more to give, for now."""
        if self.place >= 0:
            self._done = self.done
            self.fluid.dismiss(self.place)
            self.place = -1


class Fluid:
    """All ends and what moves between them. Rates in bytes per second. meter: each uplink's best rate while it was the limit, NaN before
    it was for a while; limited_counts: by end, streams that could give more than they may."""

    def __init__(self, ups: Sequence[float], downs: Sequence[float]) -> None:
        self.up, self.down = np.array(ups, float), np.array(downs, float)
        self._up_level, self._down_level = self.up.copy(), self.down.copy()
        self.sent_bytes = np.zeros(len(ups))
        self.limited_counts = [0] * len(ups)
        self.meter = np.full(len(ups), np.nan)
        self._busy_seconds = np.zeros(len(ups))
        self._streams: list[Stream | None] = []
        self._free: list[int] = []
        self._resize(256)

    def _resize(self, room: int) -> None:
        for name, kind in (("done", float), ("_size", float), ("feeder", np.int64), ("_source", np.int64), ("_target", np.int64)):
            array, old = np.zeros(room, kind), getattr(self, name, None)
            if old is not None:
                array[: len(old)] = old
            setattr(self, name, array)

    def admit(self, stream: Stream, done: float) -> int:
        place = heappop(self._free) if self._free else len(self._streams)
        if place == len(self._streams):
            self._streams.append(None)
            if place == len(self.done):
                self._resize(2 * place)
        self._streams[place] = stream
        self.done[place], self._size[place] = done, stream.size
        self._source[place], self._target[place] = stream.source, stream.target
        return place

    def dismiss(self, place: int) -> None:
        self._streams[place] = None
        self.done[place] = self._size[place] = 0.0
        self.feeder[place] = -1
        heappush(self._free, place)

    def step(self, seconds: float) -> list[Stream]:
        """Lets so much time pass; returns the streams whose present piece is complete, which have halted."""
        count = len(self._streams)
        source, target, done = self._source[:count], self._target[:count], self.done[:count]
        feeder, size = self.feeder[:count], self._size[:count]
        wish = np.maximum(np.where(feeder >= 0, done[feeder], size) - done, 0.0) / seconds
        most = np.minimum(self._up_level[source], self._down_level[target])
        is_limited, rate = wish > most, np.minimum(wish, most)
        ends = len(self.up)
        up_used, down_used = np.bincount(source, rate, ends), np.bincount(target, rate, ends)
        limited = np.bincount(source, is_limited, ends)
        up_share = np.minimum(self.up / np.maximum(up_used, 1e-9), 1.0)
        down_share = np.minimum(self.down / np.maximum(down_used, 1e-9), 1.0)
        rate *= np.minimum(up_share[source], down_share[target])
        done += rate * seconds
        carried = np.bincount(source, rate, ends)
        self.sent_bytes += carried * seconds
        self._measure(carried, limited > 0, seconds)
        _move_level(self._up_level, self.up, up_used)
        _move_level(self._down_level, self.down, down_used)
        self.limited_counts = limited.astype(int).tolist()
        return self._completed(np.nonzero((done >= size - _CLOSE) & (size > 0.0))[0].tolist())

    def _measure(self, carried: np.ndarray, is_busy: np.ndarray, seconds: float) -> None:
        """As core/uplink.py does: only while something waits for the uplink."""
        self._busy_seconds[is_busy] += seconds
        is_known = is_busy & (self._busy_seconds >= _BUSY_SECONDS_MIN)
        kept = np.nan_to_num(self.meter[is_known]) * 0.5 ** (seconds / _HALF_LIFE_SECONDS)
        self.meter[is_known] = np.maximum(carried[is_known], kept)

    def _completed(self, places: list[int]) -> list[Stream]:
        found = []
        for place in places:
            stream = self._streams[place]
            assert stream is not None
            self.done[place] = self._size[place]
            found.append(stream)
        return found


def _move_level(level: np.ndarray, most: np.ndarray, used: np.ndarray) -> None:
    moved = level * np.clip(most / np.maximum(used, 1e-9), 0.5, 1.5)
    np.copyto(level, np.clip(moved, most / 1000, most), where=used > 0.0)
