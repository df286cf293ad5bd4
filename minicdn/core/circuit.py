"""Whether to ask a peer that could not be talked to. After a failure it is left alone for a rest that grows, drawn at random between half
its step and all of it, so that those who lost it together don't come back together. Then it is looked for, at nobody's cost; and when
it has answered that, one question tries it for all.

    closed ── failed ──▶ resting ── over ──▶ looked for ── answered ──▶ tried ── reached ──▶ closed
                            ▲                    │ no answer              │ failed
                            └────────────────────┴────────────────────────┘
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

LOOK_SECONDS = 10.0
TRIAL_SECONDS = 2.0
"""Of a look, or a trial, that has not told by then the next who comes makes another."""


class Step(Enum):
    FREE = "free"
    REST = "rest"
    LOOK = "look"
    TRIAL = "trial"


class Circuit:
    """Of one peer. Steps of `base_seconds` doubled up to `max_seconds`."""

    __slots__ = ("_base_seconds", "_has_answered", "_max_seconds", "failures_count", "until_at")

    def __init__(self, base_seconds: float, max_seconds: float) -> None:
        self._base_seconds = base_seconds
        self._max_seconds = max_seconds
        self._has_answered = True
        self.failures_count = 0
        self.until_at = 0.0

    def step(self, now: float) -> Step:
        """What somebody who would ask may do. LOOK: see whether it is there, and ask another one meanwhile."""
        if not self.failures_count:
            return Step.FREE
        if now < self.until_at:
            return Step.REST
        return Step.TRIAL if self._has_answered else Step.LOOK

    def take(self, now: float) -> Step:
        """The same, by who does it: a look or a trial is his."""
        found = self.step(now)
        if found in (Step.LOOK, Step.TRIAL):
            self.until_at = now + (TRIAL_SECONDS if self._has_answered else LOOK_SECONDS)
        return found

    def fail(self, now: float, rng: random.Random) -> bool:
        """Whether it counts: those who were under way when the first one failed learned of the same thing."""
        if self.failures_count and not self._has_answered:
            return False
        self._lengthen(now, rng)
        return True

    def look_failed(self, now: float, rng: random.Random) -> None:
        self._lengthen(now, rng)

    def answered(self, now: float) -> None:
        """A look found it. Where nothing has failed, that is no news."""
        if self.failures_count and not self._has_answered:
            self._has_answered = True
            self.until_at = now

    def _lengthen(self, now: float, rng: random.Random) -> None:
        step = min(self._max_seconds, self._base_seconds * 2 ** min(self.failures_count, 30))
        self.until_at = now + step * (0.5 + rng.random() / 2)
        self.failures_count += 1
        self._has_answered = False
