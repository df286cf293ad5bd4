"""Streams of bytes over shared links, in small steps of time: nearly max-min fair, and cut-through.

Every link end has a level, the rate that none of its streams exceeds; a stream takes the lower one of its two ends, or what its source
has to give. After each step a level moves by how much of its end was used, so that within some steps the streams that could take more
have what others leave (water-filling, Bertsekas and Gallager, *Data Networks* 6.5). What is still too much is scaled down: no end ever
carries more than its rate.

A stream whose source is still receiving the piece can't overtake it.
"""

from __future__ import annotations

from collections.abc import Iterable

_CLOSE = 1.0
"""Bytes that don't matter: rates are floats."""


class End:
    """A host's link: rates in bytes per second. meter: the uplink's best rate while it was the limit, None before it was for a while."""

    __slots__ = (
        *("up", "up_level", "up_share", "up_used", "down", "down_level", "down_share", "down_used"),
        *("busy_seconds", "limited_count", "meter", "open_count", "sent_bytes"),
    )

    def __init__(self, up: float, down: float) -> None:
        self.up, self.down = up, down
        self.up_level, self.down_level = up, down
        self.up_used = self.down_used = 0.0
        self.up_share = self.down_share = 1.0
        self.open_count = self.limited_count = 0
        self.sent_bytes = self.busy_seconds = 0.0
        self.meter: float | None = None

    @property
    def is_saturated(self) -> bool:
        return self.limited_count > 0


class Stream:
    """Pieces that `source` sends to `target`, one after the other. feeder: the stream that brings the source the present piece;
    is_whole: it has all of it."""

    __slots__ = ("done", "feeder", "index", "is_limited", "is_mute", "is_over", "is_whole", "rate", "size", "source", "target")

    def __init__(self, source: End, target: End) -> None:
        self.source, self.target = source, target
        self.index, self.size, self.done, self.rate = -1, 0, 0.0, 0.0
        self.feeder: Stream | None = None
        self.is_whole = self.is_limited = self.is_mute = self.is_over = False

    def begin(self, index: int, size: int) -> None:
        self.index, self.size, self.done = index, size, 0.0
        self.feeder, self.is_whole = None, False


def step(streams: Iterable[Stream], ends: Iterable[End], seconds: float) -> list[Stream]:
    """Lets so much time pass; returns the streams whose present piece is complete."""
    for end in ends:
        end.limited_count = 0
    _wish(streams, seconds)
    for end in ends:
        _share(end, seconds)
    return _move(streams, seconds)


def _wish(streams: Iterable[Stream], seconds: float) -> None:
    for stream in streams:
        if stream.is_whole:
            there = stream.size - stream.done
        else:
            feeder = stream.feeder
            there = feeder.done - stream.done if feeder is not None and feeder.index == stream.index else 0.0
        if there <= 0.0 or stream.is_mute:
            stream.rate, stream.is_limited = 0.0, False
            continue
        source, target = stream.source, stream.target
        rate, most = there / seconds, source.up_level
        if target.down_level < most:
            most = target.down_level
        if rate > most:
            rate, stream.is_limited = most, True
            source.limited_count += 1
        else:
            stream.is_limited = False
        stream.rate = rate
        source.up_used += rate
        target.down_used += rate


def _share(end: End, seconds: float) -> None:
    used = end.up_used
    if used > 0.0:
        end.up_share = end.up / used if used > end.up else 1.0
        end.sent_bytes += min(used, end.up) * seconds
        _measure(end, min(used, end.up), seconds)
        end.up_level = min(max(end.up_level * min(max(end.up / used, 0.5), 1.5), end.up / 1000), end.up)
    used = end.down_used
    if used > 0.0:
        end.down_share = end.down / used if used > end.down else 1.0
        end.down_level = min(max(end.down_level * min(max(end.down / used, 0.5), 1.5), end.down / 1000), end.down)
    end.up_used = end.down_used = 0.0


def _measure(end: End, rate: float, seconds: float) -> None:
    """As core/uplink.py does: only while something waits for the uplink."""
    if not end.limited_count:
        return
    end.busy_seconds += seconds
    if end.busy_seconds >= 0.5:
        end.meter = rate if end.meter is None else max(rate, end.meter * 0.5 ** (seconds / 120.0))


def _move(streams: Iterable[Stream], seconds: float) -> list[Stream]:
    complete = []
    for stream in streams:
        rate = stream.rate
        if rate > 0.0:
            up, down = stream.source.up_share, stream.target.down_share
            stream.done += rate * seconds * (up if up < down else down)
            if stream.done >= stream.size - _CLOSE:
                stream.done = float(stream.size)
                complete.append(stream)
    return complete
