"""The executable of one file, where there is one: MINICDN_EXECUTABLE names what scripts/package.py has made."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import pytest

from tests.kit.asking import ask
from tests.kit.files import bytes_of
from tests.kit.origin import gated, whole
from tests.kit.ports import free_port
from tests.kit.process import Process
from tests.kit.stage import Stage
from tests.kit.waiting import eventually

EXECUTABLE = os.environ.get("MINICDN_EXECUTABLE", "")
pytestmark = pytest.mark.skipif(not EXECUTABLE, reason="MINICDN_EXECUTABLE names no executable (scripts/package.py makes one)")


def start(stage: Stage, role: str, *words: str) -> tuple[Process, str]:
    folder, port = stage.folder / role, free_port()
    folder.mkdir(exist_ok=True)
    command = [EXECUTABLE, role, *words, "--host", "127.0.0.1", "--port", str(port), "--cache-dir", str(folder / "cache")]
    node = Process(role, command, folder, cwd=folder)
    stage.callback(kill_all, node.pid)
    url = f"http://127.0.0.1:{port}"
    eventually(lambda: ask(url, "/_health", deadline_seconds=5).status == 200, f"the {role}", deadline_seconds=60, show=node.show)
    return node, url


def kill_all(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_ctrl_c_of_the_terminal_closes_it_warm(stage: Stage, workers: str) -> None:
    """The terminal sends it to both processes, and the first one passes it on to the other."""
    origin, gate, content = stage.origin(), stage.origin().gate(), bytes_of("slow", 300_000)
    path = origin.on("/slow.bin", gated([content[:100_000], content[100_000:]], [gate]))
    origin.on("/a.bin", whole(b"a"))
    manager, manager_url = start(stage, "manager", "--upstream", origin.url)
    peer, url = start(stage, "peer", "--manager", manager_url, "--workers", workers)
    assert ask(url, "/a.bin").body == b"a"
    download = Process("curl", ["curl", "-s", "-o", "got", url + path], stage.folder, cwd=stage.folder)
    origin.wait_asked(path)
    os.killpg(peer.pid, signal.SIGINT)
    peer.wait_printed("Ctrl-C again to stop now")
    gate.open()
    assert peer.wait(deadline_seconds=30) == 0, peer.show()
    assert download.wait(deadline_seconds=30) == 0 and (stage.folder / "got").read_bytes() == content
    manager.signal(signal.SIGTERM)
    assert manager.wait(deadline_seconds=30) == 0, manager.show()


def test_a_download_that_is_stopped_says_what_it_keeps(stage: Stage, tmp_path: Path) -> None:
    origin, gate, content = stage.origin(), stage.origin().gate(), bytes_of("slow", 3_000_000)
    path = origin.on("/slow.bin", gated([content[:2_000_000], content[2_000_000:]], [gate], [("ETag", '"1"')]))
    getting = Process("get", [EXECUTABLE, "get", origin.url + path], tmp_path, cwd=tmp_path)
    part = tmp_path / "slow.bin.part"
    eventually(lambda: part.exists() and part.stat().st_size >= 2_000_000, "the first part", deadline_seconds=60, show=getting.show)
    os.killpg(getting.pid, signal.SIGINT)
    assert getting.wait(deadline_seconds=30) == 130
    assert "2000000 bytes are kept" in getting.stderr
    gate.open()
