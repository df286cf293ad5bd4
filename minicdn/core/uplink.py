"""What this node's uplink carries, measured while it is in use.

A send that returns at once went into a buffer, and says nothing of the link. Only *busy* time counts, in which at least one send to another
node is waited for, and the bytes that leave in it, of all flows together: many flows share one uplink, and none of them alone knows it.
A source that is slower than the link leaves pauses in which nothing is waited for; they are no busy time, but for the moments
between one wait and the next that a sender needs to fetch its next chunk, in which buffers keep the link at work.

A slow receiver looks like a slow uplink as long as nobody else takes anything. So `best` forgets slowly, and by busy time: a link that is
not used stays what it was.
"""

from __future__ import annotations

from collections import deque

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


class UplinkMeter:
    """`waiting_count`: sends that are waited for now. Instants are monotonic seconds, rates bytes per second of busy time."""

    def __init__(self) -> None:
        self.waiting_count = 0
        self._buckets: deque[tuple[float, int]] = deque()
        self._busy_seconds = 0.0
        self._sent_bytes = 0
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
        return self._window_rate() if now - self._heard_at <= STALE_SECONDS else None

    def best(self, now: float) -> float | None:
        """The highest rate that lasted for SUSTAINED_SECONDS of busy time, halved by each HALF_LIFE_SECONDS of lower ones."""
        if now - self._heard_at > FORGET_SECONDS:
            return None
        return self._best if self._best is not None else self._window_rate()

    def _take(self, seconds: float, size: int, now: float) -> None:
        self._heard_at = now
        self._open_seconds += seconds
        self._open_bytes += size
        if self._open_seconds < BUCKET_SECONDS:
            return
        self._buckets.append((self._open_seconds, self._open_bytes))
        self._busy_seconds += self._open_seconds
        self._sent_bytes += self._open_bytes
        while self._busy_seconds - self._buckets[0][0] >= WINDOW_SECONDS:
            old_seconds, old_bytes = self._buckets.popleft()
            self._busy_seconds -= old_seconds
            self._sent_bytes -= old_bytes
        self._note_best(self._open_seconds)
        self._open_seconds, self._open_bytes = 0.0, 0

    def _note_best(self, seconds: float) -> None:
        rate = self._window_rate()
        if rate is None or self._busy_seconds < SUSTAINED_SECONDS:
            return
        kept = (self._best or 0.0) * 0.5 ** (seconds / HALF_LIFE_SECONDS)
        self._best = max(rate, kept)

    def _window_rate(self) -> float | None:
        if self._busy_seconds < BUSY_SECONDS_MIN or self._sent_bytes < BYTES_MIN:
            return None
        return self._sent_bytes / self._busy_seconds
