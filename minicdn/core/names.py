"""What follows from the names of a head's lines alone, whatever their values: the same for nearly all heads of one sender.

So it is remembered by the names as they were written (`by_names`), and of a head that is like others nothing has to be looked for:
where its Date stands, say, or that nothing in it ends at this hop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import TypeVar

ALIKE_MAX = 512
ALIKE_BYTES_MAX = 2048
ALIKE_LINES_MAX = 64
"""Of what is remembered: how many heads, how long all names of one are together, and of how many lines one is: an object for each short
name takes twenty times its length, and a client can send a thousand."""

Names = tuple[bytes, ...]
Found = TypeVar("Found")

_NAME = itemgetter(0)


class TooLong(Exception):
    """Not to be remembered: what raises is not kept by lru_cache."""


def by_names(look: Callable[[Names], Found]) -> Callable[[Sequence[tuple[bytes, bytes]]], Found]:
    """A function of field lines that asks for their names only, made of one of the names, as they were written and in their order.
    What it finds must not be changed by who asked."""

    @lru_cache(ALIKE_MAX)
    def remembered(names: Names) -> Found:
        if len(names) > ALIKE_LINES_MAX or sum(map(len, names)) > ALIKE_BYTES_MAX:
            raise TooLong
        return look(names)

    def ask(fields: Sequence[tuple[bytes, bytes]]) -> Found:
        names = tuple(map(_NAME, fields))
        try:
            return remembered(names)
        except TooLong:
            return look(names)

    return ask


@by_names
def names_of(names: Names) -> frozenset[bytes]:
    """The lines' names in lower case."""
    return frozenset([name.lower() for name in names])
