"""Warm close and cold close, by the signals that people and service managers send."""

from __future__ import annotations

import signal
import sys

import pytest

from tests.cluster.doors import KEPT
from tests.kit.asking import ask, open_answer
from tests.kit.clients import CurlDownload, need
from tests.kit.files import MIB, big_file, bytes_of
from tests.kit.origin import gated
from tests.kit.ports import can_connect
from tests.kit.stage import Stage
from tests.kit.waiting import eventually

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has other signals")
COLD = 130


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_warm_close_of_a_peer_with_a_running_download(stage: Stage, number: signal.Signals) -> None:
    need("curl")
    nginx = stage.nginx(rate_bytes=4 * MIB)
    size = 16 * MIB
    digest = big_file(nginx.root / "big.bin", size)
    cluster = stage.cluster(nginx.url, peers=2)
    leaver, stayer = cluster.peers
    running = [CurlDownload(peer.url + "/big.bin") for peer in (leaver, leaver, stayer)]
    for one in running:
        one.read_until(2 * MIB)
    leaver.signal(number)
    cluster.wait_listed([stayer], deadline_seconds=2)
    for _ in range(20):
        assert ask(cluster.url, "/x")["Location"] == stayer.url + "/x"
    assert leaver.is_running(), leaver.show()
    got = [one.finish() for one in running]
    assert {(one.code, one.size_bytes, one.sha256) for one in got} == {(0, size, digest)}
    assert leaver.wait() == 0, leaver.show()
    assert "Traceback" not in leaver.output
    assert stayer.ask("/big.bin", method="HEAD").status == 200


def test_each_step_says_what_the_next_ctrl_c_will_do(stage: Stage) -> None:
    origin, body = stage.origin(), bytes_of("c", 100_000)
    gate = origin.gate()
    path = origin.on("/slow", gated([body[:1000], body[1000:]], [gate], [KEPT]))
    cluster = stage.cluster(origin.url, peers=1)
    [peer] = cluster.peers
    assert "Ctrl-C" in peer.output
    with open_answer(peer.url, path) as answer:
        answer.read(1000)
        said = peer.output.count("Ctrl-C")
        peer.interrupt()
        eventually(lambda: peer.output.count("Ctrl-C") > said, "a word about the next Ctrl-C", show=peer.show)
        gate.open()
        assert answer.rest() == body[1000:]
    assert peer.wait() == 0


@pytest.mark.parametrize("role", ["manager", "peer"])
@pytest.mark.parametrize("signals", [[signal.SIGINT, signal.SIGINT], [signal.SIGTERM, signal.SIGINT], [signal.SIGQUIT]])
def test_cold_close(stage: Stage, role: str, signals: list[signal.Signals]) -> None:
    origin = stage.origin()
    path = origin.on("/stuck", gated([b"a" * 1000, b"b"], [origin.gate()], [KEPT]))
    cluster = stage.cluster(origin.url, peers=1 if role == "peer" else 0)
    node = cluster.peers[0] if role == "peer" else cluster.manager
    with open_answer(node.url, path) as answer:
        answer.read(1000)
        for number in signals[:-1]:
            printed = len(node.output)
            node.signal(number)
            eventually(lambda before=printed: len(node.output) > before, "a word about the close", show=node.show)
            assert node.is_running(), node.show()
        node.signal(signals[-1])
        assert node.wait(deadline_seconds=1.0) == COLD, node.show()
    assert "Traceback" not in node.output


@pytest.mark.parametrize("peers", [0, 1])
def test_warm_close_without_downloads_is_quick(stage: Stage, peers: int) -> None:
    """Idle keep-alive connections hold nobody up."""
    nginx = stage.nginx()
    nginx.put("a.txt", b"a")
    cluster = stage.cluster(nginx.url, peers=peers)
    node = cluster.peers[0] if peers else cluster.manager
    assert node.ask("/a.txt").body == b"a"
    with open_keep_alive(node.port):
        node.interrupt()
        assert node.wait(deadline_seconds=10) == 0, node.show()
    assert not can_connect(node.port)


def open_keep_alive(port: int):
    import socket

    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    connection.sendall(b"GET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n")
    assert connection.recv(65536).startswith(b"HTTP/1.1 200")
    return connection


def test_warm_close_of_a_manager_finishes_its_downloads(stage: Stage) -> None:
    origin, body = stage.origin(), bytes_of("m", 2 * MIB)
    gate = origin.gate()
    path = origin.on("/slow", gated([body[:MIB], body[MIB:]], [gate], [KEPT]))
    manager = stage.manager(origin.url)
    with open_answer(manager.url, path) as answer:
        answer.read(MIB)
        printed = len(manager.output)
        manager.interrupt()
        eventually(lambda: len(manager.output) > printed, "a word about the close", show=manager.show)
        gate.open()
        assert answer.rest() == body[MIB:]
    assert manager.wait() == 0, manager.show()


def test_a_peer_that_closes_without_its_manager(stage: Stage) -> None:
    cluster = stage.cluster(stage.nginx().url, peers=1)
    cluster.manager.kill()
    [peer] = cluster.peers
    peer.interrupt()
    assert peer.wait(deadline_seconds=15) == 0, peer.show()
    assert "Traceback" not in peer.output
