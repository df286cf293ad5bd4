"""What this node's uplink carries, measured while it is in use.

A send that returns at once went into a buffer, and says nothing of the link. Only *busy* time counts, in which at least one send to another
node is waited for, and the bytes that leave in it, of all flows together: many flows share one uplink, and none of them alone knows it.
A source that is slower than the link leaves pauses in which nothing is waited for; they are no busy time, but for the moments
between one wait and the next that a sender needs to fetch its next chunk, in which buffers keep the link at work.

Where many flows begin at once, their buffers swallow more than the link carries. So `best` believes a rate only when it lasted from one
window to the next: the lower one of the two counts.

A slow receiver looks like a slow uplink as long as nobody else takes anything. So `best` forgets slowly, and by busy time: a link that is
not used stays what it was.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable

AT_ONCE_SECONDS = 0.001
GAP_SECONDS = 0.005
"""A pause between two waits up to this long is busy time too."""
WINDOW_SECONDS = 3.0
BUCKET_SECONDS = 0.1
BUSY_SECONDS_MIN, BYTES_MIN = 0.5, 256 * 1024
"""Less is no measurement."""
SUSTAINED_SECONDS = 2.0
HALF_LIFE_SECONDS = 120.0
STALE_SECONDS, FORGET_SECONDS = 60.0, 3600.0
"""For so long a rate, and the best one, are believed without new evidence."""

THIN = 0.5


def is_thin(uplink: float | None, owed_bytes: float, seconds: float) -> bool:
    """Whether a node's uplink carries so much less than the share of copies that falls to it that others had better pass them on.
    owed_bytes: what it has taken in so many seconds, times its share of the pieces beside that of others."""
    return uplink is not None and uplink * seconds < THIN * owed_bytes


class UplinkMeter:
    """`waiting_count`: sends that are waited for now. Instants are monotonic seconds, rates bytes per second of busy time."""

    def __init__(self) -> None:
        self.waiting_count = 0
        self._buckets: deque[tuple[float, int]] = deque()
        self._rate: float | None = None
        self._open_seconds = 0.0
        self._open_bytes = 0
        self._busy_from = 0.0
        self._idle_at = float("-inf")
        self._edge_bytes = 0
        self._heard_at = float("-inf")
        self._best: float | None = None

    def sending(self, now: float) -> float:
        """Before a send is awaited; returns what `sent` asks for."""
        if not self.waiting_count:
            is_going_on = now - self._idle_at <= GAP_SECONDS
            self._busy_from = self._idle_at if is_going_on else now
            if not is_going_on:
                self._edge_bytes = 0
        self.waiting_count += 1
        return now

    def sent(self, began: float, size: int, now: float) -> None:
        """After it, always: with size 0 where it failed, so that time lost on a peer that takes nothing is not held against the link."""
        self.waiting_count -= 1
        if not size:
            self._busy_from = now
        elif self.waiting_count or now - began >= AT_ONCE_SECONDS:
            self._take(now - self._busy_from, size + self._edge_bytes, now)
            self._edge_bytes = 0
            self._busy_from = self._idle_at = now
        else:
            self._edge_bytes += size

    def rate(self, now: float) -> float | None:
        """Over the last seconds of busy time; None while too little is known, or it is too long ago."""
        return self._rate if now - self._heard_at <= STALE_SECONDS else None

    def best(self, now: float) -> float | None:
        """The highest rate that lasted for two windows, halved by each HALF_LIFE_SECONDS of lower ones; before that, the rate so far."""
        if now - self._heard_at > FORGET_SECONDS:
            return None
        return self._best if self._best is not None else self._rate

    def _take(self, seconds: float, size: int, now: float) -> None:
        self._heard_at = now
        self._open_seconds += seconds
        self._open_bytes += size
        if self._open_seconds < BUCKET_SECONDS:
            return
        self._buckets.appendleft((self._open_seconds, self._open_bytes))
        self._note_rates(self._open_seconds)
        self._open_seconds, self._open_bytes = 0.0, 0

    def _note_rates(self, seconds: float) -> None:
        """Two windows are kept, the newest bucket first: this one and the one before it."""
        recent, rest = _cut(self._buckets)
        before, too_old = _cut(rest)
        for _ in too_old:
            self._buckets.pop()
        self._rate = _rate(recent)
        earlier = _rate(before)
        if self._rate is not None and earlier is not None and sum(length for length, _ in before) >= SUSTAINED_SECONDS:
            kept = (self._best or 0.0) * 0.5 ** (seconds / HALF_LIFE_SECONDS)
            self._best = max(min(self._rate, earlier), kept)


def _cut(buckets: Iterable[tuple[float, int]]) -> tuple[list[tuple[float, int]], list[tuple[float, int]]]:
    """The first buckets, a window of them, and the rest."""
    found, seconds = list(buckets), 0.0
    for index, (length, _) in enumerate(found):
        seconds += length
        if seconds >= WINDOW_SECONDS:
            return found[: index + 1], found[index + 1 :]
    return found, []


def _rate(buckets: Collection[tuple[float, int]]) -> float | None:
    seconds, size = sum(length for length, _ in buckets), sum(sent for _, sent in buckets)
    return size / seconds if seconds >= BUSY_SECONDS_MIN and size >= BYTES_MIN else None
