"""The node's only watch. Wall time dates messages (Age, Expires); monotonic time measures waits. Tests bring their own."""

from __future__ import annotations

import time


class Clock:
    def wall(self) -> float:
        """Seconds since 1970, UTC. May jump."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since some start. Never jumps."""
        return time.monotonic()
