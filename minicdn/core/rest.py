"""When to try again what could not be reached: at once after the first failure, which may be an accident; after each further one in a row
later, by a wait drawn evenly from nothing up to a step that doubles ("full jitter"), so that nodes which failed together don't return
together. When a wait is over one attempt goes ahead for all, and what becomes of it is the others' answer too.

    nothing failed ──▶ everybody goes (FREE)
    a rest         ──▶ nobody goes (REST)
    it is over     ──▶ the first goes (TRIAL), the others wait for that one's end (WAIT)
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random


class Turn(Enum):
    FREE = "free"
    TRIAL = "trial"
    WAIT = "wait"
    REST = "rest"


class Rest:
    """Steps of `base_seconds` doubled after each failure up to `max_seconds`."""

    def __init__(self, base_seconds: float, max_seconds: float) -> None:
        self.base_seconds = base_seconds
        self.max_seconds = max_seconds
        self.failures_count = 0
        self.until_at = 0.0
        self._is_tried = False

    def take(self, now: float) -> Turn:
        """What somebody who comes now may do. Who gets the TRIAL says how it ended: reached, failed or without a verdict."""
        if not self.failures_count:
            return Turn.FREE
        if self._is_tried:
            return Turn.WAIT
        if now < self.until_at:
            return Turn.REST
        self._is_tried = True
        return Turn.TRIAL

    def left_seconds(self, now: float) -> float:
        return max(0.0, self.until_at - now)

    def fail(self, turn: Turn, now: float, rng: random.Random) -> bool:
        """Whether it counts: those who were under way when the first one failed learned of the same thing."""
        if turn is Turn.FREE and self.failures_count:
            return False
        step = min(self.max_seconds, self.base_seconds * 2 ** min(self.failures_count - 1, 30))
        self.until_at = now + (rng.random() * step if self.failures_count else 0.0)
        self.failures_count += 1
        self._is_tried = False
        return True

    def reach(self) -> int:
        """It is there. Returns how many failures in a row that ends."""
        ended_count, self.failures_count = self.failures_count, 0
        self._is_tried = False
        return ended_count

    def give_up(self) -> None:
        """The trial ended without a verdict; the next may try."""
        self._is_tried = False
