"""What follows from the names of a head's lines alone, whatever their values: the same for nearly all heads of one sender.

So it is remembered by the names as they were written (`by_names`), and of a head that is like others nothing has to be looked for:
where its Date stands, say, or that nothing in it ends at this hop. What follows from all that a client says is remembered by that
(`by_lines`).
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

CLIENTS_ALIKE_MAX, LINES_BYTES_MAX = 256, 4096
"""The same of clients, and their whole lines: a head may have 64 KiB, and no two need be alike."""

Names = tuple[bytes, ...]
Lines = tuple[tuple[bytes, bytes], ...]
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


def are_few(lines: Lines) -> bool:
    """Whether they may be remembered."""
    return len(lines) <= ALIKE_LINES_MAX and sum([len(name) + len(value) for name, value in lines]) <= LINES_BYTES_MAX


def by_lines(look: Callable[[Lines, str], Found]) -> Callable[[Lines, str], Found]:
    """A function of a client's lines and of this node's name, which remembers. What it finds must not be changed by who asked."""

    @lru_cache(CLIENTS_ALIKE_MAX)
    def remembered(lines: Lines, name: str) -> Found:
        if not are_few(lines):
            raise TooLong
        return look(lines, name)

    def ask(lines: Lines, name: str) -> Found:
        try:
            return remembered(lines, name)
        except TooLong:
            return look(lines, name)

    return ask


@by_names
def names_of(names: Names) -> frozenset[bytes]:
    """The lines' names in lower case."""
    return frozenset([name.lower() for name in names])
