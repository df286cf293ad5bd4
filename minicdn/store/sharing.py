"""Field lines that many heads have in common, kept once: a small object's head is larger than the object, and most of it says the same.

A line that names one object's octets or their time is its own; of these only the name is shared. Bounded: when it is full it begins
anew, and those that are asked for are soon there again.
"""

from __future__ import annotations

from minicdn.core.message import Head

LINES_MAX = 4096
_OF_ITS_OWN = frozenset(b"etag last-modified set-cookie content-disposition repr-digest content-digest content-md5".split())

POINTER_BYTES = 8
LINE_OVERHEAD_BYTES = 130
"""What a field line costs besides its letters: a bytes object, or two, and the pair of them."""

Line = tuple[bytes, bytes]


def line_cost(line: Line) -> int:
    return LINE_OVERHEAD_BYTES + len(line[0]) + len(line[1])


class SharedLines:
    __slots__ = ("_lines", "_names")

    def __init__(self) -> None:
        self._lines: dict[Line, Line] = {}
        self._names: dict[bytes, bytes] = {}

    def share(self, head: Head) -> tuple[Head, int]:
        """The same head, of lines that others have already, and the bytes that it takes: what is shared, the first one pays for."""
        if len(self._lines) >= LINES_MAX:
            self._lines.clear()
        if len(self._names) >= LINES_MAX:
            self._names.clear()
        lines, cost_bytes = [], POINTER_BYTES * len(head.fields)
        for line in head.fields:
            found = self._lines.get(line)
            if found is None:
                found = self._own(line)
                cost_bytes += line_cost(found)
            lines.append(found)
        return Head(head.status, tuple(lines)), cost_bytes

    def _own(self, line: Line) -> Line:
        name, value = line
        name = self._names.setdefault(name, name)
        if name.lower() in _OF_ITS_OWN:
            return name, value
        return self._lines.setdefault((name, value), (name, value))
