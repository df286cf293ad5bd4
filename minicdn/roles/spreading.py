"""How a purge gets from the node where it arrived to all others: told to each, at once, with a deadline; and invalidations in batches.

Who can't be told is named in the answer, and learns it otherwise: with its next renewal, or when it joins.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from minicdn.core.purging import ITEMS_MAX, Purge, merged
from minicdn.errors import PeerError
from minicdn.node.purger import Purger
from minicdn.wire.purgeclient import PurgeClient
from minicdn.wire.purges import PurgeAnswer, PurgeCall

TOLD_AT_ONCE_MAX = 64
ALL_TOLD_SECONDS = 5.0
ASIDE_SECONDS = 5.0
"""Who did not answer is not waited for again for this long: a frozen laptop must not delay every POST by two seconds."""
ASIDE_MAX = 4096
INVALIDATION_SECONDS = 1.0
"""How long the answer to a POST waits for other nodes to learn of it."""


class FanOut:
    """From this node to many. `monotonic` is the node's clock."""

    def __init__(self, client: PurgeClient, monotonic: Callable[[], float]) -> None:
        self._client = client
        self._monotonic = monotonic
        self._aside: dict[str, float] = {}

    def heard_from(self, url: str) -> None:
        """It is there, whatever it was before."""
        self._aside.pop(url, None)

    async def tell(self, urls: Iterable[str], call: PurgeCall, on_told: Callable[[str, PurgeAnswer], None] | None = None) -> PurgeAnswer:
        """What they answered, taken together. Takes ALL_TOLD_SECONDS at most."""
        turns = asyncio.Semaphore(TOLD_AT_ONCE_MAX)
        tasks = {asyncio.ensure_future(self._tell_one(url, call, turns)): url for url in urls}
        if not tasks:
            return PurgeAnswer(0, 0)
        try:
            await asyncio.wait(tasks, timeout=ALL_TOLD_SECONDS)
        finally:
            for task in tasks:
                task.cancel()
        purged, nodes, unreachable = 0, 0, []
        for task, url in tasks.items():
            answer = task.result() if task.done() and not task.cancelled() else None
            if answer is None:
                unreachable.append(url)
                continue
            purged, nodes = purged + answer.purged, nodes + 1
            if on_told is not None:
                on_told(url, answer)
        return PurgeAnswer(purged, nodes, tuple(unreachable))

    async def _tell_one(self, url: str, call: PurgeCall, turns: asyncio.Semaphore) -> PurgeAnswer | None:
        # One without a place in the journal comes this way or not for long: then everybody is worth the wait.
        if call.mark is not None and self._aside.get(url, 0.0) > self._monotonic():
            return None
        async with turns:
            try:
                answer = await self._client.tell(url, call)
            except PeerError:
                if len(self._aside) >= ASIDE_MAX:
                    self._aside.clear()
                self._aside[url] = self._monotonic() + ASIDE_SECONDS
                return None
        self.heard_from(url)
        return answer

    async def close(self) -> None:
        await self._client.close()


class Invalidations:
    """Of unsafe methods, as they pass through this node: one batch is under way, the others gather for the next.

    hold: keeps a task of the role's. spread: has all nodes carry a purge out.
    """

    def __init__(self, purger: Purger, spread: Callable[[Purge], Awaitable[object]], hold: Callable[[Any], asyncio.Task[None]]) -> None:
        self._purger = purger
        self._spread = spread
        self._hold = hold
        self._running: asyncio.Task[None] | None = None
        self._gathered: list[Purge] = []
        self._next_over: asyncio.Event = asyncio.Event()

    async def __call__(self, purge: Purge) -> None:
        """In force here when this begins to wait, and everywhere when it returns; or it took too long, and goes on behind."""
        self._gathered.append(purge)
        over = self._next_over
        if self._running is None or self._running.done():
            self._running = self._hold(self._run())
        else:
            self._purger.begin(purge)
        try:
            async with asyncio.timeout(INVALIDATION_SECONDS):
                await over.wait()
        except TimeoutError:
            pass

    async def _run(self) -> None:
        while self._gathered:
            gathered, self._gathered = self._gathered, []
            over, self._next_over = self._next_over, asyncio.Event()
            try:
                await self._spread(merged(gathered))
            finally:
                over.set()


class Replacements:
    """Keys whose body was replaced here while copies of the old one may be fresh elsewhere: told in batches, behind the answer.

    tell: has all other nodes carry a purge out.
    """

    def __init__(self, tell: Callable[[Purge], Awaitable[object]], hold: Callable[[Any], asyncio.Task[None]]) -> None:
        self._tell = tell
        self._hold = hold
        self._keys: dict[str, None] = {}
        self._running: asyncio.Task[None] | None = None

    def __call__(self, key: str) -> None:
        self._keys[key] = None
        if self._running is None or self._running.done():
            self._running = self._hold(self._run())

    async def _run(self) -> None:
        while self._keys:
            batch = list(self._keys)[:ITEMS_MAX]
            for key in batch:
                del self._keys[key]
            await self._tell(Purge(paths=frozenset(batch)))
