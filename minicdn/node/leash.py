"""Waits for a peer that end when the peer leaves the list, or is found not to be there (node/circuits.py).

A frozen laptop accepts connections and says nothing. Its askers have a deadline of their own, but what shows that it is gone comes
earlier, and then there is nothing left to wait for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Set
from contextlib import asynccontextmanager

from minicdn.errors import PeerError


class Leash:
    """Waits under way, by the peer's URL. on_hold: called when somebody begins to wait."""

    def __init__(self) -> None:
        self._held: dict[str, set[asyncio.Timeout]] = {}
        self.on_hold: Callable[[], None] = lambda: None

    @asynccontextmanager
    async def hold(self, url: str) -> AsyncIterator[None]:
        """What is awaited within raises PeerError when the peer at `url` is let go."""
        try:
            async with asyncio.timeout(None) as scope:
                self._held.setdefault(url, set()).add(scope)
                self.on_hold()
                try:
                    yield
                finally:
                    self._release(url, scope)
        except TimeoutError:
            if scope.expired():
                raise PeerError(f"{url} has left the list, or does not answer") from None
            raise

    def let_go(self, urls: Set[str]) -> None:
        """These peers are off the list, or else of no use."""
        now = asyncio.get_running_loop().time()
        for url in urls:
            for scope in self._held.get(url, ()):
                scope.reschedule(now)

    def waits(self, url: str) -> Set[asyncio.Timeout]:
        """Those for this peer."""
        return self._held.get(url, set())

    def urls(self) -> Set[str]:
        """Whom somebody waits for."""
        return self._held.keys()

    def _release(self, url: str, scope: asyncio.Timeout) -> None:
        scopes = self._held[url]
        scopes.discard(scope)
        if not scopes:
            del self._held[url]
