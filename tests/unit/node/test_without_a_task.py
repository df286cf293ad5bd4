"""A fill's first question may be asked without a task (docs/adr/0011): what comes of it is the same as with one, whatever is answered,
stored already, or purged meanwhile."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from hashlib import sha256
from typing import Any

import pytest

from minicdn.core.counters import Counters
from minicdn.core.digests import digest_value
from minicdn.core.freshness import Policy, Stored, storable
from minicdn.core.message import Head, Request
from minicdn.core.purging import Purge
from minicdn.errors import BrokenBody
from minicdn.node.arriving import Arriving
from minicdn.node.fill import Ask, Fill
from minicdn.node.fills import Dock
from minicdn.node.supply import Kind, Supply
from minicdn.store.entry import Entry
from minicdn.store.shelf import Shelf
from tests.unit.node.fakes import FakeClock

KEY, BODY = "/a", b"hello"


class Here(Arriving):
    """All of it is here. is_sized: and of the length that was said (a peer's may not be: PeerAnswer.take_whole)."""

    def __init__(self, body: bytes, *, is_sized: bool = True) -> None:
        super().__init__()
        self.body, self._is_sized = body, is_sized
        self.ends_count = 0

    async def _read(self) -> AsyncIterator[bytes]:
        body, self.body = self.body, b""
        if body:
            yield body

    def take_whole(self) -> bytes | None:
        if not self._is_sized:
            return None
        body, self.body = self.body, b""
        return body

    def end(self) -> None:
        self.ends_count += 1

    async def close(self) -> None:
        await super().close()
        self.ends_count += 1


class Says(Ask):
    """Answers what it is told to: in a task, or as `asked` without one."""

    def __init__(self, say: Callable[[], Supply], *, has_begun: bool) -> None:
        self.say, self._has_begun = say, has_begun
        self.came: Callable[[], None] | None = None
        self.held = asyncio.Event()
        self.is_given_up = False

    async def __call__(self, request: Request, held: Any, part: Any, may_deal: bool, asked: Any = None) -> Supply:
        await self.held.wait()
        return self.say()

    def begin(self, request: Request, may_deal: bool, came: Callable[[], None]) -> Any:
        if not self._has_begun:
            return None
        self.came = came
        return self

    def all(self, request: Request) -> Supply | None:
        return self.say()

    def give_up(self) -> None:
        self.is_given_up = True

    def answer(self) -> None:
        self.held.set()
        if self.came is not None:
            self.came()


class Node:
    def __init__(self, memory_bytes: int) -> None:
        self.clock, self.counters = FakeClock(), Counters()
        self.shelf = Shelf(memory_bytes=memory_bytes, disk_bytes=0, small_bytes=1 << 20, cache_dir=None, counters=self.counters)
        self.dock = Dock(self.shelf, self.clock, self.counters, Policy)
        self.replaced: list[str] = []
        self.dock.on_replaced = self.replaced.append

    def stored(self, *lines: tuple[bytes, bytes], status: int = 200) -> Stored:
        now = self.clock.wall()
        found = storable(Request("GET", b"/a", KEY), Head(status, ((b"cache-control", b"max-age=60"), *lines)), now, now, Policy())
        assert isinstance(found, Stored)
        return found

    def keep(self, stored: Stored, *, is_filling: bool = False) -> None:
        entry = Entry(KEY, stored.head, stored, self.shelf.new_body(KEY, 3))
        self.shelf.begin(entry)
        if not is_filling:
            entry.body.write(0, b"old")
            entry.body.finish()
            self.shelf.keep(entry)


SUPPLIES: dict[str, dict[str, Any]] = {
    "plain": {},
    "empty": {"body": b""},
    "tagged": {"lines": ((b"etag", b'"2"'), (b"cache-tag", b"t"))},
    "an error": {"status": 404},
    "varies": {"lines": ((b"vary", b"accept"),)},
    "its digest": {"lines": ((b"repr-digest", digest_value({"sha-256": sha256(BODY).digest()})),)},
    "not kept": {"is_stored": False},
    "no length": {"length": None},
    "large": {"body": bytes(300_000)},
}
THERE: dict[str, Callable[[Node], None]] = {
    "nothing": lambda node: None,
    "an old one": lambda node: node.keep(node.stored((b"etag", b'"1"'))),
    "another variant": lambda node: node.keep(node.stored((b"vary", b"accept, x"))),
    "one that fills": lambda node: node.keep(node.stored(), is_filling=True),
}
TOLD: dict[str, Purge | None] = {
    "nothing": None,
    "soft": Purge(paths=frozenset((KEY,))),
    "hard": Purge(paths=frozenset((KEY,)), is_soft=False),
    "a tag": Purge(tags=frozenset(("t",)), is_soft=False),
    "another": Purge(paths=frozenset(("/b",))),
}


def supply_of(
    node: Node, source: str, *, body: bytes = BODY, lines: Any = (), status: int = 200, is_stored: bool = True, **more: Any
) -> Supply:
    stored = node.stored(*lines, status=status)
    kind = Kind.FOUND if is_stored else Kind.PASS
    length = more.get("length", len(body))
    arriving = Here(body, is_sized=more.get("is_sized", True))
    return Supply(kind, stored.head, stored if is_stored else None, length, 0, source, arriving, status=status)


async def come_to(has_begun: bool, source: str, said: dict[str, Any], there: Any, purge: Purge | None, echoes: bool, **how: Any) -> Any:
    """All that can be seen of it afterwards."""
    node = Node(how.get("memory_bytes", 64 << 20))
    there(node)
    if echoes and purge is not None:
        node.dock.tell(purge, True)
    supply = supply_of(node, source, **said)
    ask = Says(lambda: supply, has_begun=has_begun)
    rest = Says(lambda: supply_of(node, "upstream", **how.get("rest", said)), has_begun=False)
    rest.held.set()
    request = Request(how.get("method", "GET"), b"/a", KEY)
    fill = Fill(request, None, [ask, rest], is_hot=how.get("is_hot", False), may_keep=how.get("may_keep", True))
    node.dock.start(fill, ("GET", KEY, None, False, None))
    waiting = [asyncio.ensure_future(fill.wait_outcome()) for _ in range(how.get("waiters_count", 1))]
    await asyncio.sleep(0)
    for task in waiting if how.get("is_left") else ():
        task.cancel()
    await asyncio.sleep(0)
    if purge is not None and not echoes:
        node.dock.tell(purge, False)
    ask.answer()
    found: list[Any] = []
    for outcome in await asyncio.gather(*waiting, return_exceptions=True):
        found.append(await seen(fill, outcome))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not node.dock.fills_count and not node.dock._flights and not node.dock._filling
    assert fill._held is None and fill.waiting_count == 0
    assert supply.arriving.ends_count, "its connection is still taken"  # type: ignore[attr-defined]
    kept = [seen_of(node, entry) for entry in node.shelf.find(KEY)]
    statistics = node.shelf.statistics()
    return found, kept, statistics, node.replaced, node.counters.snapshot()


def seen_of(node: Node, entry: Entry) -> Any:
    body, is_in_hot = entry.body, entry.cache is node.shelf._memory.hot
    return entry.head, entry.stored, entry.is_hot, is_in_hot, entry.memory_cost_bytes, body.progress, body.medium, body.read_whole()


async def seen(fill: Fill, outcome: Any) -> Any:
    if isinstance(outcome, BaseException):
        return type(outcome).__name__
    entry = outcome.entry
    said = (outcome.is_private, outcome.is_stale, outcome.is_confirmed, outcome.source, outcome.status, str(outcome.error), outcome.detail)
    if entry is None:
        fill.release()
        return said
    reader = entry.body.open()
    fill.release()
    got = b""
    try:
        while chunk := await reader.next():
            got += chunk
    except BrokenBody as error:
        return said, entry.head, got, type(error).__name__
    finally:
        reader.close()
    return said, entry.head, entry.stored, got


async def both(*arguments: Any, **how: Any) -> tuple[Any, Any]:
    return await come_to(True, *arguments, **how), await come_to(False, *arguments, **how)


@pytest.mark.parametrize("source", ["upstream", "peer"])
@pytest.mark.parametrize("there", THERE)
@pytest.mark.parametrize("said", [name for name in SUPPLIES if name not in ("empty", "an error", "its digest")])
def test_it_comes_to_the_same(said: str, there: str, source: str) -> None:
    async def story() -> None:
        for purge, echoes, (count, is_left) in itertools.product(TOLD.values(), (False, True), ((0, False), (2, False), (1, True))):
            how = {"is_hot": source == "peer", "waiters_count": count, "is_left": is_left}
            quick, plain = await both(source, SUPPLIES[said], THERE[there], purge, echoes, **how)
            assert quick == plain, (purge, echoes, how)

    asyncio.run(story())


@pytest.mark.parametrize("memory_bytes", [1_000, 10_000, 100_000, 1_000_000])
@pytest.mark.parametrize("said", SUPPLIES)
def test_with_little_memory(said: str, memory_bytes: int) -> None:
    async def story() -> None:
        for source, is_hot, may_keep in itertools.product(("upstream", "peer"), (False, True), (False, True)):
            how = {"is_hot": is_hot, "may_keep": may_keep, "memory_bytes": memory_bytes}
            quick, plain = await both(source, SUPPLIES[said], THERE["nothing"], None, False, **how)
            assert quick == plain, (source, how)

    asyncio.run(story())


@pytest.mark.parametrize("tag", [(), ((b"etag", b'"2"'),)], ids=["no tag", "tag"])
@pytest.mark.parametrize("body", [b"", b"hel", b"hello!"])
def test_a_peer_that_sends_another_length_than_it_says_is_gone_on_from(body: bytes, tag: Any) -> None:
    """Where there is a strong validator, from the next one who may be asked."""
    said = {"body": body, "length": 5, "is_sized": False, "lines": tag}
    quick, plain = asyncio.run(both("peer", said, THERE["nothing"], None, False, rest={"lines": tag}))
    assert quick == plain
    assert bool(quick[1]) == (bool(tag) and len(body) <= 5)


def test_who_asks_for_a_head() -> None:
    quick, plain = asyncio.run(both("peer", {"body": b""}, THERE["an old one"], None, False, method="HEAD"))
    assert quick == plain


def test_what_does_not_fit_its_digest_is_not_kept() -> None:
    """Without a task it is not even begun to be sent."""
    said = {"lines": ((b"repr-digest", digest_value({"sha-256": bytes(32)})),)}
    quick, plain = asyncio.run(both("upstream", said, THERE["nothing"], None, False))
    assert quick[1] == plain[1] == []
    assert "does not fit its digest" in quick[0][0][5] and plain[0][0][-1] == "BrokenBody"
