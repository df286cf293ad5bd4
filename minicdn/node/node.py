"""A running node: the parts that serve content, put together. Managers and peers are made of one each.

Nothing here is shared between nodes: two of them live in one process without knowing of each other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minicdn.core.counters import Counters
from minicdn.core.freshness import Policy
from minicdn.core.logline import LogLine
from minicdn.core.roster import PeerList
from minicdn.node.cache import Cache
from minicdn.node.clock import Clock
from minicdn.node.fills import Dock
from minicdn.node.suppliers import PeerSupplier, UpstreamSupplier
from minicdn.settings import Settings
from minicdn.store.shelf import Shelf
from minicdn.wire.http import HttpDoor
from minicdn.wire.peers import PeerClient
from minicdn.wire.upstream import Upstream


class Node:
    def __init__(self, settings: Settings, *, node_id: str, upstream: str | None = None, clock: Clock | None = None) -> None:
        self.id = node_id
        self.settings = settings
        self.clock = clock or Clock()
        self.counters = Counters()
        self.on_log: Callable[[LogLine], None] | None = None
        self.upstream_url: str | None = None
        self.upstream: Upstream | None = None
        self.shelf = Shelf(
            memory_bytes=settings.memory_bytes,
            disk_bytes=settings.disk_bytes,
            small_bytes=settings.small_bytes,
            cache_dir=settings.cache_dir,
            counters=self.counters,
        )
        self._dock = Dock(self.shelf, self.clock, self.counters, lambda: self.cache.policy)
        self.cache = Cache(
            self.shelf, self._dock, self.clock, self.counters, node_id=node_id, aside_seconds=settings.peer_aside_seconds
        )
        self.cache.policy = policy_of(settings)
        self._upstream_door = HttpDoor(
            connections_max=settings.upstream_connections_max,
            connect_seconds=settings.connect_seconds,
            read_seconds=settings.upstream_read_seconds,
        )
        self._peer_door = HttpDoor(
            connections_max=settings.peer_connections_max,
            connect_seconds=settings.peer_connect_seconds,
            read_seconds=settings.peer_read_seconds,
        )
        self._peers = PeerSupplier(PeerClient(self._peer_door), counters=self.counters, wall=self.clock.wall)
        self.set_upstream(upstream)

    @property
    def peers(self) -> PeerList:
        return self.cache.peer_list

    def set_peers(self, peer_list: PeerList) -> None:
        """The list that owners are computed from. A node that is not on it owns nothing."""
        self.cache.peer_list = peer_list

    def set_upstream(self, url: str | None) -> None:
        """None: not known yet."""
        self.upstream_url = url
        supplier = None
        self.upstream = None
        if url is not None:
            self.upstream = Upstream(url, self._upstream_door, self.clock.wall)
            supplier = UpstreamSupplier(self.upstream, node_id=self.id, counters=self.counters, policy=lambda: self.cache.policy)
        self.cache.connect(supplier, self._peers)

    async def start(self) -> None:
        """Open the cache folder and find again what is in it. Raises CacheFolderUnusable."""
        await self.shelf.open()

    async def stop(self) -> None:
        """Abandon what is being filled, close files and connections."""
        await self._dock.stop()
        await self.shelf.close()
        await self._upstream_door.close()
        await self._peer_door.close()

    def stats(self) -> dict[str, Any]:
        return {**self.counters.snapshot(), **self.shelf.statistics(), "fills_count": self._dock.fills_count}


def policy_of(settings: Settings) -> Policy:
    return Policy(
        grace_seconds=settings.grace_seconds,
        negative_seconds=settings.negative_seconds,
        heuristic=settings.heuristic,
        obey_request_directives=settings.obey_request_directives,
    )
