from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from minicdn.roles import leasing
from minicdn.wire.manager import ManagerRefused, ManagerUnreachable
from minicdn.wire.messages import Join, LeaseAnswer, LeaseCall, Renew
from tests.unit.node.fakes import joined
from tests.unit.roles.making import ADDRESS, Desk
from tests.unit.roles.test_manager import desk_test
from tests.unit.roles.test_peer import Manager, peer_of

ANNAS, BOBS = "http://10.0.0.5:11001", "http://10.0.0.5:11002"


@desk_test
async def test_the_manager_grants_so_many_and_names_the_holders(folder: Path) -> None:
    async with Desk(folder) as desk:
        await desk.join("anna")
        await desk.join("bob", port=11002)
        assert await desk.lease("anna") == LeaseAnswer(True, (), 300)
        assert await desk.lease("bob") == LeaseAnswer(True, (ANNAS,), 300)
        assert await desk.lease("carl") == LeaseAnswer(False, (ANNAS, BOBS), 300)
        assert not await desk.manager.node.take_lease("/a"), "its own node is one of them"
        assert await desk.manager.node.take_lease("/b")
        counters = desk.manager.node.counters
        assert (counters.get("leases_granted_count"), counters.get("leases_refused_count")) == (3, 2)


@desk_test
async def test_leases_end_by_word_by_time_by_goodbye_and_by_silence(folder: Path) -> None:
    async with Desk(folder, upstream_leases_max=1, lease_seconds=60.0, window_seconds=15.0, renew_seconds=5.0) as desk:
        await desk.join("anna")
        await desk.join("bob", port=11002)
        await desk.lease("anna")
        await desk.lease("anna", is_over=True)
        assert (await desk.lease("bob")).is_granted
        desk.clock.now += 60
        assert (await desk.lease("anna")).is_granted
        await desk.manager.handle_leave("anna")
        assert (await desk.lease("bob")).is_granted
        assert len(desk.manager.leases) == 1
        desk.clock.now += 15
        desk.manager.tick(desk.clock.now, 0)
        assert desk.ids == []
        assert (await desk.lease("carl")).is_granted
        assert await desk.manager.node.take_lease("/b")
        desk.manager.node.release_lease("/b")
        assert (await desk.lease("carl", "/b")).is_granted


@desk_test
async def test_what_one_who_has_left_is_granted_is_not_kept(folder: Path) -> None:
    """It drains, and ends what it began; nobody would be told when it is over."""
    async with Desk(folder, upstream_leases_max=1) as desk:
        await desk.join("anna")
        await desk.join("bob", port=11002)
        await desk.manager.handle_leave("anna")
        assert await desk.lease("anna") == LeaseAnswer(True, (), 0)
        assert len(desk.manager.leases) == 0
        assert (await desk.lease("bob")).is_granted
        assert await desk.lease("anna") == LeaseAnswer(False, (BOBS,), 300), "those on the list come first"


@desk_test
async def test_whoever_takes_a_seat_frees_the_leases_of_who_sat_there(folder: Path) -> None:
    async with Desk(folder, upstream_leases_max=1) as desk:
        await desk.join("anna")
        await desk.lease("anna")
        await desk.join("anna, started again")
        assert not (await desk.lease("bob")).is_granted
        desk.manager.tick(desk.clock.now, 0)
        assert (await desk.lease("bob")).is_granted


@desk_test
async def test_uplinks_become_shares_with_the_next_tick_and_weights_stay(folder: Path) -> None:
    async with Desk(folder) as desk:
        for id, port, uplink in (("anna", 1, 1e7), ("bob", 2, 1e7), ("carl", 3, 0.0)):
            await desk.manager.handle_join(Join(id, port, None, "0", uplink=uplink), ADDRESS)
        answer = await desk.manager.handle_join(Join("dora", 4, None, "0", may_ask_upstream=False), ADDRESS)
        assert [(member.weight, member.share) for member in answer.peers.members] == [(1, 1), (1, 1), (1, 0.25), (0, 0)]
        await desk.manager.handle_renew(Renew("carl", "", "", 0.0, uplink=2.2e6), ADDRESS)
        desk.manager.tick(desk.clock.now, 0)
        listed = {peer["id"]: (peer["weight"], peer["share"], peer["uplink"]) for peer in desk.manager.peers()["peers"]}
        assert listed["carl"] == (1, 0.25, 2_200_000), "a quarter is near enough to what it has"
        await desk.manager.handle_renew(Renew("carl", "", "", 0.0, uplink=1e6), ADDRESS)
        desk.manager.tick(desk.clock.now, 0)
        news = await desk.renew("anna", answer.peers.epoch)
        assert [member.share for member in news.peers.members] == [1, 1, 0.1, 0]
        assert desk.manager.node.peers == news.peers


class Lessor(Manager):
    """Answers leases as told; None: not at all."""

    def __init__(self, answer: object) -> None:
        super().__init__(joined("life.1", "me"))
        self.answer = answer
        self.asked: list[LeaseCall] = []
        self.is_told = asyncio.Event()

    async def lease(self, call: LeaseCall) -> LeaseAnswer:
        self.asked.append(call)
        self.is_told.set()
        if isinstance(self.answer, Exception):
            raise self.answer
        assert isinstance(self.answer, LeaseAnswer)
        return self.answer


@pytest.mark.parametrize(
    ("answer", "is_granted"),
    [
        (LeaseAnswer(True), True),
        (LeaseAnswer(False, (ANNAS,), 10.0), False),
        (ManagerUnreachable("gone"), True),
        (ManagerRefused("of another time"), True),
    ],
    ids=["granted", "refused", "away", "strange"],
)
def test_a_peer_asks_its_manager_and_goes_on_where_that_is_away(tmp_path: Path, monkeypatch, answer: object, is_granted: bool) -> None:
    monkeypatch.setattr(leasing, "ALONE_SECONDS_MAX", 0.001)

    async def run() -> None:
        manager = Lessor(answer)
        peer, _ = peer_of(tmp_path, manager)
        assert await peer.node.take_lease("/a") is is_granted
        manager.is_told.clear()
        peer.node.release_lease("/a")
        await asyncio.wait_for(manager.is_told.wait(), 10)
        assert manager.asked == [LeaseCall("me", "/a"), LeaseCall("me", "/a", is_over=True)]
        await peer.stop()

    asyncio.run(run())


def test_who_gives_up_waiting_gives_back_what_it_is_granted(tmp_path: Path) -> None:
    class Slow(Lessor):
        async def lease(self, call: LeaseCall) -> LeaseAnswer:
            answer = await super().lease(call)
            if not call.is_over:
                await may_answer.wait()
            return answer

    async def run() -> None:
        manager = Slow(LeaseAnswer(True))
        peer, _ = peer_of(tmp_path, manager)
        asking = asyncio.ensure_future(peer.node.take_lease("/a"))
        await asyncio.wait_for(manager.is_told.wait(), 10)
        manager.is_told.clear()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        may_answer.set()
        await asyncio.wait_for(manager.is_told.wait(), 10)
        assert manager.asked[1:] == [LeaseCall("me", "/a", is_over=True)]
        await peer.stop()

    may_answer = asyncio.Event()
    asyncio.run(run())


def test_peers_without_their_manager_go_on_after_different_waits_of_a_second_at_most(tmp_path: Path, monkeypatch) -> None:
    waits: list[float] = []

    async def noting(seconds: float) -> None:
        waits.append(seconds)

    async def run() -> None:
        peer, _ = peer_of(tmp_path, Lessor(ManagerUnreachable("gone")))
        peer.node.leases = leasing.PeerLeases(peer.node, Lessor(ManagerUnreachable("gone")), random.Random(1), peer._hold)
        with monkeypatch.context() as patched:
            patched.setattr(leasing.asyncio, "sleep", noting)
            for _ in range(20):
                assert await peer.node.take_lease("/a")
        await peer.stop()

    asyncio.run(run())
    assert len(set(waits)) == 20
    assert 0 <= min(waits) < 0.3 and 0.7 < max(waits) <= 1


def test_a_peer_tells_its_manager_what_its_uplink_carried(tmp_path: Path) -> None:
    async def run() -> None:
        manager = Manager(joined("life.1", "me"))
        peer, _ = peer_of(tmp_path, manager, may_ask_upstream=False)
        now = peer.clock.monotonic()
        for step in range(-40, 0):
            peer.node.uplink.sent(peer.node.uplink.sending(now + step * 0.1), 100_000, now + step * 0.1 + 0.1)
        await peer.start()
        peer.listening(11001)
        await asyncio.wait_for(manager.is_over.wait(), 10)
        join, renew = manager.calls
        assert join.uplink == renew.uplink == pytest.approx(1e6, rel=0.01)
        assert not join.may_ask_upstream
        await peer.stop()

    asyncio.run(run())


def test_who_may_not_ask_the_upstream_asks_for_no_lease(tmp_path: Path) -> None:
    async def run() -> None:
        manager = Lessor(LeaseAnswer(True))
        peer, _ = peer_of(tmp_path, manager, may_ask_upstream=False)
        assert not await peer.node.take_lease("/a")
        assert manager.asked == []
        await peer.stop()

    asyncio.run(run())
