"""How purges get about: the manager's journal and fan-out, the peer's hand-over, and invalidations in batches."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from minicdn.core.journal import Journal, Mark
from minicdn.core.purging import EVERYTHING, Purge
from minicdn.errors import PeerError
from minicdn.node.node import Node
from minicdn.roles import handing, spreading
from minicdn.roles.handing import PeerPurges
from minicdn.roles.manager import Manager
from minicdn.roles.spreading import FanOut, Invalidations
from minicdn.settings import Settings
from minicdn.wire.manager import ManagerUnreachable
from minicdn.wire.purges import PurgeAnswer, PurgeCall
from tests.unit.node.fakes import FakeClock, members
from tests.unit.roles.making import Desk
from tests.unit.store.making import on_loop, turns, until

PURGE = Purge(frozenset(("/a",)))


class Client:
    """Stands for all other nodes. Those in `silent` never answer, those in `gone` fail."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, PurgeCall]] = []
        self.silent: set[str] = set()
        self.gone: set[str] = set()
        self.answers_with_mark = True

    async def tell(self, url: str, call: PurgeCall, seconds: float = 2.0) -> PurgeAnswer:
        self.calls.append((url, call))
        if url in self.silent:
            await asyncio.Event().wait()
        if url in self.gone:
            raise PeerError("gone")
        return PurgeAnswer(5, mark=call.mark if self.answers_with_mark else None)

    async def close(self) -> None:
        pass


def with_client(desk: Desk) -> Client:
    client = Client()
    desk.manager.purges._fan_out._client = client  # type: ignore[assignment]
    return client


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spreading, "ALL_TOLD_SECONDS", 0.05)
    monkeypatch.setattr(handing, "HEDGE_SECONDS", 0.02)


# The manager


def test_all_listed_peers_are_told_but_the_one_that_says_so(tmp_path: Path) -> None:
    @on_loop
    async def run() -> None:
        async with Desk(tmp_path) as desk:
            client = with_client(desk)
            for number, id in enumerate(("anna", "bob", "carl")):
                await desk.join(id, port=11001 + number)
            client.gone.add("http://10.0.0.5:11003")
            answer = await desk.manager.purges.handle(PurgeCall("anna", "t1", PURGE))
            assert sorted(url for url, _ in client.calls) == ["http://10.0.0.5:11002", "http://10.0.0.5:11003"]
            assert (answer.purged, answer.nodes, answer.unreachable) == (5, 2, ("http://10.0.0.5:11003",))
            assert desk.manager.node.counters.get("purges_count") == 1
            assert desk.manager.node.purger.mark == answer.mark
            again = await desk.manager.purges.handle(PurgeCall("anna", "t1", PURGE))
            assert (again.purged, again.nodes, len(client.calls)) == (0, 0, 2), "once is enough"

    run()


def test_a_held_renewal_is_answered_when_the_peer_was_missed_and_only_then(tmp_path: Path) -> None:
    @on_loop
    async def run() -> None:
        async with Desk(tmp_path, renew_seconds=5.0) as desk:
            client = with_client(desk)
            joined = await desk.join("anna")
            assert joined.missed is not None and joined.missed.entries is None, "who comes without a mark may have missed anything"
            mark = joined.missed.mark
            assert joined.settings is not None and joined.peers is not None
            epoch, version = joined.peers.epoch, joined.settings.version
            told = asyncio.ensure_future(_renew(desk, "anna", epoch, version, mark))
            await turns()
            await desk.manager.purges.purge(PURGE)
            await turns()
            assert not told.done(), "it answered the manager itself: no news"
            client.silent.add("http://10.0.0.5:11001")
            await desk.manager.purges.purge(Purge(frozenset(("/b",))))
            answer = await told
            assert answer.missed is not None and answer.missed.entries is not None
            assert [sorted(entry.purge.paths) for entry in answer.missed.entries] == [["/a"], ["/b"]]
            assert answer.missed.mark == desk.manager.purges._journal.mark

    run()


async def _renew(desk: Desk, id: str, epoch: str, version: str, mark: Mark | None) -> Any:
    from minicdn.wire.messages import Renew

    return await desk.manager.handle_renew(Renew(id, epoch, version, 5.0, mark), "10.0.0.5")


def test_the_journal_outlasts_the_manager(tmp_path: Path) -> None:
    @on_loop
    async def run() -> None:
        async with Desk(tmp_path) as desk:
            before = desk.manager.purges._journal.mark
            await desk.manager.purges.purge(PURGE)
            after = desk.manager.purges._journal.mark
        async with Desk(tmp_path) as again:
            missed = again.manager.purges.missed(before)
            assert missed is not None and missed.entries is not None and [entry.purge for entry in missed.entries] == [PURGE]
            missed = again.manager.purges.missed(after)
            assert missed is not None and missed.entries == ()
            assert again.manager.purges.missed(missed.mark) is None
            unknown = again.manager.purges.missed(Mark("abc", 5))
            assert unknown is not None and unknown.entries is None

    run()


def test_a_journal_that_cannot_be_written_holds_nobody(tmp_path: Path) -> None:
    @on_loop
    async def run() -> None:
        async with Desk(tmp_path) as desk:
            (tmp_path / "cache" / "journal.temporary").mkdir()
            assert (await desk.manager.purges.purge(PURGE)).nodes == 1
            assert desk.manager.node.counters.get("disk_errors_count") == 1

    run()


@pytest.mark.parametrize("state", [b"", b"\xc1nonsense"])
def test_a_damaged_journal_is_a_new_one(tmp_path: Path, state: bytes) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "journal").write_bytes(state)

    @on_loop
    async def run() -> None:
        async with Desk(tmp_path) as desk:
            assert desk.manager.purges.missed(None) is not None
            assert isinstance(desk.manager.purges._journal, Journal)

    run()


def test_what_the_manager_remembers_of_peers_goes_with_them(tmp_path: Path) -> None:
    @on_loop
    async def run() -> None:
        async with Desk(tmp_path) as desk:
            with_client(desk)
            await desk.join("anna")
            await desk.manager.purges.purge(PURGE)
            assert set(desk.manager.purges._told) == {"anna"}
            await desk.manager.handle_leave("anna")
            desk.manager.tick(desk.clock.monotonic(), 0.0)
            assert desk.manager.purges._told == {}

    run()


# Telling


@on_loop
async def test_who_is_silent_is_named_and_not_waited_for_twice() -> None:
    client, clock = Client(), FakeClock()
    client.gone.add("http://b")
    fan_out = FanOut(client, clock.monotonic)  # type: ignore[arg-type]
    placed = PurgeCall("me", "t", PURGE, Mark("j", 0), Mark("j", 1))
    assert await fan_out.tell(["http://a", "http://b"], placed) == PurgeAnswer(5, 1, ("http://b",))
    assert (await fan_out.tell(["http://b"], placed)).unreachable == ("http://b",)
    assert len(client.calls) == 2
    await fan_out.tell(["http://b"], PurgeCall("me", "t", PURGE))
    assert len(client.calls) == 3, "without the manager there is no second way"
    client.gone.clear()
    fan_out.heard_from("http://b")
    assert (await fan_out.tell(["http://b"], placed)).nodes == 1


@on_loop
async def test_telling_ends_though_somebody_never_answers() -> None:
    client = Client()
    client.silent.add("http://b")
    answer = await FanOut(client, FakeClock().monotonic).tell(["http://a", "http://b"], PurgeCall("me", "t", PURGE))  # type: ignore[arg-type]
    assert answer == PurgeAnswer(5, 1, ("http://b",))


# A peer


class ManagerStub:
    url = "http://manager"

    def __init__(self) -> None:
        self.calls: list[PurgeCall] = []
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def purge(self, call: PurgeCall) -> PurgeAnswer:
        self.calls.append(call)
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        number = len(self.calls)
        return PurgeAnswer(7, 3, (), Mark("j", number - 1), Mark("j", number))


class PeerDesk:
    def __init__(self) -> None:
        self.node = Node(Settings(), node_id="me")
        self.node.set_peers(type(self.node.peers)("e.1", members("me", "bob", "carl")))
        self.manager, self.client = ManagerStub(), Client()
        self.tasks: list[asyncio.Task[None]] = []
        fan_out = FanOut(self.client, self.node.clock.monotonic)  # type: ignore[arg-type]
        self.purges = PeerPurges(self.node, self.manager, fan_out, self.hold)  # type: ignore[arg-type]

    def hold(self, work: Any) -> asyncio.Task[None]:
        self.tasks.append(asyncio.ensure_future(work))
        return self.tasks[-1]


@on_loop
async def test_a_peer_hands_its_purge_to_the_manager_and_follows_its_mark() -> None:
    desk = PeerDesk()
    desk.node.purger.mark = Mark("j", 0)
    assert await desk.purges.purge(PURGE) == PurgeAnswer(7, 4)
    assert desk.client.calls == [] and desk.node.purger.mark == Mark("j", 1)
    assert desk.node.counters.get("purges_count") == 1


@on_loop
async def test_with_the_manager_away_a_peer_tells_the_others_and_keeps_it_for_later() -> None:
    desk = PeerDesk()
    desk.manager.error = ManagerUnreachable("away")
    answer = await desk.purges.purge(PURGE)
    assert (answer.purged, answer.nodes, answer.unreachable) == (10, 3, ("http://manager",))
    assert {url for url, _ in desk.client.calls} == {"http://10.0.0.5:1/bob", "http://10.0.0.5:1/carl"}
    assert desk.purges.kept_count == 1
    desk.manager.error = None
    desk.purges.manager_answers()
    await asyncio.gather(*desk.tasks)
    assert desk.purges.kept_count == 0
    assert desk.manager.calls[0].token == desk.manager.calls[1].token, "by its token it is known as the same"
    desk.purges.manager_answers()
    assert len(desk.tasks) == 1


@on_loop
async def test_a_manager_that_hesitates_is_not_waited_for_alone() -> None:
    desk = PeerDesk()
    desk.manager.gate.clear()
    asking = asyncio.ensure_future(desk.purges.purge(PURGE))
    await until(lambda: len(desk.client.calls) == 2)
    desk.manager.gate.set()
    assert await asking == PurgeAnswer(7, 4), "the manager's count is the one that counts"


@on_loop
async def test_what_is_kept_for_the_manager_is_bounded() -> None:
    desk = PeerDesk()
    desk.manager.error = ManagerUnreachable("away")
    for number in range(handing.KEPT_MAX + 1):
        desk.purges._keep(f"t{number}", Purge(frozenset((f"/{number}",))))
    assert desk.purges.kept_count == 1
    desk.manager.error = None
    desk.purges.manager_answers()
    await asyncio.gather(*desk.tasks)
    assert desk.manager.calls[0].purge == EVERYTHING


@on_loop
async def test_a_peer_that_is_told_carries_it_out_here_only() -> None:
    desk = PeerDesk()
    desk.node.purger.mark = Mark("j", 3)
    answer = await desk.purges.handle(PurgeCall("manager", "t", PURGE, Mark("j", 3), Mark("j", 4)))
    assert answer.nodes == 1 and answer.mark == Mark("j", 4)
    answer = await desk.purges.handle(PurgeCall("manager", "u", PURGE, Mark("j", 8), Mark("j", 9)))
    assert answer.mark == Mark("j", 4), "it still lacks what came between"
    assert desk.manager.calls == [] and desk.client.calls == []


@on_loop
async def test_a_peer_that_missed_nothing_is_sure_of_what_it_has() -> None:
    desk = PeerDesk()
    desk.node.purger.is_unsure = True
    desk.purges.catch_up(None)
    assert not desk.node.purger.is_unsure


# Invalidations


@on_loop
async def test_invalidations_gather_while_one_batch_is_under_way() -> None:
    desk = PeerDesk()
    spread: list[Purge] = []
    gate = asyncio.Event()

    async def slowly(purge: Purge) -> None:
        spread.append(purge)
        await gate.wait()

    invalidate = Invalidations(desk.node.purger, slowly, desk.hold)
    asked = [asyncio.ensure_future(invalidate(Purge(frozenset((f"/{number}",))))) for number in range(10)]
    await turns()
    assert len(spread) == 1 and spread[0].paths == {f"/{number}" for number in range(10)}
    asked += [asyncio.ensure_future(invalidate(Purge(frozenset((f"/more{number}",))))) for number in range(5)]
    await turns()
    assert len(spread) == 1 and not any(task.done() for task in asked)
    gate.set()
    await asyncio.gather(*asked)
    assert [len(purge.paths) for purge in spread] == [10, 5]


@on_loop
async def test_an_answer_does_not_wait_for_ever_for_the_others() -> None:
    desk = PeerDesk()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(spreading, "INVALIDATION_SECONDS", 0.01)

        async def never(purge: Purge) -> None:
            await asyncio.Event().wait()

        await Invalidations(desk.node.purger, never, desk.hold)(PURGE)
    assert not desk.tasks[0].done(), "it goes on behind"
    desk.tasks[0].cancel()


def test_unsafe_methods_through_the_manager_are_journaled(tmp_path: Path) -> None:
    from minicdn.core.message import Head, Request

    @on_loop
    async def run() -> None:
        async with Desk(tmp_path) as desk:
            manager: Manager = desk.manager
            await manager.node.invalidate(
                Request("POST", b"/a", "/a", ((b"host", b"me:1"),)), Head(201, ((b"Location", b"http://me:1/b"),))
            )
            [entry] = manager.purges._journal.since(Mark(manager.purges._journal.mark.id, 0)) or []
            assert entry.purge == Purge(frozenset(("/a", "/b")))
            await manager.node.invalidate(Request("POST", b"/a", "/a", ()), Head(500, ()))
            assert manager.purges._journal.mark.number == 1

    run()
