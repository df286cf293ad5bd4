"""A reader: one place in a body, that moves on by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minicdn.store.body import Body

READ_BYTES_MAX = 256 * 1024


class Reader:
    """Reads [start, end) of a body, or to its end. Made by Body.open."""

    __slots__ = ("_body", "_end", "position")

    def __init__(self, body: Body, start: int, end: int | None) -> None:
        self._body = body
        self._end = end
        self.position = start

    async def next(self) -> bytes:
        """The next bytes, at most READ_BYTES_MAX; empty at the end. Raises BrokenBody where the end will never come."""
        body, position, end = self._body, self.position, self._end
        if end is not None and position >= end:
            return b""  # without a look at the body: what comes behind the span is not waited for
        reach = await body.wait_reach(position)
        if end is not None and reach > end:
            reach = end
        if reach <= position:
            return b""
        size = min(reach - position, READ_BYTES_MAX)
        storage = body.storage
        data = storage.read(position, size)
        if data is None:
            data = await storage.read_waiting(position, size)
        self.position = position + len(data)
        if not body.is_kept:
            body.moved()
        return data

    def close(self) -> None:
        """Idempotent."""
        self._body.left(self)
