"""A large cold file from everybody at once: right bytes, from the upstream once, and nothing left when nobody wants it."""

from __future__ import annotations

import pytest

from tests.kit.asking import ask_all, open_answer
from tests.kit.clients import CurlDownload, download_all, need
from tests.kit.files import MIB, big_file
from tests.kit.stage import Stage
from tests.kit.waiting import eventually

SIZE = 48 * MIB
"""Larger than what streams through its owner."""
KEPT = 'add_header Cache-Control "max-age=3600";'

pytestmark = pytest.mark.timeout(180)


@pytest.mark.parametrize("peers", [3, 5])
def test_all_at_once_and_again(stage: Stage, peers: int) -> None:
    need("curl")
    nginx = stage.nginx(extra=KEPT)
    digest = big_file(nginx.root / "a.bin", SIZE)
    cluster = stage.cluster(nginx.url, peers=peers, memory="32MiB")
    for _ in range(2):
        got = download_all([peer.url + "/a.bin" for peer in cluster.peers])
        assert {(one.code, one.size_bytes, one.sha256) for one in got} == {(0, SIZE, digest)}
    assert nginx.bytes_sent() <= 1.05 * SIZE
    cluster.assert_memory_kept(32 * MIB)


def test_one_after_the_other(stage: Stage) -> None:
    need("curl")
    nginx = stage.nginx(extra=KEPT)
    digest = big_file(nginx.root / "a.bin", SIZE)
    cluster = stage.cluster(nginx.url, peers=3)
    for peer in cluster.peers:
        (got,) = download_all([peer.url + "/a.bin"])
        assert (got.code, got.sha256) == (0, digest)
    assert nginx.bytes_sent() <= 1.05 * SIZE


def test_several_ranges_at_once(stage: Stage) -> None:
    nginx = stage.nginx(extra=KEPT)
    big_file(nginx.root / "a.bin", SIZE)
    body = (nginx.root / "a.bin").read_bytes()
    cluster = stage.cluster(nginx.url, peers=3)
    for start in (40 * MIB + 7, 3, 17 * MIB):
        fields = [("Range", f"bytes={start}-{start + 5 * MIB - 1}")]
        answers = ask_all([peer.url + "/a.bin" for peer in cluster.peers], at_once=3, fields=fields)
        assert [(one.status, one.body == body[start : start + 5 * MIB]) for one in answers] == [(206, True)] * 3


def test_a_client_that_leaves_in_the_middle_leaves_nothing_behind(stage: Stage) -> None:
    need("curl")
    nginx = stage.nginx(extra=KEPT, rate_bytes=2 * MIB)
    digest = big_file(nginx.root / "a.bin", SIZE)
    cluster = stage.cluster(nginx.url, peers=3)
    with open_answer(cluster.peers[0].url, "/a.bin") as answer:
        answer.read(MIB)
    eventually(lambda: cluster.peers[0].stats()["fills_abandoned_count"] > 0, "the download to be given up")
    eventually(lambda: all(peer.stats()["fills_count"] == 0 for peer in cluster.peers), "no fill to be left")
    assert nginx.bytes_sent() < SIZE / 2
    one = CurlDownload(cluster.peers[1].url + "/a.bin")
    got = one.finish()
    assert (got.code, got.sha256) == (0, digest)
