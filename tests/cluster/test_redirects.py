"""The manager's redirect: to a random live peer, path and query kept to the byte; none without peers."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.kit.asking import ask
from tests.kit.cluster import Cluster
from tests.kit.stage import Stage

TARGETS = [
    b"/",
    b"/a%20b?x=1&b=",
    b"/a?a=1&b=",
    b"//double//slash//",
    b"/\xc3\xa9t\xc3\xa9?\xc3\xbc",
    b"/%C3%A9%c3%a9",
    b"/a+b?c+d",
    b"/a?b?c",
    b"/a?",
    b"/%2F%2f",
    b"/a;v=1,2",
    b"/a?url=http://elsewhere/%2e%2e&x=%26%3D",
    b"/dir/./file",
    b"/x'()*!$~|[]{}^`\"<>\\",
    b"/" + b"long/" * 400,
]


@pytest.fixture(scope="module")
def cluster(shared_stage: Stage) -> Cluster:
    return shared_stage.cluster(shared_stage.nginx().url, peers=3)


@pytest.mark.parametrize("target", TARGETS, ids=range(len(TARGETS)))
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_path_and_query_are_kept_to_the_byte(cluster: Cluster, target: bytes, method: str) -> None:
    answer = ask(cluster.url, target, method=method)
    assert answer.status == 302
    location = answer["Location"].encode("latin-1")
    assert location in {peer.url.encode() + target for peer in cluster.peers}


def test_all_peers_get_their_share(cluster: Cluster) -> None:
    named = Counter(ask(cluster.url, "/x")["Location"].removesuffix("/x") for _ in range(150))
    assert set(named) == {peer.url for peer in cluster.peers}
    assert min(named.values()) > 15, "far below a third of 150 each is no random choice"


def test_a_redirect_is_not_kept_by_caches(cluster: Cluster) -> None:
    answer = ask(cluster.url, "/x")
    assert "no-store" in answer["Cache-Control"]


def test_without_peers_the_manager_serves(stage: Stage) -> None:
    nginx = stage.nginx()
    nginx.put("file.txt", b"from the manager itself")
    cluster = stage.cluster(nginx.url, peers=1)
    [peer] = cluster.peers
    assert ask(cluster.url, "/file.txt").status == 302
    peer.interrupt()
    assert peer.wait() == 0
    answer = ask(cluster.url, "/file.txt")
    assert (answer.status, answer.body) == (200, b"from the manager itself")
