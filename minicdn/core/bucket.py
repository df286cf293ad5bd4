"""A token bucket: how much may pass now, and how long the rest has to wait. The clock is the caller's.

What was taken in any span of t seconds is at most rate × t + the burst. The burst is a quarter of a second's worth, so over 10 s a cap is
exceeded by 2.5 % at most, whatever came before.
"""

from __future__ import annotations

BURST_SECONDS = 0.25
STEP_SECONDS = 0.05
STEP_BYTES_MIN = 4096


class Bucket:
    """rate: bytes a second, more than 0. It begins full."""

    __slots__ = ("_filled_at", "_level", "burst", "rate")

    def __init__(self, rate: float, now: float) -> None:
        self.rate = rate
        self.burst = burst_of(rate)
        self._level = self.burst
        self._filled_at = now

    @property
    def step(self) -> int:
        """The most that is taken at once, in bytes: small, so that many takers have their turns soon, and never more than the burst."""
        return int(min(self.burst, max(STEP_BYTES_MIN, self.rate * STEP_SECONDS)))

    def take(self, count: int, now: float) -> float:
        """0.0: taken. Else nothing was taken, and there will be enough in so many seconds. count: one step at most."""
        self._fill(now)
        if count <= self._level:
            self._level -= count
            return 0.0
        return (count - self._level) / self.rate

    def set_rate(self, rate: float, now: float) -> None:
        """From now on. What was saved up at another rate is kept as far as the new burst allows."""
        self._fill(now)
        self.rate = rate
        self.burst = burst_of(rate)
        self._level = min(self._level, self.burst)

    def _fill(self, now: float) -> None:
        if now > self._filled_at:
            self._level = min(self.burst, self._level + (now - self._filled_at) * self.rate)
            self._filled_at = now


def burst_of(rate: float) -> float:
    """Bytes."""
    return max(1.0, rate * BURST_SECONDS)


def share(rate: float, nodes_count: int) -> float:
    """One node's part of a cap that all have together. Where there are no peers, the manager alone uses it whole."""
    return rate / max(1, nodes_count)
