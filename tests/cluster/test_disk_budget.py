"""The disk's byte budget: least recently used out, and what doesn't fit passes through."""

from __future__ import annotations

import resource
import sys

import pytest

from tests.cluster.doors import KEPT
from tests.kit.asking import ask_all
from tests.kit.files import MIB, big_file, bytes_of, folder_bytes
from tests.kit.origin import lengthless, whole
from tests.kit.stage import Stage
from tests.kit.waiting import eventually

BOOKS = MIB
"""Room for the index beside the files."""


def test_least_recently_used_goes_first(stage: Stage) -> None:
    origin = stage.origin()
    bodies = {origin.on(f"/{n}.bin", whole(bytes_of(str(n), 6 * MIB), [KEPT])): bytes_of(str(n), 6 * MIB) for n in range(5)}
    manager = stage.manager(origin.url, disk="20MiB")
    for path in ["/0.bin", "/1.bin", "/2.bin", "/0.bin", "/3.bin"]:
        assert manager.ask(path).body == bodies[path]
        assert folder_bytes(manager.cache_dir) <= 20 * MIB + BOOKS
    assert manager.ask("/0.bin").body == bodies["/0.bin"]
    assert len(origin.asked("/0.bin")) == 1, "used between: kept"
    assert manager.ask("/1.bin").body == bodies["/1.bin"]
    assert len(origin.asked("/1.bin")) == 2, "the least recently used: evicted"
    assert manager.stats()["evictions_count"] >= 1


def test_many_more_than_the_disk_holds(stage: Stage) -> None:
    origin = stage.origin()
    for n in range(20):
        origin.on(f"/{n}.bin", whole(bytes_of(str(n), 5 * MIB), [KEPT]))
    cluster = stage.cluster(origin.url, peers=2, disk="18MiB")
    urls = [f"{cluster.peers[n % 2].url}/{n % 20}.bin" for n in range(40)]
    answers = ask_all(urls, at_once=6)
    assert all(answer.body == bytes_of(str(n % 20), 5 * MIB) for n, answer in enumerate(answers))
    for node in cluster.peers:
        eventually(lambda node=node: folder_bytes(node.cache_dir) <= 18 * MIB + BOOKS, f"{node.name} to keep its disk budget")
        assert node.disk_in_use() <= 18 * MIB


@pytest.mark.parametrize("disk", ["0", "4MiB"])
@pytest.mark.parametrize("has_length", [True, False])
@pytest.mark.parametrize("peers", [0, 2])
def test_a_file_larger_than_the_whole_budget_passes_through(stage: Stage, disk: str, has_length: bool, peers: int) -> None:
    origin, body = stage.origin(), bytes_of("large", 10 * MIB)
    path = origin.on("/large.bin", whole(body, [KEPT]) if has_length else lengthless(body, [KEPT], chunked=True))
    cluster = stage.cluster(origin.url, peers=peers, disk=disk)
    nodes = cluster.peers or [cluster.manager]
    answers = ask_all([node.url + path for node in nodes] * 3, at_once=6)
    assert all((answer.status, answer.is_whole, answer.body) == (200, True, body) for answer in answers)
    for node in nodes:
        assert folder_bytes(node.cache_dir) <= 4 * MIB + BOOKS
        assert node.ask(path).body == body


@pytest.mark.skipif(sys.platform != "linux", reason="limits of another process are Linux's")
@pytest.mark.parametrize("has_length", [True, False])
def test_a_disk_that_refuses_costs_no_download(stage: Stage, has_length: bool) -> None:
    """The disk is 'full' at 2 MiB in a file: what is larger passes through unsaved, and the node goes on."""
    origin, body, little = stage.origin(), bytes_of("refused", 10 * MIB), bytes_of("little", 1000)
    path = origin.on("/refused.bin", whole(body, [KEPT]) if has_length else lengthless(body, [KEPT], chunked=True))
    origin.on("/little.bin", whole(little, [KEPT]))
    manager = stage.manager(origin.url)
    resource.prlimit(manager.pid, resource.RLIMIT_FSIZE, (2 * MIB, 2 * MIB))
    for _ in range(2):
        answer = manager.ask(path)
        assert (answer.status, answer.is_whole, answer.body) == (200, True, body)
    assert manager.ask("/little.bin").body == little
    assert manager.stats()["disk_errors_count"] >= 1


@pytest.mark.skipif(sys.platform != "linux", reason="limits of another process are Linux's")
def test_a_disk_that_refuses_costs_no_piece_and_no_part(stage: Stage) -> None:
    """What comes in pieces, or as a part, goes on from elsewhere where the disk took no more of it."""
    nginx = stage.nginx(extra='add_header Cache-Control "max-age=3600";')
    big_file(nginx.root / "a.bin", 24 * MIB)
    body = (nginx.root / "a.bin").read_bytes()
    cluster = stage.cluster(nginx.url, peers=3)
    for peer in cluster.peers[:2]:
        resource.prlimit(peer.pid, resource.RLIMIT_FSIZE, (2 * MIB, 2 * MIB))
    urls = [peer.url + "/a.bin" for peer in cluster.peers]
    parts = ask_all(urls, at_once=3, fields=[("Range", f"bytes={MIB}-{9 * MIB}")])
    assert [(one.status, one.is_whole, one.body == body[MIB : 9 * MIB + 1]) for one in parts] == [(206, True, True)] * 3
    answers = ask_all(urls, at_once=3)
    assert [(one.status, one.is_whole, one.body == body) for one in answers] == [(200, True, True)] * 3
    assert cluster.peers[0].stats()["disk_errors_count"] >= 1
