from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path

import pytest

from minicdn.core.logline import LogLine
from minicdn.core.roster import PROBE_FAILURES_MAX
from minicdn.errors import OperatorError
from minicdn.roles.manager import Manager
from minicdn.settings import Settings
from minicdn.wire.messages import LogBatch
from tests.unit.roles.making import Desk

LINE = LogLine("/a", "10.0.0.9:5", "curl", True, None, "GET", 200, 5, "memory", 0.1, 1436945573)


def desk_test(test):
    """Runs a test that is a coroutine of a folder."""

    def run(tmp_path: Path) -> None:
        asyncio.run(test(tmp_path))

    run.__name__ = test.__name__
    return run


@desk_test
async def test_a_peer_is_known_by_the_address_it_comes_from_and_gets_all_it_needs(folder: Path) -> None:
    async with Desk(folder) as desk:
        answer = await desk.join("anna")
        assert (answer.status, answer.url) == ("joined", "http://10.0.0.5:11001")
        assert [member.id for member in answer.peers.members] == ["anna"]
        assert answer.settings.upstream == "http://127.0.0.1:9"
        assert answer.settings.log is False
        assert desk.prober.probed == [("http://10.0.0.5:11001", "anna")]
        assert desk.manager.node.peers == answer.peers, "its own node knows the list, and is not on it"
        assert desk.manager.choose_peer(random.Random(1)).id == "anna"


@pytest.mark.parametrize(
    ("address", "url"),
    [("2001:db8::1", "http://[2001:db8::1]:11001"), ("::ffff:10.0.0.6", "http://10.0.0.6:11001")],
)
def test_ipv6_addresses_become_urls(tmp_path: Path, address: str, url: str) -> None:
    async def run() -> str:
        async with Desk(tmp_path) as desk:
            return (await desk.join("anna", address=address)).url

    assert asyncio.run(run()) == url


@desk_test
async def test_an_advertised_url_is_believed_and_tried(folder: Path) -> None:
    async with Desk(folder) as desk:
        answer = await desk.join("anna", advertise="https://laptop.example")
        assert answer.url == "https://laptop.example"
        assert desk.prober.probed == [("https://laptop.example", "anna")]


@desk_test
async def test_who_cannot_be_reached_is_not_listed_and_is_told_why(folder: Path) -> None:
    async with Desk(folder) as desk:
        desk.prober.reasons["http://10.0.0.5:11001"] = "no answer within 3 s"
        answer = await desk.join("anna")
        assert (answer.status, answer.reason, answer.url) == ("unreachable", "no answer within 3 s", "http://10.0.0.5:11001")
        assert answer.peers is None
        assert desk.ids == []
        assert desk.manager.choose_peer(random.Random(1)) is None
        assert (await desk.renew("anna")).status == "unknown"


@pytest.mark.parametrize("address", [None, "fe80::1%eth0"])
def test_an_address_of_no_use_to_others_is_unreachable(tmp_path: Path, address: str | None) -> None:
    async def run() -> str:
        async with Desk(tmp_path) as desk:
            return (await desk.join("anna", address=address)).status

    assert asyncio.run(run()) == "unreachable"


@desk_test
async def test_a_new_process_at_the_same_url_replaces_the_old(folder: Path) -> None:
    async with Desk(folder) as desk:
        await desk.join("anna")
        await desk.join("anna2")
        assert desk.ids == ["anna2"]
        assert (await desk.renew("anna")).status == "unknown"


@desk_test
async def test_the_list_has_a_bound_which_costs_no_probe(folder: Path) -> None:
    async with Desk(folder, peers_max=1) as desk:
        await desk.join("anna")
        answer = await desk.join("bob", port=11002)
        assert answer.status == "full"
        assert len(desk.prober.probed) == 1


@desk_test
async def test_a_renewal_brings_news_only_when_there_are_any(folder: Path) -> None:
    async with Desk(folder) as desk:
        joined = await desk.join("anna")
        epoch, version = joined.peers.epoch, joined.settings.version
        answer = await desk.renew("anna", epoch, version)
        assert (answer.status, answer.peers, answer.settings) == ("ok", None, None)
        assert (await desk.renew("anna", "older.1", version)).peers == joined.peers
        assert (await desk.renew("anna", epoch, "older")).settings == joined.settings


@desk_test
async def test_a_held_renewal_is_answered_by_a_change_at_once(folder: Path) -> None:
    async with Desk(folder, renew_seconds=60) as desk:
        joined = await desk.join("anna")
        held = asyncio.ensure_future(desk.renew("anna", joined.peers.epoch, joined.settings.version, wait=60))
        await desk.settle()
        assert not held.done()
        await desk.join("bob", port=11002)
        answer = await asyncio.wait_for(held, 5)
        assert [member.id for member in answer.peers.members] == ["anna", "bob"]


@desk_test
async def test_a_held_renewal_ends_by_its_time(folder: Path) -> None:
    async with Desk(folder, renew_seconds=0.02) as desk:
        joined = await desk.join("anna")
        answer = await asyncio.wait_for(desk.renew("anna", joined.peers.epoch, joined.settings.version, wait=60), 5)
        assert (answer.status, answer.peers) == ("ok", None)


@desk_test
async def test_a_new_upstream_is_learned_by_those_who_are_held(folder: Path) -> None:
    async with Desk(folder, renew_seconds=60) as desk:
        joined = await desk.join("anna")
        held = asyncio.ensure_future(desk.renew("anna", joined.peers.epoch, joined.settings.version, wait=60))
        await desk.settle()
        desk.manager.set_upstream("http://127.0.0.1:10")
        answer = await asyncio.wait_for(held, 5)
        assert answer.settings.upstream == "http://127.0.0.1:10"
        assert answer.peers is None


@desk_test
async def test_a_goodbye_ends_the_held_renewal_and_the_place_in_the_list(folder: Path) -> None:
    async with Desk(folder, renew_seconds=60) as desk:
        joined = await desk.join("anna")
        held = asyncio.ensure_future(desk.renew("anna", joined.peers.epoch, joined.settings.version, wait=60))
        await desk.settle()
        await desk.manager.handle_leave("anna")
        assert desk.manager.choose_peer(random.Random(1)) is None
        assert (await asyncio.wait_for(held, 5)).status == "unknown"


@desk_test
async def test_a_goodbye_during_the_probe_wins(folder: Path) -> None:
    async with Desk(folder) as desk:
        desk.prober.gate.clear()
        joining = asyncio.ensure_future(desk.join("anna"))
        await desk.settle()
        await desk.manager.handle_leave("anna")
        desk.prober.gate.set()
        assert (await joining).status == "closing"
        assert desk.ids == []


@desk_test
async def test_a_closing_manager_answers_who_is_held_and_takes_nobody(folder: Path) -> None:
    async with Desk(folder, renew_seconds=60) as desk:
        joined = await desk.join("anna")
        held = asyncio.ensure_future(desk.renew("anna", joined.peers.epoch, joined.settings.version, wait=60))
        desk.prober.gate.clear()
        joining = asyncio.ensure_future(desk.join("bob", port=11002))
        await desk.settle()
        await desk.manager.begin_drain()
        assert (await asyncio.wait_for(held, 5)).status == "closing"
        desk.prober.gate.set()
        assert (await joining).status == "closing"
        assert (await desk.join("carl", port=11003)).status == "closing"
        assert desk.manager.health()["ready"] is False


@desk_test
async def test_silence_for_the_window_ends_a_seat(folder: Path) -> None:
    async with Desk(folder, window_seconds=15) as desk:
        await desk.join("anna")
        await desk.join("bob", port=11002)
        desk.clock.now += 10
        await desk.renew("bob")
        desk.clock.now += 5
        desk.manager.tick(desk.clock.now, 0.0)
        assert desk.ids == ["bob"]
        assert [member.id for member in desk.manager.node.peers.members] == ["bob"]


@desk_test
async def test_a_manager_that_was_stopped_itself_blames_nobody(folder: Path) -> None:
    async with Desk(folder, window_seconds=15) as desk:
        await desk.join("anna")
        desk.clock.now += 600
        desk.manager.tick(desk.clock.now, 599.0)
        assert desk.ids == ["anna"]
        desk.clock.now += 15
        desk.manager.tick(desk.clock.now, 0.0)
        assert desk.ids == []


@desk_test
async def test_a_live_peer_that_can_be_reached_no_more_leaves_the_list_and_comes_back_by_itself(folder: Path) -> None:
    async with Desk(folder, window_seconds=1e6) as desk:
        answer = await desk.join("anna")
        desk.prober.reasons[answer.url] = "no answer within 3 s"
        for _ in range(PROBE_FAILURES_MAX):
            assert desk.ids == ["anna"]
            desk.clock.now += 30
            desk.manager.tick(desk.clock.now, 0.0)
            await desk.settle()
        assert desk.ids == []
        assert desk.manager.peers()["unreachable"][0]["reason"] == "no answer within 3 s"
        told = await desk.renew("anna")
        assert (told.status, told.is_listed, told.reason) == ("ok", False, "no answer within 3 s")
        del desk.prober.reasons[answer.url]
        desk.clock.now += 30
        desk.manager.tick(desk.clock.now, 0.0)
        await desk.settle()
        assert desk.ids == ["anna"]
        assert (await desk.renew("anna")).is_listed


@desk_test
async def test_a_laptop_that_renews_from_another_address_joins_again(folder: Path) -> None:
    async with Desk(folder) as desk:
        await desk.join("anna")
        assert (await desk.renew("anna", address="10.0.0.77")).status == "unknown"
        assert (await desk.join("anna", address="10.0.0.77")).url == "http://10.0.0.77:11001"
        await desk.join("bob", advertise="https://laptop.example")
        assert (await desk.renew("bob", address="10.0.0.78")).status == "ok", "an advertised URL does not depend on it"


@desk_test
async def test_the_list_says_when_each_was_seen_and_settles_after_a_start(folder: Path) -> None:
    async with Desk(folder, renew_seconds=5) as desk:
        assert (await desk.join("anna")).settles_seconds == 5
        desk.clock.now += 3
        assert desk.manager.peers()["peers"][0]["seen_seconds"] == 3
        assert (await desk.join("bob", port=11002)).settles_seconds == 2
        desk.clock.now += 3
        assert (await desk.join("carl", port=11003)).settles_seconds == 0


def rows(path: Path) -> list[dict]:
    return [json.loads(row) for row in path.read_bytes().splitlines()]


@desk_test
async def test_lines_of_peers_and_of_its_own_node_are_logged_and_a_repeated_batch_once(folder: Path) -> None:
    path = folder / "cdn.log"
    async with Desk(folder, log=str(path), advertise="http://manager.example:11000") as desk:
        joined = await desk.join("anna")
        assert joined.settings.log is True
        batch = LogBatch("anna", "http://stale.example", 1, 3, (LINE, LINE))
        await desk.manager.handle_log(batch)
        await desk.manager.handle_log(batch)
        await desk.manager.handle_leave("anna")
        await desk.manager.handle_log(LogBatch("anna", "http://10.0.0.5:11001", 2, 0, (LINE,)))
        desk.manager.node.on_log(LINE)
    found = [(row["peer"], row["data"]["action"]) for row in rows(path)]
    peer = "http://10.0.0.5:11001"
    assert found == [(peer, "DROPPED"), (peer, "LOG"), (peer, "LOG"), (peer, "LOG"), ("http://manager.example:11000", "LOG")]


@desk_test
async def test_without_a_log_lines_are_let_go(folder: Path) -> None:
    async with Desk(folder) as desk:
        await desk.manager.handle_log(LogBatch("anna", "http://a", 1, 0, (LINE,)))


def test_a_log_that_cannot_be_opened_is_for_the_operator(tmp_path: Path) -> None:
    manager = Manager(Settings(upstream="http://127.0.0.1:9", cache_dir=tmp_path / "cache", log=str(tmp_path / "missing" / "log")))
    with pytest.raises(OperatorError):
        asyncio.run(manager.start())


@desk_test
async def test_the_upstreams_password_is_for_nobody(folder: Path) -> None:
    async with Desk(folder, upstream="https://user:secret@files.example.com/x@y") as desk:
        assert desk.manager.health()["upstream"] == "https://files.example.com/x@y"
        assert (await desk.join("anna")).settings.upstream.startswith("https://user:secret@"), "but for those who fetch there"
