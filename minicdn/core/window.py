"""The window: which of the wanted pieces may be asked now. Those that follow the first missing one, up to a look-ahead.

Each run of pieces that was wanted at once has a front of its own, and the look-ahead is divided among them: who reads the end of a file
does not wait for who reads all of it.
"""

from __future__ import annotations

AHEAD_MIN = 4
"""Of each front, however many there are."""


class Window:
    """mask: bit i is set where piece i lies within the look-ahead of a front. ahead: pieces."""

    def __init__(self, ahead: int) -> None:
        self.mask = 0
        self._ahead = ahead
        self._fronts: list[list[int]] = []

    def add(self, start: int, end: int) -> int:
        """Pieces [start, end) are wanted from here on. Returns the mask of what lies in the window and did not before."""
        self._fronts.append([start, end])
        return self._look()

    def advance(self, is_missing: bytes | bytearray) -> int:
        """is_missing: by index, 0 where a piece holds nobody up. Returns as add()."""
        has_moved = False
        for front in self._fronts:
            place, end = front
            if place < end and is_missing[place]:
                continue
            found = is_missing.find(1, place, end)
            front[0] = end if found < 0 else found
            has_moved = True
        if not has_moved:
            return 0
        self._fronts = [front for front in self._fronts if front[0] < front[1]]
        return self._look()

    def _look(self) -> int:
        ahead = max(self._ahead // max(len(self._fronts), 1), AHEAD_MIN)
        before, self.mask = self.mask, 0
        for start, end in self._fronts:
            self.mask |= ((1 << min(ahead, end - start)) - 1) << start
        return self.mask & ~before
