from __future__ import annotations

import asyncio
from pathlib import Path

from minicdn.core.logline import LogLine
from minicdn.roles.peer import Peer
from minicdn.settings import Settings
from minicdn.wire.manager import ManagerUnreachable
from minicdn.wire.messages import LogBatch, RenewAnswer
from tests.unit.node.fakes import SHARED, ScriptedManager, joined

LINE = LogLine("/a", "10.0.0.9:5", "curl", True, None, "GET", 200, 5, "memory", 0.1, 1436945573)


class Manager(ScriptedManager):
    """Takes logs too."""

    def __init__(self, *script) -> None:
        super().__init__(*script)
        self.batches: list[LogBatch] = []
        self.is_closed = False

    async def send_log(self, batch: LogBatch) -> None:
        self.batches.append(batch)

    async def close(self) -> None:
        self.is_closed = True


def peer_of(folder: Path, manager: Manager, **settings) -> tuple[Peer, list[str]]:
    said: list[str] = []
    found = {"role": "peer", "manager": manager.url, "port": 11001, "cache_dir": folder / "cache", "disk_bytes": 1 << 20, **settings}
    return Peer(Settings(**found), manager=manager, say=said.append, node_id="me"), said


def test_a_peer_is_ready_once_it_has_joined_and_until_it_leaves(tmp_path: Path) -> None:
    async def run() -> None:
        manager = Manager(joined("life.1", "me", "bob"))
        peer, _ = peer_of(tmp_path, manager)
        assert peer.health()["state"] == "starting"
        await peer.start()
        assert not peer.is_ready
        peer.listening(11001)
        await asyncio.wait_for(manager.is_over.wait(), 10)
        assert peer.is_ready
        assert peer.health()["upstream"] == SHARED.upstream
        assert peer.health()["manager"] == manager.url
        assert peer.node.upstream_url == SHARED.upstream
        assert peer.node.cache.policy.grace_seconds == SHARED.grace_seconds
        assert [found["id"] for found in peer.peers()["peers"]] == ["bob", "me"]
        await peer.begin_drain()
        assert manager.left == ["me"]
        assert peer.health()["state"] == "draining"
        assert [found["id"] for found in peer.peers()["peers"]] == ["bob"], "what is still asked of it, it asks of the owners"
        await peer.stop()
        assert manager.left == ["me"], "goodbye is said once"
        assert manager.is_closed

    asyncio.run(run())


def test_the_last_lines_go_out_before_the_end(tmp_path: Path) -> None:
    async def run() -> None:
        manager = Manager(joined("life.1", "me"))
        peer, said = peer_of(tmp_path, manager)
        await peer.start()
        peer.listening(11001)
        await asyncio.wait_for(manager.is_over.wait(), 10)
        await peer.begin_drain()
        peer.node.on_log(LINE)
        await peer.stop()
        assert [batch.lines for batch in manager.batches] == [(LINE,)]
        assert manager.batches[0].url == "http://10.0.0.5:11001"
        assert not any("log lines" in line for line in said)

    asyncio.run(run())


def test_a_peer_without_its_manager_serves_on_and_closes_in_time(tmp_path: Path) -> None:
    async def run() -> None:
        manager = Manager(joined("life.1", "me"), ManagerUnreachable("gone"), RenewAnswer("ok"))
        peer, _ = peer_of(tmp_path, manager)
        await peer.start()
        peer.listening(11001)
        await asyncio.wait_for(manager.is_over.wait(), 10)
        manager.leave_error = ManagerUnreachable("gone")
        assert peer.is_ready
        await asyncio.wait_for(peer.stop(), 5)

    asyncio.run(run())


def test_stopping_works_at_any_point_of_a_life(tmp_path: Path) -> None:
    async def run() -> None:
        never, _ = peer_of(tmp_path / "a", Manager())
        await never.stop()
        started, _ = peer_of(tmp_path / "b", Manager())
        await started.start()
        await started.stop()

    asyncio.run(run())


def test_a_mistake_in_following_is_said_and_does_not_end_it(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("minicdn.roles.role.AGAIN_SECONDS", 0.0)

    async def run() -> None:
        manager = Manager(ZeroDivisionError("oops"), joined("life.1", "me"))
        peer, said = peer_of(tmp_path, manager)
        await peer.start()
        peer.listening(11001)
        await asyncio.wait_for(manager.is_over.wait(), 10)
        assert peer.is_ready
        assert any("oops" in line for line in said)
        await peer.stop()

    asyncio.run(run())
