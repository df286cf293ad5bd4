"""How large the blocks are in which a body is taken from its connection: about what comes in a moment.

To be woken for each packet costs more than the packet does; to wait for a large block of a slow body keeps its bytes from who waits for
them. So blocks begin with whatever is there, double while they come quickly, and begin anew when nothing has come for a while.
"""

from __future__ import annotations

FIRST_BYTES = 4 * 1024
QUICK_SECONDS = 0.02
QUIET_SECONDS = 0.05
"""After so long without a byte, or twice that, whatever is there is taken."""


class Blocks:
    """`bytes`: how many to wait for now. Instants are monotonic seconds."""

    __slots__ = ("_began_at", "_bytes_max", "_came_bytes", "bytes")

    def __init__(self, bytes_max: int, now: float) -> None:
        self._bytes_max = bytes_max
        self.quiet(now)

    def came(self, count: int, now: float) -> None:
        """So many bytes more are here."""
        self._came_bytes += count
        if self._came_bytes < max(self.bytes, FIRST_BYTES):
            return
        took_seconds = now - self._began_at
        if took_seconds <= QUICK_SECONDS:
            self.bytes = min(max(2 * self.bytes, FIRST_BYTES), self._bytes_max)
        elif took_seconds > 2 * QUICK_SECONDS:
            self.bytes = self.bytes // 2 if self.bytes > FIRST_BYTES else 1
        self._came_bytes, self._began_at = 0, now

    def quiet(self, now: float) -> None:
        """Nothing has come for a while."""
        self.bytes = 1
        self._came_bytes, self._began_at = 0, now
