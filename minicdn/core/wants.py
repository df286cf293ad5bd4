"""What a swarm's requester wants: each piece is in exactly one state, and what follows from the states is kept beside them."""

from __future__ import annotations

from collections.abc import Iterator

UNWANTED, WANTED, FLYING, HELD = range(4)


class Wants:
    """state: by index. Masks have bit i for piece i. missing_mask: it is wanted and not here; mask: WANTED, that is nobody is asked for it
    now."""

    def __init__(self, count: int) -> None:
        self.state = bytearray(count)
        self.missing_mask = 0
        self.mask = 0
        self._turns = [0] * count
        self._turn = 0

    def set(self, index: int, state: int) -> None:
        self.state[index] = state
        bit = 1 << index
        self.mask = self.mask | bit if state == WANTED else self.mask & ~bit
        self.missing_mask = self.missing_mask | bit if state in (WANTED, FLYING) else self.missing_mask & ~bit
        if state == FLYING:
            self._turn = max(self._turn, self._turns[index])

    def take_turns(self, run: list[int]) -> None:
        """What is wanted later has its turn beside what is left of what was wanted before (fair queueing by virtual time, Demers et al.
        1989): the reader of a file's end does not wait for the reader of all of it."""
        for place, index in enumerate(run):
            self._turns[index] = self._turn + place

    def turn(self, index: int) -> int:
        """The lower, the sooner it is asked for."""
        return self._turns[index]


def indices(mask: int) -> Iterator[int]:
    """The pieces in the mask, in file order."""
    while mask:
        yield lowest(mask)
        mask &= mask - 1


def lowest(mask: int) -> int:
    """The first one of the pieces in the mask, which has some."""
    return (mask & -mask).bit_length() - 1
