"""Peers that are left alone, looked for, and let go of where they are silent; and the last resort, with and without leave."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from minicdn.core.counters import Counters
from minicdn.core.message import Head, Request
from minicdn.core.roster import Member, PeerList, owners
from minicdn.errors import PeerError, UpstreamError
from minicdn.node import circuits as module
from minicdn.node.arriving import Arriving
from minicdn.node.askers import Askers
from minicdn.node.circuits import Circuits
from minicdn.node.clock import Clock
from minicdn.node.leash import Leash
from minicdn.node.supply import Kind, Supply

ANNA, BOB = "http://anna:1", "http://bob:1"


class House:
    """there: who answers a look. looked: who was looked for."""

    def __init__(self, *, max_seconds: float = 5.0) -> None:
        self.there: set[str] = set()
        self.looked: list[str] = []
        self.said: list[str] = []
        self.leash = Leash()
        self.counters = Counters()
        self.circuits = Circuits(
            self._look, self.leash, Clock(), self.counters, rng=random.Random(1), say=self.said.append, max_seconds=max_seconds
        )

    async def _look(self, url: str) -> bool:
        self.looked.append(url)
        if url not in self.there:
            await asyncio.Event().wait()
        return True

    async def wait(self, url: str) -> None:
        with self.leash.hold(url):
            await asyncio.Event().wait()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("BASE_SECONDS", 0.01), ("SILENCE_SECONDS", 0.02), ("LOOK_SECONDS", 0.05), ("ASLEEP_SECONDS", 5.0)):
        monkeypatch.setattr(module, name, seconds)


def story(tell: Callable[[House], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    async def told() -> None:
        house = House()
        try:
            async with asyncio.timeout(10):
                await tell(house)
        finally:
            house.circuits.stop()

    def test() -> None:
        asyncio.run(told())

    test.__name__ = tell.__name__
    return test


@story
async def test_who_is_silent_and_not_there_is_let_go_and_left_alone(house: House) -> None:
    with pytest.raises(PeerError, match="does not answer"):
        await house.wait(ANNA)
    assert not house.circuits.take(ANNA) and house.counters.get("peers_spared_count") == 1
    assert house.circuits.take(BOB)


@story
async def test_who_is_silent_and_there_is_waited_for(house: House) -> None:
    house.there.add(ANNA)
    waiting = asyncio.ensure_future(house.wait(ANNA))
    while len(house.looked) < 3:  # noqa: ASYNC110 — there is no event for it
        await asyncio.sleep(0.005)
    assert not waiting.done() and house.circuits.take(ANNA)
    waiting.cancel()


@story
async def test_who_answers_in_time_is_not_looked_for(house: House) -> None:
    for _ in range(20):
        with house.leash.hold(ANNA):
            await asyncio.sleep(0.005)
    assert not house.looked


@story
async def test_nobody_waits_and_nothing_is_watched(house: House) -> None:
    with house.leash.hold(ANNA):
        await asyncio.sleep(0)
    await asyncio.sleep(0.08)
    assert house.circuits._timer is None and not house.looked


@story
async def test_one_look_for_all_and_a_trial_by_one_when_it_is_back(house: House) -> None:
    house.circuits.failed(ANNA, "connection refused")
    house.there.add(ANNA)
    while not house.looked:
        assert not any(house.circuits.take(ANNA) for _ in range(10))
        await asyncio.sleep(0.002)
    while not house.circuits.may_ask(ANNA):  # noqa: ASYNC110 — there is no event for it
        await asyncio.sleep(0.002)
    assert [house.circuits.take(ANNA) for _ in range(10)] == [True] + [False] * 9
    assert house.looked == [ANNA]
    house.circuits.reached(ANNA)
    assert all(house.circuits.take(ANNA) for _ in range(10))


@story
async def test_it_is_said_once_that_one_is_away_and_once_that_it_is_back(house: House) -> None:
    house.there.add(ANNA)
    for _ in range(4):
        house.circuits.failed(ANNA, "connection refused")
        while not house.circuits.take(ANNA):  # noqa: ASYNC110 — there is no event for it
            await asyncio.sleep(0.002)
    house.circuits.reached(ANNA)
    assert len(house.said) == 2 and "can't be talked to" in house.said[0] and house.said[1] == f"{ANNA} answers again"


@story
async def test_who_leaves_the_list_begins_anew(house: House) -> None:
    house.circuits.failed(ANNA, "connection refused")
    house.circuits.forget({ANNA})
    assert house.circuits.take(ANNA)


def test_a_look_that_this_node_slept_through_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def tell() -> None:
        house = House()
        monkeypatch.setattr(module, "ASLEEP_SECONDS", -1.0)
        waiting = asyncio.ensure_future(house.wait(ANNA))
        while len(house.looked) < 2:  # noqa: ASYNC110 — there is no event for it
            await asyncio.sleep(0.005)
        assert not waiting.done()
        waiting.cancel()
        house.circuits.stop()

    asyncio.run(tell())


def test_switched_off_nobody_is_left_alone() -> None:
    house = House(max_seconds=0.0)
    house.circuits.failed(ANNA, "connection refused")
    assert house.circuits.take(ANNA)


# The last resort

MEMBERS = tuple(Member(f"m{number}", f"http://peer{number}:1") for number in range(6))
RANKED = owners("/file", MEMBERS)
REQUEST = Request("GET", b"/file", "/file", ())


def _supply(source: str) -> Supply:
    return Supply(Kind.FOUND, Head(200, ()), None, 0, 0, source, Arriving())


class Desk:
    """answering: the peers that can be talked to."""

    def __init__(self, me: Member, *, answering: set[str], lease: tuple[bool, tuple[str, ...]]) -> None:
        self.asked: list[str] = []
        self.released: list[str] = []
        self.answering = answering
        self.lease = lease
        self.is_upstream_there = True
        self.askers = Askers(House().circuits, node_id=me.id, ask_lease=self._ask_lease, release_lease=self.released.append)
        self.askers.peer_list = PeerList("1", MEMBERS)
        self.askers.peers, self.askers.upstream = _Peers(self), _Upstream(self)  # type: ignore[assignment]

    async def _ask_lease(self, key: str) -> tuple[bool, tuple[str, ...]]:
        self.asked.append("lease")
        return self.lease

    async def fetch(self) -> Supply:
        for ask in self.askers.of_owners("/file")[0]:
            try:
                return await ask(REQUEST, None, None, False)
            except PeerError:
                continue
        raise AssertionError("the last one is no peer")


class _Peers:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def ask(self, url: str, *arguments: Any, **named: Any) -> Supply:
        self._desk.asked.append(url)
        if url not in self._desk.answering:
            raise PeerError("connection refused")
        return _supply("peer")


class _Upstream:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def ask(self, *arguments: Any, **named: Any) -> Supply:
        self._desk.asked.append("upstream")
        if not self._desk.is_upstream_there:
            raise UpstreamError("away")
        return _supply("upstream")


FIRST_THREE = [member.url for member in RANKED[:3]]
HOLDER = RANKED[4].url


@pytest.mark.parametrize(
    ("rank", "answering", "lease", "asked"),
    [
        (5, {FIRST_THREE[1]}, (True, ()), FIRST_THREE[:2]),
        (5, set(), (True, ()), [*FIRST_THREE, "lease", "upstream"]),
        (5, {HOLDER}, (False, (HOLDER,)), [*FIRST_THREE, "lease", HOLDER]),
        (5, set(), (False, (HOLDER,)), [*FIRST_THREE, "lease", HOLDER, "upstream"]),
        (0, set(), (False, (HOLDER,)), ["upstream"]),
        (2, set(), (False, (HOLDER,)), [*FIRST_THREE[:2], "upstream"]),
    ],
    ids=["an owner answers", "leave", "no leave: a holder", "no leave and no holder: all the same", "the owner", "a backup"],
)
def test_who_asks_the_upstream_as_a_last_resort_asks_for_leave(
    rank: int, answering: set[str], lease: tuple[bool, tuple[str, ...]], asked: list[str]
) -> None:
    async def tell() -> None:
        desk = Desk(RANKED[rank], answering=answering, lease=lease)  # type: ignore[arg-type]
        supply = await desk.fetch()
        assert desk.asked == asked
        assert not desk.released
        await supply.close()
        assert desk.released == (["/file"] if asked[-2:] == ["lease", "upstream"] else [])

    asyncio.run(tell())


def test_leave_is_given_back_where_the_upstream_fails() -> None:
    async def tell() -> None:
        desk = Desk(RANKED[5], answering=set(), lease=(True, ()))  # type: ignore[arg-type]
        desk.is_upstream_there = False
        with pytest.raises(UpstreamError):
            await desk.fetch()
        assert desk.released == ["/file"]

    asyncio.run(tell())
