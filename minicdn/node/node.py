"""A running node: the parts that serve content, put together. Managers and peers are made of one each.

Nothing here is shared between nodes: two of them live in one process without knowing of each other.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Set
from typing import Any, Protocol

from minicdn.core.counters import Counters
from minicdn.core.freshness import Policy
from minicdn.core.headers import first
from minicdn.core.invalidation import invalidation
from minicdn.core.logline import LogLine
from minicdn.core.message import Fields, Head, Request
from minicdn.core.purging import Purge
from minicdn.core.roster import PeerList
from minicdn.core.uplink import UplinkMeter
from minicdn.core.via import add_via
from minicdn.node.cache import Cache
from minicdn.node.circuits import LOOKS_MAX, Circuits
from minicdn.node.clock import Clock
from minicdn.node.explaining import explain
from minicdn.node.fills import Dock
from minicdn.node.forbidden import ForbiddenUpstream
from minicdn.node.leash import Leash
from minicdn.node.limits import Limits
from minicdn.node.marks import MarkKeeper
from minicdn.node.mending import Mender
from minicdn.node.patience import PatientUpstream
from minicdn.node.preheating import Loads
from minicdn.node.purger import Purger
from minicdn.node.seeding import Seeding
from minicdn.node.suppliers import PeerSupplier, UpstreamSupplier
from minicdn.node.swarm import SwarmParts
from minicdn.node.swarms import Swarms
from minicdn.settings import Settings
from minicdn.store.entry import Entry
from minicdn.store.shelf import Shelf
from minicdn.store.statefile import StateFile
from minicdn.wire.http import HttpDoor
from minicdn.wire.peers import PeerClient
from minicdn.wire.signing import Signer
from minicdn.wire.upstream import Upstream


class Leases(Protocol):
    """Who says whether this node may ask the upstream as a last resort (roles/leasing.py)."""

    async def take(self, key: str) -> bool: ...
    async def ask(self, key: str) -> tuple[bool, tuple[str, ...]]: ...
    def release(self, key: str) -> None: ...


class Node:
    def __init__(
        self,
        settings: Settings,
        *,
        node_id: str,
        upstream: str | None = None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        """say: what the operator should hear of."""
        self.id = node_id
        self.settings = settings
        self._ignored_query = frozenset(settings.ignored_query)
        self._urls: frozenset[str] = frozenset()
        self.clock = clock or Clock()
        self._rng = rng or random.Random()
        self._say = say or (lambda text: None)
        self.counters = Counters()
        self.uplink = UplinkMeter()
        self.signer = Signer(settings.token, self.clock.wall) if settings.token is not None else None
        """Of all that is said to other nodes; None: there is no token."""
        self._pins: dict[str, str] = {}
        self.leases: Leases | None = None
        self.on_log: Callable[[LogLine], None] | None = None
        self.on_invalidated: Callable[[Purge], Awaitable[object]] | None = None
        self.on_replaced: Callable[[str], None] | None = None
        """Has all nodes carry it out, this one at once. None: this node is all there is."""
        self.on_lie: Callable[[str, str, int], None] | None = None
        """Told of a peer's URL, and of the key and the piece that it sent wrong bytes of."""
        self.origins: Callable[[], Set[str]] = frozenset
        """By which `scheme://host:port` clients know this site, besides the upstream's."""
        self.limits = Limits(up_rate=settings.up_bytes_per_second, down_rate=settings.down_bytes_per_second, monotonic=self.clock.monotonic)
        self.upstream_url: str | None = None
        self.upstream: PatientUpstream | None = None
        self.shelf = Shelf(
            memory_bytes=settings.memory_bytes,
            disk_bytes=settings.disk_bytes,
            small_bytes=settings.small_bytes,
            cache_dir=settings.cache_dir,
            counters=self.counters,
        )
        self._dock = Dock(self.shelf, self.clock, self.counters, lambda: self.cache.policy)
        self._dock.on_replaced = self._replaced
        self.purger = Purger(self.shelf, self.clock, self.counters, self._dock.tell, lambda key: self.cache.stored_for(key))
        self._marks = MarkKeeper(state_file(settings, "mark"), self.purger, self.shelf, self.counters)
        self._peer_door = HttpDoor(
            connections_max=settings.peer_connections_max,
            connect_seconds=settings.peer_connect_seconds,
            read_seconds=settings.peer_read_seconds,
            pin_of=self.pin_of,
        )
        self._look_door = HttpDoor(
            connections_max=LOOKS_MAX,
            connect_seconds=settings.peer_connect_seconds,
            read_seconds=settings.peer_read_seconds,
            keepalive_seconds=0.0,
            pin_of=self.pin_of,
        )
        client = PeerClient(self._peer_door, self.signer, self._knows)
        self._leash = Leash()
        self.circuits = Circuits(
            PeerClient(self._look_door, None, self._knows).look,
            self._leash,
            self.clock,
            self.counters,
            rng=self._rng,
            say=self._say,
            max_seconds=settings.peer_aside_seconds,
        )
        self.cache = Cache(
            self.shelf,
            self._dock,
            self.clock,
            self.counters,
            purger=self.purger,
            node_id=node_id,
            circuits=self.circuits,
            ask_lease=self.ask_lease,
            release_lease=self.release_lease,
        )
        self.shelf.on_wrong_file(self._found_wrong)
        self.mender = Mender(self.shelf, self.cache.load_piece)
        self.loads = Loads(self.cache, self.counters, lambda: self._ignored_query)
        self.cache.policy = policy_of(settings)
        self.cache.may_ask_upstream = settings.may_ask_upstream
        self._upstream_door = HttpDoor(
            connections_max=settings.upstream_connections_max,
            connect_seconds=settings.connect_seconds,
            read_seconds=settings.upstream_read_seconds,
        )
        self._peers = PeerSupplier(
            client,
            self._leash,
            name=f"minicdn-{node_id}",
            counters=self.counters,
            limits=self.limits,
            wall=self.clock.wall,
            mark=self._mark,
        )
        self.seeding = Seeding(self.cache.load_piece, self.cache.stored_for)
        self.swarms = self._swarms(client)
        self.cache.swarm_with(self.swarms)
        self.swarms.let_go = self._dock.let_go
        self._share_upstream()
        self.set_upstream(upstream)

    def _swarms(self, client: PeerClient) -> Swarms:
        parts = SwarmParts(
            shelf=self.shelf,
            client=client,
            clock=self.clock,
            counters=self.counters,
            rng=self._rng,
            may_use_upstream=self.take_lease,
            release=self.release_lease,
            limits=self.limits,
            uplink=self.uplink,
            via=lambda fields: add_via(fields, f"minicdn-{self.id}"),
            on_lie=self._lied_to,
            on_changed=self._replaced,
        )
        return Swarms(
            parts,
            self.seeding,
            node_id=self.id,
            peer_list=lambda: self.peers,
            small_bytes=lambda: self.settings.small_bytes,
        )

    @property
    def ignored_query(self) -> frozenset[str]:
        """Names of query parameters that are no part of a key."""
        return self._ignored_query

    @property
    def may_ask_upstream(self) -> bool:
        """False with --no-back-to-source."""
        return self.settings.may_ask_upstream

    def uplink_rate(self) -> float:
        """What this node says of its uplink: the measured rate or its cap, the lower one, in bytes per second; 0: nothing is known.
        Alone, a cap is the operator's word for what the link carries at least."""
        cap, measured = self.settings.up_bytes_per_second, self.uplink.best(self.clock.monotonic()) or 0.0
        return float(min(cap, measured) if cap and measured else cap or measured)

    async def take_lease(self, key: str) -> bool:
        """Whether this node may ask the upstream for a key that it does not own, as a last resort. Answers within two seconds."""
        return self.may_ask_upstream and (self.leases is None or await self.leases.take(key))

    async def ask_lease(self, key: str) -> tuple[bool, tuple[str, ...]]:
        """The same, and which peers hold one, if it may not."""
        if self.leases is None or not self.may_ask_upstream:
            return True, ()  # the first needs no leave; the other is refused elsewhere
        return await self.leases.ask(key)

    def release_lease(self, key: str) -> None:
        """The lease is needed no longer; one that was never held does no harm."""
        if self.leases is not None:
            self.leases.release(key)

    @property
    def peers(self) -> PeerList:
        return self.cache.peer_list

    def set_peers(self, peer_list: PeerList) -> None:
        """The list that owners are computed from. A node that is not on it owns nothing."""
        self.cache.peer_list = peer_list
        self._share_upstream()
        gone = self._leash.urls() - {member.url for member in peer_list.members}
        if gone:
            self._leash.let_go(gone)
        left = self._urls - {member.url for member in peer_list.members}
        self._urls = frozenset(member.url for member in peer_list.members)
        self._pins = {member.url: member.fingerprint for member in peer_list.members if member.fingerprint}
        if left:
            self.circuits.forget(left)
            self.swarms.peers_gone(set(left))

    def pin_of(self, url: str) -> str | None:
        """The fingerprint of a peer's certificate, as the list has it."""
        return self._pins.get(url)

    def _knows(self, url: str) -> bool:
        """Only members of the list are asked, whatever URLs others name: nobody can have this node ask another host."""
        return url in self._urls

    def _lied_to(self, url: str, key: str, index: int) -> None:
        self._say(f"{url} sent wrong bytes: piece {index} of {key} is not what its owner says it is")
        if self.on_lie is not None:
            self.on_lie(url, key, index)

    def _found_wrong(self, entry: Entry) -> None:
        """Of several givers nobody can tell which one it was; of one alone, it was that one."""
        swarm = self.swarms.of(entry.body)
        givers = swarm.given_by if swarm is not None else {}
        told = ", ".join(f"{url} ({count})" for url, count in givers.items()) or "no peer"
        self._say(f"{entry.key} has not the digest that its upstream names, and was dropped; pieces came from: {told}")
        if len(givers) == 1 and self.on_lie is not None:
            self.on_lie(next(iter(givers)), entry.key, 0)

    def adopt(self, settings: Settings) -> None:
        """Settings that changed while the node runs: the upstream, what counts as small, the caching rules."""
        is_asked_otherwise = (settings.upstream, settings.follows_redirects) != (self.upstream_url, self.settings.follows_redirects)
        self.settings = settings
        self._ignored_query = frozenset(settings.ignored_query)
        self.cache.policy = policy_of(settings)
        self.shelf.set_small(settings.small_bytes)
        self._share_upstream()
        if is_asked_otherwise:
            self.set_upstream(settings.upstream)

    def _share_upstream(self) -> None:
        """Its cap is divided among those who may ask it; a manager without peers has it whole."""
        askers_count = sum(1 for member in self.peers.members if member.weight > 0)
        self.limits.set_upstream(self.settings.upstream_bytes_per_second, askers_count)

    async def purge(self, purge: Purge) -> int:
        """On this node alone. Returns how many entries were marked or removed; out of date are all of them from the call on."""
        return await self.purger.begin(purge).wait()

    def _replaced(self, key: str) -> None:
        """Another version of a key is here before the old one's time: copies of that one are out of date."""
        if self.on_replaced is not None and self.peers.members:
            self.on_replaced(key)

    async def invalidate(self, request: Request, head: Head) -> None:
        """An unsafe method was answered: what it may have changed is out of date, here at once, elsewhere when this returns or soon
        after (RFC 9111 §4.4, RFC 9875 §3)."""
        host = (first(request.fields, b"host") or b"").decode("latin-1").lower()
        origins = {*self.origins(), f"http://{host}", f"https://{host}"}
        purge = invalidation(request, head, origins, self.upstream_url or "", self.ignored_query)
        if purge is None:
            return
        if self.on_invalidated is None:
            self.purger.begin(purge)
        else:
            await self.on_invalidated(purge)

    def explain(self, method: str, key: str, fields: Fields) -> dict[str, Any]:
        """What this node would do with such a request now, and why."""
        return explain(self, method, key, fields)

    def _mark(self) -> str:
        return str(self.purger.mark or "")

    def set_upstream(self, url: str | None) -> None:
        """None: not known yet."""
        self.upstream_url = url
        supplier = None
        self.upstream = None
        if url is not None:
            self.upstream = self._patient(url) if self.may_ask_upstream else ForbiddenUpstream(self._has_owners)
            supplier = UpstreamSupplier(
                self.upstream,
                node_id=self.id,
                counters=self.counters,
                policy=lambda: self.cache.policy,
                limits=self.limits,
                follows_redirects=self.settings.follows_redirects,
            )
        self.cache.connect(supplier, self._peers)

    def _patient(self, url: str) -> PatientUpstream:
        return PatientUpstream(
            Upstream(url, self._upstream_door, self.clock.wall),
            counters=self.counters,
            monotonic=self.clock.monotonic,
            rng=self._rng,
            wait_seconds=self.settings.connect_seconds,
            say=self._say,
        )

    def _has_owners(self) -> bool:
        return any(member.weight > 0 for member in self.peers.members)

    async def start(self) -> None:
        """Open the cache folder and find again what is in it. Raises CacheFolderUnusable."""
        await self.shelf.open()
        await self._marks.load()

    async def stop(self) -> None:
        """Abandon what is being filled, close files and connections."""
        self.circuits.stop()
        await self.loads.stop()
        await self.swarms.stop()
        await self._dock.stop()
        await self._marks.close()
        await self.purger.stop()
        await self.shelf.close()
        await self._upstream_door.close()
        await self._peer_door.close()
        await self._look_door.close()

    def stats(self) -> dict[str, Any]:
        return {**self.counters.snapshot(), **self.shelf.statistics(), **self.limits.statistics(), "fills_count": self._dock.fills_count}


def state_file(settings: Settings, name: str) -> StateFile:
    """A file beside what is cached; where nothing is kept on disk, there is nothing to remember either."""
    return StateFile(settings.cache_dir / name if settings.cache_dir is not None else None)


def policy_of(settings: Settings) -> Policy:
    return Policy(
        grace_seconds=settings.grace_seconds,
        negative_seconds=settings.negative_seconds,
        heuristic=settings.heuristic,
        obey_request_directives=settings.obey_request_directives,
        default_ttls=settings.default_ttls,
    )
