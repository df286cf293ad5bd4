"""What goes on to the upstream, or to the peer that asks it: a client's fields, and how many contents at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from minicdn.core.conditional import strip_conditionals
from minicdn.core.headers import end_to_end, without
from minicdn.core.message import Fields
from minicdn.core.names import Lines, by_lines
from minicdn.errors import NotReady

NOT_PASSED = frozenset((b"host", b"expect"))
NOT_FILLED_WITH = frozenset((b"range", b"content-length"))


def passed_fields(fields: Fields) -> list[tuple[bytes, bytes]]:
    """End-to-end ones, without what is meant for the next hop or for us."""
    kept = end_to_end(fields)
    return [(name, value) for name, value in kept if name not in NOT_PASSED and not name.startswith(b"x-minicdn-")]


def forwarded_fields(fields: Fields) -> list[tuple[bytes, bytes]]:
    """The same as a fill carries them: for the whole body, and without conditions."""
    return list(_forwarded(tuple(fields), ""))


@by_lines
def _forwarded(fields: Lines, _: str) -> Fields:
    """A client says the same in each of its requests."""
    return without(strip_conditionals(passed_fields(fields)), NOT_FILLED_WITH)


class Uploads:
    """Requests with content have half of the connections to the upstream at most: each lasts as long as its client likes, and a few that
    send a byte now and then would take the upstream away from all others."""

    def __init__(self, connections_max: int, wait_seconds: float) -> None:
        self._free = asyncio.Semaphore(max(1, connections_max // 2))
        self._wait_seconds = wait_seconds

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Raises NotReady where none comes."""
        try:
            async with asyncio.timeout(self._wait_seconds):
                await self._free.acquire()
        except TimeoutError:
            raise NotReady("too many uploads pass through this node; ask again in a moment") from None
        try:
            yield
        finally:
            self._free.release()
