"""Whom a fill asks, in order: the owners of the key that can be talked to, nearest first, and then the upstream.

Who is an owner, or asked by a peer, owes the answer, and asks the upstream at once. For anybody else the upstream is the last resort, when
the owners have failed: then all who hold no lease of the key (core/leases.py) ask those who do, and only if these can't be talked to
either the upstream all the same, since a client waits.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from minicdn.core.message import Inform, Request
from minicdn.core.roster import PeerList, owners
from minicdn.errors import NotReady, PeerBusy, PeerError
from minicdn.node.circuits import Circuits
from minicdn.node.fill import Ask, Asked
from minicdn.node.suppliers import PeerSupplier, UpstreamSupplier
from minicdn.node.supply import Part, Supply, as_part
from minicdn.store.entry import Entry

OWNERS_TRIED_MAX = 3

AskLease = Callable[[str], Awaitable[tuple[bool, tuple[str, ...]]]]
"""Whether this node may ask the upstream for a key as a last resort, and who else may."""


class Askers:
    """circuits: who can't be talked to at present, and is left out."""

    def __init__(self, circuits: Circuits, *, node_id: str, ask_lease: AskLease, release_lease: Callable[[str], None]) -> None:
        self._node_id = node_id
        self._circuits = circuits
        self._ask_lease = ask_lease
        self._release_lease = release_lease
        self.upstream: UpstreamSupplier | None = None
        self.peers: PeerSupplier | None = None
        self.peer_list = PeerList()
        self._last: tuple[str, Any, tuple[list[str], bool]] = ("", None, ([], True))

    def me(self) -> str | None:
        """This node's URL as the others know it."""
        return next((member.url for member in self.peer_list.members if member.id == self._node_id), None)

    def owners(self, key: str) -> list[str]:
        """URLs of those to ask before the upstream, nearest first; empty where that is this node itself."""
        return [url for url in self._before_me(key)[0] if self._circuits.may_ask(url)]

    def of_owners(self, key: str, on_interim: Inform | None = None, *, wants_fresh: bool = False) -> tuple[list[Ask], bool]:
        """These, and the upstream at last; and whether there are any of them."""
        urls, is_mine = self._before_me(key)
        asks = [self._asking_peer(url, wants_fresh, on_interim) for url in urls if self._circuits.take(url)]
        last = _AskUpstream(self, on_interim)
        if is_mine:
            return [*asks, last], bool(asks)
        # The upstream is there, too, where another that asks it in our place breaks off in mid-body.
        return [*asks, _AskWithLeave(self, last, on_interim, self._ask_lease, self._release_lease), last], bool(asks)

    def of_upstream(self, on_interim: Inform | None = None, *, hint: str | None = None) -> list[Ask]:
        """The upstream, and before it the peer that has it already."""
        first = [] if hint is None else [self._asking_peer(hint, False, on_interim)]
        return [*first, _AskUpstream(self, on_interim)]

    def _before_me(self, key: str) -> tuple[list[str], bool]:
        """Owners that come before this node; and whether it is one of them itself, or there are none. What was asked last is known: one
        request asks several times."""
        members = self.peer_list.members
        if self._last[0] != key or self._last[1] is not members:
            self._last = key, members, self._rank_before_me(key)
        return self._last[2]

    def _rank_before_me(self, key: str) -> tuple[list[str], bool]:
        urls: list[str] = []
        for member in owners(key, self.peer_list.members, OWNERS_TRIED_MAX):
            if member.id == self._node_id:
                return urls, True
            urls.append(member.url)
        return urls, not urls

    def may_take(self, url: str) -> bool:
        """Whether a peer that is no owner may be asked now; it is asked then."""
        return self._circuits.take(url)

    def _asking_peer(self, url: str, wants_fresh: bool, on_interim: Inform | None) -> Ask:
        return _AskPeer(self, self._circuits, url, wants_fresh, on_interim)


class _AskUpstream(Ask):
    __slots__ = ("_askers", "_on_interim")

    def __init__(self, askers: Askers, on_interim: Inform | None) -> None:
        self._askers, self._on_interim = askers, on_interim

    async def __call__(self, request: Request, held: Entry | None, part: Part | None, may_deal: bool, asked: Any = None) -> Supply:
        upstream = self._askers.upstream
        if upstream is None:
            raise NotReady("the upstream is not known yet: this node has not reached its manager")
        return await upstream.ask(request, held, part, on_interim=self._on_interim, asked=asked)

    def begin(self, request: Request, may_deal: bool, came: Callable[[], None]) -> Asked | None:
        upstream = self._askers.upstream
        return None if upstream is None else upstream.begin(request, came, self._on_interim)


class _AskWithLeave(Ask):
    """The upstream as the last resort: under a lease, or else those who hold one."""

    __slots__ = ("_ask_lease", "_askers", "_on_interim", "_release_lease", "_upstream")

    def __init__(
        self, askers: Askers, upstream: Ask, on_interim: Inform | None, ask_lease: AskLease, release_lease: Callable[[str], None]
    ) -> None:
        self._askers, self._upstream, self._on_interim = askers, upstream, on_interim
        self._ask_lease, self._release_lease = ask_lease, release_lease

    async def __call__(self, request: Request, held: Entry | None, part: Part | None, may_deal: bool, asked: Any = None) -> Supply:
        is_granted, holders = await self._ask_lease(request.key)
        for url in () if is_granted else holders:
            if self._askers.may_take(url):
                try:
                    return await self._askers._asking_peer(url, False, self._on_interim)(request, held, part, may_deal)
                except PeerError:
                    continue
        if not is_granted:
            return await self._upstream(request, held, part, may_deal)
        try:
            supply = await self._upstream(request, held, part, may_deal)
        except BaseException:
            self._release_lease(request.key)
            raise
        supply.on_close = partial(self._release_lease, request.key)
        return supply


class _AskPeer(Ask):
    __slots__ = ("_askers", "_circuits", "_on_interim", "_url", "_wants_fresh")

    def __init__(self, askers: Askers, circuits: Circuits, url: str, wants_fresh: bool, on_interim: Inform | None) -> None:
        self._askers, self._circuits = askers, circuits
        self._url, self._wants_fresh, self._on_interim = url, wants_fresh, on_interim

    async def __call__(self, request: Request, held: Entry | None, part: Part | None, may_deal: bool, asked: Any = None) -> Supply:
        peers, url = self._askers.peers, self._url
        assert peers is not None
        try:
            supply = await peers.ask(
                url,
                request,
                held,
                part,
                wants_fresh=self._wants_fresh,
                on_interim=self._on_interim,
                asker=self._asker(may_deal),
                asked=asked,
            )
        except PeerBusy:
            raise
        except PeerError as error:
            self._circuits.failed(url, str(error))
            raise
        self._circuits.reached(url)
        return supply

    def begin(self, request: Request, may_deal: bool, came: Callable[[], None]) -> Asked | None:
        peers = self._askers.peers
        assert peers is not None
        return peers.begin(
            self._url,
            request,
            came,
            wants_fresh=self._wants_fresh,
            on_interim=self._on_interim,
            asker=self._asker(may_deal),
            reached=self._circuits.reached,
        )

    def _asker(self, may_deal: bool) -> str | None:
        """This node's URL, for an owner that may deal."""
        return (self._askers.me() or "") if may_deal else None


class _TakingWholes(Ask):
    __slots__ = ("_ask",)

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    async def __call__(self, request: Request, held: Entry | None, part: Part | None, may_deal: bool, asked: Any = None) -> Supply:
        supply = as_part(await self._ask(request, held, part, may_deal), part)
        if supply.source == "peer" and supply.end is None and supply.head.status == 200:
            await supply.close()
            raise PeerBusy("it sends no parts of it")
        return supply


def taking_wholes(ask: Ask) -> Ask:
    """For a part: who sends the whole sends the part as well, as far as it can be told how long that is. A peer that can't is left out."""
    return _TakingWholes(ask)
