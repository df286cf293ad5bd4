from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from minicdn import __version__
from minicdn.core.counters import COUNTERS, GAUGES
from minicdn.core.logline import LogLine
from minicdn.core.metrics import metric_name
from minicdn.roles.peer import Peer
from minicdn.settings import Settings
from minicdn.web import control, log
from minicdn.web.control import control_app
from minicdn.wire.codec import CONTENT_TYPE, MESSAGE_BYTES_MAX, decode, encode
from minicdn.wire.messages import Join, JoinAnswer, LeaseAnswer, LeaseCall, LogBatch, Renew, RenewAnswer
from tests.kit.metrics import read_metrics
from tests.unit.roles.making import Desk
from tests.unit.web.asgi import Answer, Exchange, ask

LINE = LogLine("/a", "10.0.0.9:5", "curl", True, None, "GET", 200, 5, "memory", 0.1, 1436945573)


def at_manager(folder: Path, test: Any, **settings: Any) -> Any:
    """The result of the coroutine `test(desk, app)`."""

    async def run() -> Any:
        async with Desk(folder, **settings) as desk:
            return await test(desk, control_app(desk.manager))

    return asyncio.run(run())


def at_peer(folder: Path, test: Any) -> Any:
    async def run() -> Any:
        settings = Settings(role="peer", manager="http://manager:11000", cache_dir=folder / "cache", disk_bytes=1 << 20)
        peer = Peer(settings)
        await peer.start()
        try:
            return await test(peer, control_app(peer))
        finally:
            await peer.stop()

    return asyncio.run(run())


async def post(app: Any, path: str, message: dict[str, Any], **more: Any) -> Answer:
    return await ask(app, "POST", path, body=encode(message), headers={"content-type": CONTENT_TYPE}, **more)


def one_line(answer: Answer) -> str:
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.text.count("\n") == 1
    return answer.text


def test_health_of_a_manager(tmp_path: Path) -> None:
    async def test(desk: Desk, app: Any) -> None:
        answer = await ask(app, "GET", "/_health")
        assert answer.status == 200
        assert answer.headers["cache-control"] == "no-store"
        found = json.loads(answer.body)
        assert {"role": "manager", "id": desk.manager.node.id, "ready": True, "version": __version__}.items() <= found.items()
        assert found["upstream"] == "http://127.0.0.1:9"
        await desk.manager.begin_drain()
        assert (await ask(app, "GET", "/_health")).status == 503

    at_manager(tmp_path, test)


def test_health_of_a_peer_that_has_not_joined(tmp_path: Path) -> None:
    async def test(peer: Peer, app: Any) -> None:
        answer = await ask(app, "GET", "/_health")
        assert answer.status == 503
        found = json.loads(answer.body)
        assert {"role": "peer", "id": peer.node.id, "ready": False, "state": "starting", "upstream": None}.items() <= found.items()

    at_peer(tmp_path, test)


def test_stats_have_every_counter_and_what_is_in_use(tmp_path: Path) -> None:
    async def test(desk: Desk, app: Any) -> None:
        desk.manager.connections_count = lambda: 7
        desk.clock.now += 12
        found = json.loads((await ask(app, "GET", "/_stats")).body)
        assert set(COUNTERS) <= set(found)
        assert (found["connections_count"], found["uptime_seconds"]) == (7, 12)

    at_manager(tmp_path, test)


async def check_metrics(role: Any, app: Any) -> Answer:
    """All of its stats are among its metrics, with their values."""
    for number, name in enumerate(COUNTERS):
        role.node.counters.add(name, number)
    role.connections_count = lambda: 7
    answer = await ask(app, "GET", "/_metrics")
    assert answer.status == 200 and answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    found, stats = read_metrics(answer.text), role.stats()
    stats.pop("uptime_seconds")
    assert {metric_name(name): value for name, value in stats.items()}.items() <= found.items()
    assert found[("minicdn_build_info", (("version", __version__), ("role", role.name)))] == 1
    assert found[("minicdn_ready", ())] == role.is_ready
    assert found[("minicdn_disk_budget_bytes", ())] == 1 << 20
    return answer


def test_metrics_have_all_of_the_stats_at_both_roles(tmp_path: Path) -> None:
    async def manager(desk: Desk, app: Any) -> None:
        await desk.join("anna")
        found = read_metrics((await check_metrics(desk.manager, app)).text)
        assert found[("minicdn_peers", ())] == 1
        assert found[("minicdn_peer_share", (("peer", "http://10.0.0.5:11001"),))] == 1
        assert found[("minicdn_log_lines_dropped_total", ())] == desk.manager.stats()["log_lines_dropped_count"]

    async def peer(peer: Peer, app: Any) -> None:
        assert set(peer.stats()) == {*COUNTERS, *GAUGES} - {"connections_count"}
        found = read_metrics((await check_metrics(peer, app)).text)
        assert not [labels for _, labels in found if "peer" in dict(labels)], "of other peers the manager tells"

    at_manager(tmp_path / "m", manager, log=str(tmp_path / "cdn.log"))
    at_peer(tmp_path / "p", peer)


def test_targets_are_all_nodes_and_the_manager_alone_knows_them(tmp_path: Path) -> None:
    async def manager(desk: Desk, app: Any) -> None:
        await desk.join("anna")
        await desk.join("bob", port=11002)
        for _ in range(3):
            desk.manager.roster.probe_failed("bob", "http://10.0.0.5:11002", desk.clock.now)
        answer = await ask(app, "GET", "/_targets")
        assert answer.headers["content-type"] == "application/json"
        addresses = [target["targets"] for target in json.loads(answer.body)]
        assert addresses[1:] == [["10.0.0.5:11001", "10.0.0.5:11002"]], "who can't be reached from here may be from there"
        assert f"http://{addresses[0][0]}" == desk.manager.url()

    at_manager(tmp_path, manager)


def test_the_list_is_shown_at_both_roles(tmp_path: Path) -> None:
    async def manager(desk: Desk, app: Any) -> None:
        joined = await desk.join("anna")
        found = json.loads((await ask(app, "GET", "/_peers")).body)
        assert found["epoch"] == joined.peers.epoch
        shown = {"id": "anna", "url": "http://10.0.0.5:11001", "weight": 1.0, "share": 1.0, "uplink": 0, "seen_seconds": 0}
        assert found["peers"] == [shown]

    async def peer(peer: Peer, app: Any) -> None:
        assert json.loads((await ask(app, "GET", "/_peers")).body) == {"epoch": "", "peers": []}

    at_manager(tmp_path / "m", manager)
    at_peer(tmp_path / "p", peer)


@pytest.mark.parametrize("path", ["/_health", "/_peers", "/_stats", "/_metrics", "/_targets"])
def test_head_and_wrong_methods(tmp_path: Path, path: str) -> None:
    async def test(desk: Desk, app: Any) -> None:
        assert (await ask(app, "HEAD", path)).status == 200
        wrong = await ask(app, "DELETE", path)
        assert (wrong.status, wrong.headers["allow"]) == (405, "GET, HEAD")
        assert "GET" in one_line(wrong)

    at_manager(tmp_path, test)


@pytest.mark.parametrize("path", ["/_", "/_nope", "/_health/", "/_rpc", "/_rpc/none", "/_log/x"])
def test_other_paths_are_nobodys(tmp_path: Path, path: str) -> None:
    async def test(desk: Desk, app: Any) -> None:
        for method in ("GET", "POST"):
            answer = await ask(app, method, path)
            assert answer.status == 404
            one_line(answer)

    at_manager(tmp_path, test)


def test_join_renew_and_leave_over_the_wire(tmp_path: Path) -> None:
    async def test(desk: Desk, app: Any) -> None:
        answer = await post(app, "/_rpc/join", Join("anna", 11001, None, "0.1.0").to_wire(), client=("2001:db8::7", 5))
        assert (answer.status, answer.headers["content-type"]) == (200, CONTENT_TYPE)
        joined = JoinAnswer.from_wire(decode(answer.body))
        assert joined.url == "http://[2001:db8::7]:11001"
        renew = Renew("anna", joined.peers.epoch, joined.settings.version, 0.0)
        renewed = RenewAnswer.from_wire(decode((await post(app, "/_rpc/renew", renew.to_wire(), client=("2001:db8::7", 6))).body))
        assert renewed == RenewAnswer("ok")
        assert (await post(app, "/_rpc/leave", {"id": "anna"})).status == 200
        assert desk.ids == []

    at_manager(tmp_path, test)


def test_a_lease_is_granted_refused_and_given_back_over_the_door(tmp_path: Path) -> None:
    async def test(desk: Desk, app: Any) -> None:
        async def lease(id: str, *, is_over: bool = False) -> LeaseAnswer:
            return LeaseAnswer.from_wire(decode((await post(app, "/_rpc/lease", LeaseCall(id, "/a", is_over).to_wire())).body))

        for port, id in enumerate(("anna", "bob", "carl"), start=11001):
            await desk.join(id, port=port)
        assert [(await lease(id)).is_granted for id in ("anna", "bob", "carl")] == [True, True, False]
        await lease("anna", is_over=True)
        assert (await lease("carl")).is_granted

    async def elsewhere(peer: Peer, app: Any) -> None:
        assert (await post(app, "/_rpc/lease", LeaseCall("anna", "/a").to_wire())).status == 404

    at_manager(tmp_path / "m", test)
    at_peer(tmp_path / "p", elsewhere)


@pytest.mark.parametrize("path", ["/_rpc/join", "/_rpc/renew", "/_rpc/leave", "/_rpc/lease", "/_rpc/log"])
def test_messages_that_will_not_do_are_refused_with_a_reason(tmp_path: Path, path: str) -> None:
    async def test(desk: Desk, app: Any) -> None:
        typed = {"content-type": CONTENT_TYPE}
        for status, body, headers in [
            (400, b"", typed),
            (400, b"{}", typed),
            (400, encode({"id": 5}), typed),
            (413, b"\x80" * (MESSAGE_BYTES_MAX + 1), typed),
            (415, encode({"id": "anna"}), {}),
            (415, encode({"id": "anna"}), {"content-type": "application/x-www-form-urlencoded"}),
        ]:
            answer = await ask(app, "POST", path, body=body, headers=headers)
            assert answer.status == status
            one_line(answer)
        wrong = await ask(app, "GET", path)
        assert (wrong.status, wrong.headers["allow"]) == (405, "POST")

    at_manager(tmp_path, test)


def test_a_message_that_never_arrives_is_not_waited_for(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(control, "BODY_SECONDS", 0.02)

    async def test(desk: Desk, app: Any) -> None:
        exchange = Exchange(app, "POST", "/_rpc/leave", headers={"content-type": CONTENT_TYPE})
        exchange._body = None
        assert (await exchange.whole()).status == 408

    at_manager(tmp_path, test)


def test_a_held_renewal_answers_when_the_manager_closes(tmp_path: Path) -> None:
    async def test(desk: Desk, app: Any) -> None:
        joined = await desk.join("anna")
        renew = Renew("anna", joined.peers.epoch, joined.settings.version, 60.0)
        exchange = Exchange(app, "POST", "/_rpc/renew", body=encode(renew.to_wire()), headers={"content-type": CONTENT_TYPE})
        await desk.settle()
        await desk.manager.begin_drain()
        assert RenewAnswer.from_wire(decode((await exchange.whole()).body)).status == "closing"

    at_manager(tmp_path, test, renew_seconds=60.0)


@pytest.mark.parametrize("path", ["/_log", "/_targets", "/_rpc/join"])
def test_a_peer_says_where_the_manager_is(tmp_path: Path, path: str) -> None:
    async def test(peer: Peer, app: Any) -> None:
        answer = await ask(app, "POST" if path.startswith("/_rpc/") else "GET", path)
        assert answer.status == 404
        assert f"http://manager:11000{path}" in one_line(answer)

    at_peer(tmp_path, test)


# The log


def rows(answer: Answer) -> list[dict[str, Any]]:
    return [json.loads(row) for row in answer.body.splitlines()]


def keys(answer: Answer) -> list[str]:
    return [row["data"].get("key", "") for row in rows(answer)]


async def log_lines(desk: Desk, app: Any, *names: str) -> None:
    """Written for sure: the follower sees a line after it is in the file."""
    exchange = Exchange(app, "GET", "/_log?follow=1&limit=0")
    await exchange.wait_for(lambda answer: answer.status)
    await desk.settle()
    lines = tuple(LogLine(name, "10.0.0.9:5", "curl", True, None, "GET", 200, 5, "memory", 0.1, 1436945573) for name in names)
    number = int(asyncio.get_running_loop().time() * 1e6)
    await post(app, "/_rpc/log", LogBatch("anna", "http://10.0.0.5:11001", number, 0, lines).to_wire())
    await exchange.wait_for(lambda answer: len(rows(answer)) == len(names))
    exchange.hang_up()
    await exchange.whole()


def test_the_log_is_shown_as_json_lines(tmp_path: Path) -> None:
    async def test(desk: Desk, app: Any) -> None:
        await log_lines(desk, app, *(f"/{number}" for number in range(20)))
        answer = await ask(app, "GET", "/_log")
        assert answer.headers["content-type"] == "application/x-ndjson"
        assert answer.headers["cache-control"] == "no-store"
        assert keys(answer) == [f"/{number}" for number in range(20)]
        assert rows(answer)[0]["peer"] == "http://10.0.0.5:11001"
        assert keys(await ask(app, "GET", "/_log?limit=3")) == ["/17", "/18", "/19"]
        assert (await ask(app, "GET", "/_log?limit=0")).body == b""

    at_manager(tmp_path, test, log=str(tmp_path / "cdn.log"))


def test_following_ends_when_the_manager_closes(tmp_path: Path) -> None:
    async def test(desk: Desk, app: Any) -> None:
        await log_lines(desk, app, "/before")
        exchange = Exchange(app, "GET", "/_log?follow=1")
        await exchange.wait_for(lambda answer: keys(answer) == ["/before"])
        await log_lines(desk, app, "/after")
        await exchange.wait_for(lambda answer: keys(answer) == ["/before", "/after"])
        await desk.manager.begin_drain()
        assert keys(await exchange.whole()) == ["/before", "/after"]

    at_manager(tmp_path, test, log=str(tmp_path / "cdn.log"))


def test_a_reader_that_leaves_is_followed_by_nothing(tmp_path: Path) -> None:
    async def test(desk: Desk, app: Any) -> None:
        exchange = Exchange(app, "GET", "/_log?follow=1")
        await exchange.wait_for(lambda answer: answer.status)
        assert len(desk.manager.log.file._followers) == 1
        exchange.hang_up()
        await exchange.whole()
        assert len(desk.manager.log.file._followers) == 0

    at_manager(tmp_path, test, log=str(tmp_path / "cdn.log"))


def test_a_reader_that_takes_nothing_is_cut_off(tmp_path: Path) -> None:
    async def test(desk: Desk, app: Any) -> None:
        await log_lines(desk, app, "/a")
        exchange = Exchange(app, "GET", "/_log?follow=1", is_reading=False)
        with pytest.raises(TimeoutError):  # a server sees its application fail, and closes the connection
            await exchange.whole()
        assert exchange.task.done()
        assert len(desk.manager.log.file._followers) == 0

    at_manager(tmp_path, test, log=str(tmp_path / "cdn.log"), client_stall_seconds=0.05)


def test_head_of_the_log_has_no_body_and_follows_nothing(tmp_path: Path) -> None:
    async def test(desk: Desk, app: Any) -> None:
        answer = await ask(app, "HEAD", "/_log?follow=1")
        assert (answer.status, answer.headers["content-type"], answer.body) == (200, "application/x-ndjson", b"")

    at_manager(tmp_path, test, log=str(tmp_path / "cdn.log"))


@pytest.mark.parametrize("query", ["limit=", "limit=-1", "limit=x", "limit=1.5", "limit=9999999999", "limit=٣", "follow=yes"])
def test_a_wrong_query_is_refused_with_a_reason(tmp_path: Path, query: str) -> None:
    async def test(desk: Desk, app: Any) -> None:
        answer = await ask(app, "GET", f"/_log?{query}")
        assert answer.status == 400
        assert query.split("=")[0] in one_line(answer)

    at_manager(tmp_path, test, log=str(tmp_path / "cdn.log"))


def test_without_a_log_the_reason_names_the_option(tmp_path: Path) -> None:
    async def test(desk: Desk, app: Any) -> None:
        answer = await ask(app, "GET", "/_log")
        assert answer.status == 404
        assert "--log" in one_line(answer)

    at_manager(tmp_path, test)


def test_limits_are_read_strictly() -> None:
    assert log.parse_limit(None) == 1000
    assert log.parse_limit("7") == 7
    assert log.parse_follow("1") and not log.parse_follow("0") and not log.parse_follow(None)
