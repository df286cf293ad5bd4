"""The upstream is away: those who have something stale get it, the others a 502 that says why, and it heals by itself."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.kit.asking import ask, ask_all
from tests.kit.files import bytes_of
from tests.kit.origin import Origin, held, validating, whole
from tests.kit.ports import free_port
from tests.kit.stage import Stage
from tests.kit.waiting import eventually


@pytest.mark.parametrize("peers", [0, 2])
def test_refused_upstream_is_a_502_with_a_reason(stage: Stage, peers: int) -> None:
    cluster = stage.cluster(f"http://127.0.0.1:{free_port()}", peers=peers)
    for node in cluster.peers or [cluster.manager]:
        answer = node.ask("/file")
        assert answer.status == 502
        assert b"upstream" in answer.body.lower()
        assert b"Traceback" not in answer.body


@pytest.mark.parametrize("peers", [0, 2])
def test_stale_is_served_while_the_upstream_is_away(stage: Stage, peers: int) -> None:
    origin = Origin()
    stage.callback(origin.stop)
    path = origin.on("/kept", validating(b"kept content", '"k"', [("Cache-Control", "max-age=1")]))
    cluster = stage.cluster(origin.url, peers=peers)
    nodes = cluster.peers or [cluster.manager]
    for node in nodes:
        assert node.ask(path).body == b"kept content"
    origin.stop()

    def is_stale() -> bool:
        answers = [node.ask(path) for node in nodes]
        assert all((answer.status, answer.body) == (200, b"kept content") for answer in answers), answers
        return all(int(answer["Age"]) > 1 for answer in answers)

    eventually(is_stale, "a stale answer from each node")
    assert nodes[0].ask("/unknown").status == 502


def test_an_upstream_that_comes_back_is_asked_again(stage: Stage) -> None:
    nginx = stage.nginx()
    nginx.put("late.txt", b"here now")
    nginx.stop()
    manager = stage.manager(nginx.url)
    assert manager.ask("/late.txt").status == 502
    nginx.start()
    eventually(lambda: manager.ask("/late.txt").body == b"here now", "the file after the upstream's return", deadline_seconds=30)


@pytest.mark.parametrize("peers", [0, 2])
def test_an_upstream_that_is_away_is_left_alone(stage: Stage, peers: int) -> None:
    """200 requests for different files cost it a handful of attempts; when it is back, it is asked within the longest rest."""
    nginx = stage.nginx()
    nginx.put("back.txt", b"here again")
    cluster = stage.cluster(nginx.url, peers=peers)
    nodes = cluster.peers or [cluster.manager]
    nginx.stop()
    for node in nodes:
        answers = ask_all([f"{node.url}/file-{number}" for number in range(200)], at_once=4)
        assert {answer.status for answer in answers} == {502}
        assert {answer["Retry-After"] for answer in answers} <= {"1", "2"}
    for node in nodes:
        stats = node.stats()
        assert 2 <= stats["upstream_requests_count"] <= 30, stats
        assert stats["upstream_spared_count"] >= 50, stats
        assert node.output.count("connection refused") == 1, node.show()
    nginx.start()
    for node in nodes:
        eventually(lambda node=node: node.ask("/back.txt").body == b"here again", "the file after its return", deadline_seconds=4)
    said = "".join(node.output for node in nodes)
    assert 1 <= said.count(f"the upstream {nginx.url} is back") <= len(nodes), said


def test_an_upstream_that_comes_back_meets_no_crowd(stage: Stage) -> None:
    """Forty clients who try again and again, for forty files: it is asked for each of them once, over few connections."""
    nginx = stage.nginx()
    paths = [nginx.put(f"{number}.bin", bytes_of(str(number), 50_000)) for number in range(40)]
    cluster = stage.cluster(nginx.url, peers=2, upstream_connections=8)
    nginx.stop()

    def insist(number: int) -> int:
        tries_count = 0
        while (answer := cluster.peers[number % 2].ask(paths[number])).status != 200:
            assert answer.status == 502, answer
            tries_count += 1
            time.sleep(0.02)
        assert answer.body == bytes_of(str(number), 50_000)
        return tries_count

    with ThreadPoolExecutor(len(paths)) as pool:
        insisting = [pool.submit(insist, number) for number in range(len(paths))]
        eventually(lambda: sum(peer.stats()["upstream_spared_count"] for peer in cluster.peers) > 200, "a crowd", show=stage.show)
        nginx.start()
        assert sum(one.result() for one in insisting) > 200
    assert [nginx.bytes_sent(path) for path in paths] == [50_000] * len(paths), "once each"
    assert all(peer.stats()["upstream_errors_count"] < 20 for peer in cluster.peers), stage.show()


@pytest.mark.parametrize("status", [503, 429])
def test_an_upstream_that_was_in_trouble_meets_no_crowd(stage: Stage, status: int) -> None:
    """What it could not give before is asked for once, however many want it by then."""
    origin = stage.origin()
    gate, is_well = origin.gate(), threading.Event()
    good = held(gate, whole(b"well again", [("Cache-Control", "max-age=60")]))
    path = origin.on("/file", lambda asked, line: (good if is_well.is_set() else whole(b"trouble", status=status))(asked, line))
    cluster = stage.cluster(origin.url, peers=2)
    assert [peer.ask(path).status for peer in cluster.peers] == [status] * 2
    asked_count = len(origin.asked(path))
    is_well.set()
    with ThreadPoolExecutor(20) as pool:
        waiting = [pool.submit(cluster.peers[number % 2].ask, path) for number in range(20)]
        eventually(lambda: sum(peer.stats()["joins_count"] for peer in cluster.peers) >= 17, "most of them to wait", show=stage.show)
        gate.open()
        assert {one.result().body for one in waiting} == {b"well again"}
    assert len(origin.asked(path)) - asked_count <= 2, "by its owner, for others and for its own clients"


def test_an_upstream_with_a_base_path(stage: Stage) -> None:
    origin = stage.origin()
    origin.on("/base/dir/file", whole(b"under the base"))
    manager = stage.manager(origin.url + "/base/dir/")
    answer = ask(manager.url, "/file?q=1")
    assert answer.body == b"under the base"
    assert origin.asked()[0].target == b"/base/dir/file?q=1"
