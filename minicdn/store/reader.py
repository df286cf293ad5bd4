"""A reader: one place in a body, that moves on by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minicdn.errors import BrokenBody, CopyLost

if TYPE_CHECKING:
    from minicdn.store.body import Body

READ_BYTES_MAX = 256 * 1024
SPAN_BYTES_MAX = 4 * 1024 * 1024
"""About what a socket takes at once: with 64 streams on one machine, spans of 1 MiB cost twice the processor time."""


class Reader:
    """Reads [start, end) of a body, or to its end. Made by Body.open."""

    __slots__ = ("_body", "_end", "_rejected_count", "_start", "position")

    def __init__(self, body: Body, start: int, end: int | None) -> None:
        self._body = body
        self._start, self._end = start, end
        self._rejected_count = len(body.ledger.rejected) if body.ledger is not None else 0
        self.position = start

    async def next(self) -> bytes:
        """The next bytes, at most READ_BYTES_MAX; empty at the end. Raises BrokenBody where the end will never come."""
        body, position, end = self._body, self.position, self._end
        self._look_back()
        if end is not None and position >= end:
            return b""  # without a look at the body: what comes behind the span is not waited for
        try:
            reach = await body.wait_reach(position)
        except CopyLost:
            self._look_back()
            raise
        self._look_back()
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

    def next_in_file(self) -> tuple[int, int] | None:
        """(file, count): so many bytes, from `position` on, can be sent from that file at once. The caller says how many it sent, by
        passed(). None: they are elsewhere, or not there yet, or not to be had without waiting; next() says."""
        body, position = self._body, self.position
        cached_file = getattr(body.storage, "cached_file", None)
        if cached_file is None or body.is_unchecked or self._has_news:
            return None
        reach = body.have.reach(position)
        count = min(reach if self._end is None else min(reach, self._end), position + SPAN_BYTES_MAX) - position
        file = cached_file(position, count) if count > 0 else None
        return None if file is None else (file, count)

    def passed(self, count: int) -> None:
        """Bytes of next_in_file() were sent."""
        self.position += count

    @property
    def _has_news(self) -> bool:
        ledger = self._body.ledger
        return ledger is not None and len(ledger.rejected) != self._rejected_count

    def _look_back(self) -> None:
        """What was read is wrong, if it was of a piece that turned out so: the rest can't make it good."""
        if not self._has_news:
            return
        ledger = self._body.ledger
        assert ledger is not None
        news = ledger.rejected[self._rejected_count :]
        self._rejected_count += len(news)
        for start, end in map(ledger.layout.span, news):
            if max(start, self._start) < min(end, self.position):
                raise BrokenBody("a part of what was sent turned out wrong")

    def close(self) -> None:
        """Idempotent."""
        self._body.left(self)
