"""How many bytes a second pass just now: the mean over the last whole seconds, for people who look."""

from __future__ import annotations

SECONDS_COUNT = 5
SLOTS_COUNT = SECONDS_COUNT + 1


class Pace:
    """add() as bytes pass, per_second() when somebody asks. `now` is any clock that never jumps."""

    __slots__ = ("_counts", "_second")

    def __init__(self) -> None:
        self._counts = [0] * SLOTS_COUNT
        self._second = 0

    def add(self, count: int, now: float) -> None:
        second = int(now)
        if second != self._second:
            self._turn(second)
        self._counts[second % SLOTS_COUNT] += count

    def per_second(self, now: float) -> float:
        """Over the last SECONDS_COUNT seconds that are over."""
        second = int(now)
        if second != self._second:
            self._turn(second)
        current = self._counts[second % SLOTS_COUNT]
        return (sum(self._counts) - current) / SECONDS_COUNT

    def _turn(self, second: int) -> None:
        """The seconds in which nothing passed count as such."""
        for passed in range(self._second + 1, second + 1) if second - self._second < SLOTS_COUNT else range(second, second + SLOTS_COUNT):
            self._counts[passed % SLOTS_COUNT] = 0
        self._second = second
