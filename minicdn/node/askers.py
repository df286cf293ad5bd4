"""Whom a fill asks, in order: the owners of the key that can be talked to, nearest first, and then the upstream."""

from __future__ import annotations

from cachetools import TTLCache

from minicdn.core.message import Inform, Request
from minicdn.core.roster import PeerList, owners
from minicdn.errors import PeerError, UpstreamError
from minicdn.node.clock import Clock
from minicdn.node.fill import Ask
from minicdn.node.suppliers import Part, PeerSupplier, Supply, UpstreamSupplier
from minicdn.store.entry import Entry

OWNERS_TRIED_MAX = 3
ASIDE_MAX = 4096


class Askers:
    """aside_seconds: for so long a peer that could not be talked to is left out."""

    def __init__(self, clock: Clock, *, node_id: str, aside_seconds: float) -> None:
        self._node_id = node_id
        self._aside: TTLCache[str, str] = TTLCache(ASIDE_MAX, aside_seconds, timer=clock.monotonic)
        self.upstream: UpstreamSupplier | None = None
        self.peers: PeerSupplier | None = None
        self.peer_list = PeerList()

    def me(self) -> str | None:
        """This node's URL as the others know it."""
        return next((member.url for member in self.peer_list.members if member.id == self._node_id), None)

    def owners(self, key: str) -> list[str]:
        """URLs of those to ask before the upstream, nearest first; empty where that is this node itself."""
        urls = []
        for member in owners(key, self.peer_list.members, OWNERS_TRIED_MAX):
            if member.id == self._node_id:
                break
            if member.url not in self._aside:
                urls.append(member.url)
        return urls

    def to_ask(self, urls: list[str], on_interim: Inform | None = None, *, wants_fresh: bool = False) -> list[Ask]:
        """These peers, and the upstream at last."""
        return [*(self._asking_peer(url, wants_fresh, on_interim) for url in urls), self._asking_upstream(on_interim)]

    def _asking_upstream(self, on_interim: Inform | None) -> Ask:
        async def ask(request: Request, held: Entry | None, part: Part | None, may_deal: bool) -> Supply:
            if self.upstream is None:
                raise UpstreamError("the upstream is not known yet: this node has not reached its manager")
            return await self.upstream.ask(request, held, part, on_interim=on_interim)

        return ask

    def _asking_peer(self, url: str, wants_fresh: bool, on_interim: Inform | None) -> Ask:
        async def ask(request: Request, held: Entry | None, part: Part | None, may_deal: bool) -> Supply:
            assert self.peers is not None
            asker = (self.me() or "") if may_deal else None
            try:
                return await self.peers.ask(
                    url, request, held, part, wants_fresh=wants_fresh, on_interim=on_interim, asker=asker
                )
            except PeerError as error:
                self._aside[url] = str(error)
                raise

        return ask
