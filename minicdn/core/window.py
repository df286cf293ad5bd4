"""The window: which of the wanted pieces may be asked now. Those from the first missing one on, up to a look-ahead.

What counts is how many pieces in the window nobody is known to have: each of them is one that the upstream must send. Few at a time are
sent quickly, and can be passed on soon; those that somebody has already cost the upstream nothing, and may all be asked for.

Each run of pieces that was wanted at once has a front of its own, and the look-ahead is divided among them: who reads the end of a file
does not wait for who reads all of it.
"""

from __future__ import annotations

AHEAD_MIN = 4
"""Of each front, however many there are."""


class Window:
    """mask: bit i is set where piece i lies in the window of a front. ahead: pieces."""

    def __init__(self, ahead: int) -> None:
        self.mask = 0
        self._ahead = ahead
        self._fronts: list[int] = []

    def add(self, start: int, end: int) -> None:
        """Pieces [start, end) are wanted from here on; look() shows them."""
        self._fronts.append(((1 << (end - start)) - 1) << start)

    def look(self, missing_mask: int, unheard_mask: int) -> int:
        """Masks of pieces that are wanted and not here, and those of them that nobody is known to have. Returns the mask of what lies in
        the window and did not before."""
        self._fronts = [front for front in self._fronts if front & missing_mask]
        ahead = max(self._ahead // max(len(self._fronts), 1), AHEAD_MIN)
        before, self.mask = self.mask, 0
        for front in self._fronts:
            self.mask |= front & _first(front & missing_mask & unheard_mask, ahead)
        return self.mask & ~before


def _first(mask: int, count: int) -> int:
    """Ones up to where `count` bits of the mask are passed; where it has no more, without end."""
    if mask.bit_count() <= count:
        return -1
    for _ in range(count):
        mask &= mask - 1
    return (mask & -mask) - 1
