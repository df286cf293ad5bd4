"""Purges and fills that cross: what was asked for before a purge does not come out fresh after it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from minicdn.core.dates import format_http_date
from minicdn.core.freshness import Stored, is_fresh
from minicdn.core.journal import Mark
from minicdn.core.lifetime import Policy
from minicdn.core.message import Head, Request
from minicdn.core.purging import Purge
from minicdn.core.roster import Member, PeerList
from minicdn.errors import ClientError
from minicdn.node.arriving import Arriving
from minicdn.node.found import Found
from minicdn.node.node import Node
from minicdn.node.supply import Kind, Supply
from minicdn.node.told import ECHO_SECONDS, PURGES_MAX, Echoes, Told
from minicdn.settings import Settings
from tests.unit.node.fakes import FakeClock
from tests.unit.store.making import make_stored, on_loop, turns

KEY = "/thing"
PURGE = Purge(frozenset((KEY,)))
TAGGED = Purge(tags=frozenset(("t",)))


class Supplier:
    """Stands for the upstream, or a peer; answers when its gate is open."""

    def __init__(self, clock: FakeClock, source: str = "upstream") -> None:
        self.clock = clock
        self.source = source
        self.gate = asyncio.Event()
        self.gate.set()
        self.helds: list[bool] = []
        self.body = b"body"
        self.asked = asyncio.Event()

    def begin(self, *_: Any, **__: Any) -> None:
        """It has to be waited for."""

    async def ask(self, *arguments: Any, **more: Any) -> Supply:
        held = arguments[-2]
        self.helds.append(held is not None)
        self.asked.set()
        await self.gate.wait()
        now = self.clock.wall()
        date = (b"Date", format_http_date(now))
        fields = ((b"ETag", b'"1"'), (b"Surrogate-Key", b"t"), (b"Cache-Control", b"max-age=600"), date)
        stored = Stored(Head(200, fields), (), now, now, now, 0.0, 600.0, now + 600, tags=frozenset(("t",)))
        kind = Kind.UNCHANGED if held is not None else Kind.FOUND
        body = b"" if held is not None else self.body
        return Supply(
            kind=kind,
            head=Head(304 if held is not None else 200, fields),
            stored=None if held is not None and self.source == "upstream" else stored,
            length=len(body),
            offset=0,
            source=self.source,
            arriving=Bytes(body),
            request_at=now,
            response_at=now,
        )


class Bytes(Arriving):
    def __init__(self, body: bytes) -> None:
        super().__init__()
        self._body = body

    async def _read(self) -> AsyncIterator[bytes]:
        if self._body:
            yield self._body


class Scene:
    """A node whose upstream and whose only peer are suppliers of ours."""

    def __init__(self, *, owner: bool = True) -> None:
        self.clock = FakeClock()
        self.node = Node(Settings(small_bytes=1 << 16), node_id="me", clock=self.clock)
        self.node.cache.policy = Policy()
        self.upstream, self.peer = Supplier(self.clock), Supplier(self.clock, "peer")
        self.node.cache.connect(self.upstream, self.peer)  # type: ignore[arg-type]
        members = (Member("me", "http://me"),) if owner else (Member("other", "http://other"),)
        self.node.set_peers(PeerList("e.1", members))

    async def ask(self, **more: Any) -> tuple[Found, bytes]:
        found = await self.node.cache.find(Request("GET", KEY.encode(), KEY, ()), **more)
        reader = self.node.cache.open(found.entry.body, 0, None)
        found.release()
        body = b""
        while chunk := await reader.next():
            body += chunk
        reader.close()
        await turns()
        return found, body

    @property
    def is_fresh(self) -> bool:
        [entry] = self.node.shelf.find(KEY)
        assert entry.stored is not None
        return is_fresh(entry.stored, self.clock.wall())


@on_loop
async def test_a_head_that_was_awaited_during_a_purge_is_stale() -> None:
    for purge in (PURGE, TAGGED, Purge(prefixes=("/",))):
        scene = Scene()
        scene.upstream.gate.clear()
        asking = asyncio.ensure_future(scene.ask())
        await scene.upstream.asked.wait()
        await scene.node.purge(purge)
        scene.upstream.gate.set()
        assert (await asking)[1] == b"body"
        assert not scene.is_fresh


@on_loop
async def test_a_purge_of_something_else_leaves_it_fresh() -> None:
    scene = Scene()
    scene.upstream.gate.clear()
    asking = asyncio.ensure_future(scene.ask())
    await scene.upstream.asked.wait()
    await scene.node.purge(Purge(frozenset(("/else",)), tags=frozenset(("else",))))
    scene.upstream.gate.set()
    await asking
    assert scene.is_fresh


@on_loop
async def test_who_asks_after_the_purge_does_not_join_a_fill_from_before() -> None:
    scene = Scene()
    scene.upstream.gate.clear()
    before = asyncio.ensure_future(scene.ask())
    await turns()
    await scene.node.purge(PURGE)
    after = asyncio.ensure_future(scene.ask())
    await turns()
    assert len(scene.upstream.helds) == 2
    scene.upstream.gate.set()
    await asyncio.gather(before, after)


@on_loop
async def test_a_hard_purge_in_mid_fill_keeps_nothing_but_serves_who_waits() -> None:
    scene = Scene()
    scene.upstream.gate.clear()
    asking = [asyncio.ensure_future(scene.ask()) for _ in range(3)]
    await turns()
    await scene.node.purge(Purge(tags=frozenset(("t",)), is_soft=False))
    scene.upstream.gate.set()
    assert [body for _, body in await asyncio.gather(*asking)] == [b"body"] * 3
    assert len(scene.upstream.helds) == 1
    assert scene.node.shelf.find(KEY) == []
    assert scene.node.stats()["memory_filling_bytes"] == 0


@on_loop
async def test_a_confirmation_asked_for_before_the_purge_does_not_make_it_fresh() -> None:
    scene = Scene()
    await scene.ask()
    await scene.node.purge(PURGE)
    scene.upstream.gate.clear()
    asking = asyncio.ensure_future(scene.ask())
    await turns()
    await scene.node.purge(PURGE)
    scene.upstream.gate.set()
    assert (await asking)[1] == b"body" and scene.upstream.helds == [False, True]
    assert not scene.is_fresh
    await scene.ask()
    assert scene.is_fresh


@on_loop
async def test_what_is_gone_when_its_confirmation_comes_is_asked_for_anew() -> None:
    scene = Scene()
    await scene.ask()
    await scene.node.purge(PURGE)
    scene.upstream.gate.clear()
    asking = asyncio.ensure_future(scene.ask())
    await turns()
    await scene.node.purge(Purge(frozenset((KEY,)), is_soft=False))
    scene.upstream.body = b"other"
    scene.upstream.gate.set()
    assert (await asking)[1] == b"other" and scene.upstream.helds == [False, True, False]
    assert scene.is_fresh, "asked for after the purge"


@on_loop
async def test_a_copy_from_a_peer_soon_after_a_purge_is_stale_and_later_fresh() -> None:
    scene = Scene(owner=False)
    await scene.node.purge(PURGE)
    await scene.ask()
    assert not scene.is_fresh, "the owner may not have heard of it yet"
    scene.clock.now += ECHO_SECONDS
    await scene.ask()
    assert scene.is_fresh


@on_loop
async def test_what_was_caught_up_with_does_not_echo() -> None:
    scene = Scene(owner=False)
    scene.node.purger.catch_up(None, Mark("j", 1))
    await scene.ask()
    assert scene.is_fresh, "an owner that is behind sees it by our mark, and validates"


@on_loop
async def test_what_the_upstream_gives_after_a_purge_is_fresh_at_once() -> None:
    scene = Scene()
    await scene.node.purge(PURGE)
    await scene.ask()
    assert scene.is_fresh


@on_loop
async def test_a_node_that_missed_a_purge_asks_before_it_answers_who_knows_more() -> None:
    scene = Scene()
    await scene.ask()
    scene.node.purger.mark = Mark("j", 1)
    await scene.ask(is_forwarded=True, mark=Mark("j", 1))
    assert scene.upstream.helds == [False]
    await scene.ask(is_forwarded=True, mark=Mark("j", 2))
    assert scene.upstream.helds == [False, True]
    scene.upstream.gate.clear()
    before = asyncio.ensure_future(scene.ask(is_forwarded=True, mark=Mark("j", 2)))
    await turns()
    after = asyncio.ensure_future(scene.ask(is_forwarded=True, mark=Mark("j", 3)))
    await turns()
    assert len(scene.upstream.helds) == 4, "nobody who knows more joins a fill that began before"
    scene.upstream.gate.set()
    await asyncio.gather(before, after)


@on_loop
async def test_a_node_that_is_unsure_validates_everything() -> None:
    scene = Scene()
    await scene.ask()
    scene.node.purger.is_unsure = True
    assert scene.node.cache.find_fresh(Request("GET", KEY.encode(), KEY, ())) is None
    await scene.ask()
    assert scene.upstream.helds == [False, True]


@on_loop
async def test_only_if_cached_still_asks_nobody() -> None:
    scene = Scene()
    request = Request("GET", KEY.encode(), KEY, ((b"cache-control", b"only-if-cached"),))
    try:
        await scene.node.cache.find(request)
    except ClientError as error:
        assert error.status == 504
    assert scene.upstream.helds == []


def test_echoes_fade_and_are_bounded() -> None:
    clock = FakeClock()
    echoes = Echoes(clock.monotonic)
    for number in range(PURGES_MAX * 3):
        echoes.add(Purge(frozenset((f"/{number}",))))
    audible = echoes.audible()
    assert len(audible) <= PURGES_MAX
    assert all(any(purge.matches(f"/{number}", frozenset()) for purge in audible) for number in range(PURGES_MAX * 3))
    clock.now += ECHO_SECONDS
    assert echoes.audible() == ()


def test_what_a_fill_is_told_is_bounded_and_nothing_is_lost() -> None:
    told, stored = Told(), make_stored()
    for number in range(PURGES_MAX * 3):
        told.add(Purge(frozenset((f"/{number}",))))
    assert len(told._purges) <= PURGES_MAX
    for number in range(PURGES_MAX * 3):
        assert not is_fresh(told.settle(f"/{number}", stored, "upstream", 1001.0), 1001.0)
    assert told.settle("/else", stored, "upstream", 1001.0) is stored
