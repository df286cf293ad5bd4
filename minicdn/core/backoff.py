"""How long to wait before trying again: longer after each failure, never the same for everybody.

The wait is drawn evenly between half the step and the whole step ("equal jitter"): full jitter's shortest waits would hammer
a manager that is coming back, and without jitter all peers would return in the same instant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random


class Backoff:
    """Steps of `base_seconds` doubled after each failure up to `max_seconds`; `reset` after a success."""

    def __init__(self, base_seconds: float, max_seconds: float) -> None:
        self.base_seconds = base_seconds
        self.max_seconds = max_seconds
        self.failures_count = 0

    def next_seconds(self, rng: random.Random) -> float:
        """The wait after one more failure."""
        step = min(self.max_seconds, self.base_seconds * 2 ** min(self.failures_count, 30))
        self.failures_count += 1
        return step * (0.5 + rng.random() / 2)

    def reset(self) -> None:
        self.failures_count = 0
