"""Several workers behind one port: all of them serve, one that dies comes back under its own address, and they close as one."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
from pathlib import Path

import pytest

from tests.kit.asking import ask
from tests.kit.clients import CurlDownload, need
from tests.kit.files import MIB, big_file
from tests.kit.ports import can_connect, free_port
from tests.kit.program import EXIT_PORT_TAKEN, Minicdn, members_of
from tests.kit.stage import Stage
from tests.kit.waiting import eventually

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or not hasattr(socket, "SO_REUSEPORT"), reason="workers are looked up in /proc here"
)
COUNT = 2


class Crew:
    """A manager, and a peer of two workers on the port given."""

    def __init__(self, stage: Stage, upstream: str) -> None:
        self.manager = stage.manager(upstream)
        self.peer = stage.start("peer", name="crew", manager=self.manager.url, workers=COUNT, port=free_port())
        eventually(lambda: len(members_of(self.manager)) == COUNT, "both workers to be listed", show=self.peer.show)
        self.peer.wait_printed("workers  2")

    @property
    def urls(self) -> set[str]:
        return {member["url"] for member in members_of(self.manager)}

    def pids(self) -> set[int]:
        return {int(pid) for pid in Path(f"/proc/{self.peer.pid}/task/{self.peer.pid}/children").read_text().split()}


def ids_met(peer: Minicdn, wanted: int) -> set[str]:
    """Who answers on the public port: each connection may meet another."""
    met: set[str] = set()

    def meets_all() -> bool:
        met.add(peer.json("/_health")["id"])
        return len(met) >= wanted

    eventually(meets_all, f"{wanted} workers to be met", show=peer.show)
    return met


def test_two_workers_serve_one_port_and_own_their_shares(stage: Stage) -> None:
    nginx = stage.nginx()
    (nginx.root / "small.txt").write_text("small")
    crew = Crew(stage, nginx.url)
    assert crew.peer.url not in crew.urls and len(crew.urls) == COUNT
    assert ids_met(crew.peer, COUNT) == {member["id"] for member in members_of(crew.manager)}
    for url in (crew.peer.url, *crew.urls):
        assert ask(url, "/small.txt").body == b"small"
    assert {folder.name for folder in crew.peer.cache_dir.iterdir()} == {"worker-0", "worker-1"}


def test_a_worker_that_is_killed_comes_back_and_no_request_fails(stage: Stage) -> None:
    nginx = stage.nginx()
    (nginx.root / "small.txt").write_text("small")
    crew = Crew(stage, nginx.url)
    urls, before = crew.urls, ids_met(crew.peer, COUNT)
    victim = min(crew.pids())
    os.kill(victim, signal.SIGKILL)
    for _ in range(60):
        assert ask(crew.peer.url, "/small.txt").body == b"small"
    crew.peer.wait_printed("is started again")
    eventually(lambda: {member["id"] for member in members_of(crew.manager)} != before and crew.urls == urls, "it to be back")
    assert ids_met(crew.peer, COUNT) != before
    assert victim not in crew.pids() and len(crew.pids()) == COUNT


def test_a_warm_close_lets_downloads_of_all_workers_end(stage: Stage) -> None:
    need("curl")
    nginx = stage.nginx(rate_bytes=4 * MIB)
    size = 12 * MIB
    digest = big_file(nginx.root / "big.bin", size)
    crew = Crew(stage, nginx.url)
    running = [CurlDownload(url + "/big.bin") for url in (crew.peer.url, *crew.urls)]
    for one in running:
        one.read_until(1 * MIB)
    crew.peer.interrupt()
    eventually(lambda: members_of(crew.manager) == [], "both to leave the list")
    got = [one.finish() for one in running]
    assert {(one.code, one.size_bytes, one.sha256) for one in got} == {(0, size, digest)}
    assert crew.peer.wait() == 0, crew.peer.show()
    assert not can_connect(crew.peer.port)
    assert "Traceback" not in crew.peer.output


def test_a_cold_close_leaves_nobody(stage: Stage) -> None:
    crew = Crew(stage, stage.nginx().url)
    pids = crew.pids()
    crew.peer.interrupt()
    crew.peer.interrupt()
    assert crew.peer.wait(deadline_seconds=5) in (0, 130)
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "the workers to be gone")


def test_workers_whose_supervisor_was_killed_end(stage: Stage) -> None:
    crew = Crew(stage, stage.nginx().url)
    pids = crew.pids()
    crew.peer.kill()
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "the workers to be gone", deadline_seconds=30)
    assert members_of(crew.manager) == []


def test_a_worker_that_can_not_start_ends_the_program_with_its_own_word(stage: Stage, tmp_path: Path) -> None:
    manager = stage.manager(stage.nginx().url)
    (tmp_path / "taken").write_text("a file, where a folder should be")
    peer = stage.start("peer", name="crew", manager=manager.url, workers=COUNT, port=free_port(), cache_dir=tmp_path / "taken")
    assert peer.wait() not in (0, 70)
    assert re.search(r"minicdn: .*taken", peer.output) and "Traceback" not in peer.output


def test_a_port_that_is_taken_is_not_shared(stage: Stage) -> None:
    crew = Crew(stage, stage.nginx().url)
    second = stage.start("peer", name="second", manager=crew.manager.url, workers=COUNT, port=crew.peer.port)
    assert second.wait() == EXIT_PORT_TAKEN
