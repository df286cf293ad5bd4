"""Field lines that many heads have in common, kept once: a small object's head is larger than the object, and most of it says the same.

A line that names one object's octets or their time is its own; of these only the name is shared. Bounded: when it is full it begins
anew, and those that are asked for are soon there again.
"""

from __future__ import annotations

from minicdn.core.message import Fields, Head
from minicdn.core.names import Names, by_names

LINES_MAX = 4096
_OF_ITS_OWN = frozenset(b"etag last-modified set-cookie content-disposition repr-digest content-digest content-md5".split())

POINTER_BYTES = 8
LINE_OVERHEAD_BYTES = 130
"""What a field line costs besides its letters: a bytes object, or two, and the pair of them."""

Line = tuple[bytes, bytes]


def line_cost(line: Line) -> int:
    return LINE_OVERHEAD_BYTES + len(line[0]) + len(line[1])


class SharedLines:
    __slots__ = ("_lines",)

    def __init__(self) -> None:
        self._lines: dict[Line, Line] = {}

    def share(self, head: Head) -> tuple[Head, int]:
        """The same head, of lines that others have already, and the bytes that it takes: what is shared, the first one pays for."""
        if len(self._lines) >= LINES_MAX:
            self._lines.clear()
        fields = head.fields
        names, own = _alike(fields)
        lines: list[Line | None] = list(map(self._lines.get, fields))
        cost_bytes = POINTER_BYTES * len(lines)
        for at in own:
            line = lines[at] = names[at], fields[at][1]
            cost_bytes += line_cost(line)
        if None in lines:
            cost_bytes += self._take_in(names, fields, lines)
        return Head(head.status, tuple(lines)), cost_bytes  # type: ignore[arg-type]

    def _take_in(self, names: Names, fields: Fields, lines: list[Line | None]) -> int:
        """Those that are not known yet, here and in `lines`. Returns what they take."""
        cost_bytes = 0
        for at, line in enumerate(lines):
            if line is None:
                new = names[at], fields[at][1]
                lines[at] = self._lines.setdefault(new, new)
                cost_bytes += line_cost(new)
        return cost_bytes


@by_names
def _alike(names: Names) -> tuple[Names, tuple[int, ...]]:
    """The names, the same objects for all heads that have them; and where the lines stand that are of one head alone."""
    return names, tuple(at for at, name in enumerate(names) if name.lower() in _OF_ITS_OWN)
