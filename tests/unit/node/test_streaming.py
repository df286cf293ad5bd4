"""What one fill writes into a body that others fill as well."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

from minicdn.core.counters import Counters
from minicdn.core.message import Head, Request
from minicdn.node.streaming import Streaming
from minicdn.node.supply import FOUND, Supply
from minicdn.store.body import Body
from minicdn.store.memory import MemoryStorage

CHUNK = 1000
LENGTH = 10 * CHUNK


class Arriving:
    """All of a body, chunk by chunk. at: what happens before which chunk."""

    def __init__(self, at: dict[int, Any]) -> None:
        self.chunks_count = 0
        self._at = at
        self.chunks = self._chunks()

    async def _chunks(self) -> AsyncIterator[bytes]:
        for number in range(LENGTH // CHUNK):
            self._at.get(number, lambda: None)()
            self.chunks_count += 1
            yield bytes(CHUNK)

    def gather(self, *arguments: Any, **more: Any) -> None:
        pass

    async def close(self) -> None:
        pass


def test_what_others_have_made_whole_is_streamed_no_further() -> None:
    """It would come a second time, and into a file that is deleted as soon as its entry leaves."""

    async def story() -> None:
        body = Body.partial(MemoryStorage(), LENGTH)
        body.expect(0, LENGTH)

        def make_whole() -> None:
            body.write(2 * CHUNK, bytes(LENGTH - 2 * CHUNK))
            body.finish()

        arriving = Arriving({3: make_whole})
        supply = Supply(FOUND, Head(206, ()), None, LENGTH, 0, "upstream", arriving, LENGTH)  # type: ignore[arg-type]
        shelf = SimpleNamespace(has_room_for=lambda body, size: True)
        fill: Any = SimpleNamespace(span=(0, LENGTH), is_wanted=True, request=Request("GET", b"/a", "/a"))
        assert await Streaming(shelf, Counters()).stream(fill, supply, body) is supply  # type: ignore[arg-type]
        assert arriving.chunks_count == 4
        assert body.is_whole

    asyncio.run(story())
