"""Health, peers, stats; and paths under /_ that are nobody's."""

from __future__ import annotations

import pytest

from minicdn.core.counters import COUNTERS
from tests.cluster.doors import KEPT
from tests.kit.cluster import Cluster
from tests.kit.files import MIB, bytes_of
from tests.kit.origin import Origin, whole
from tests.kit.program import Minicdn, members_of
from tests.kit.stage import Stage


@pytest.fixture(scope="module")
def origin(shared_stage: Stage) -> Origin:
    return shared_stage.origin()


@pytest.fixture(scope="module")
def cluster(shared_stage: Stage, origin: Origin) -> Cluster:
    return shared_stage.cluster(origin.url, peers=2)


def test_health_is_good_at_each_node(cluster: Cluster) -> None:
    for node in cluster.processes:
        assert node.ask("/_health").status == 200
        assert node.ask("/_health", method="HEAD").status == 200


def test_peers_are_listed_alike_everywhere(cluster: Cluster) -> None:
    lists = [members_of(node) for node in cluster.processes]
    assert all([m["url"] for m in one] == [m["url"] for m in lists[0]] for one in lists)
    assert {m["url"] for m in lists[0]} == {peer.url for peer in cluster.peers}
    assert len({m["id"] for m in lists[0]}) == 2


def test_stats_have_the_documented_names(cluster: Cluster) -> None:
    for node in cluster.processes:
        stats = node.stats()
        assert set(COUNTERS) <= set(stats)
        assert all(isinstance(stats[name], int) for name in COUNTERS)


def change(before: dict, after: dict, *names: str) -> list[int]:
    return [after[name] - before[name] for name in names]


@pytest.mark.parametrize(("size", "source"), [(5_000, "bytes_memory"), (5 * MIB, "bytes_disk")])
def test_counters_tell_what_happened(cluster: Cluster, origin: Origin, size: int, source: str) -> None:
    body = bytes_of("counted", size)
    path = origin.on(f"/counted-{size}", whole(body, [KEPT]))
    owner, other = cluster.owners_of(path)
    before, other_before = owner.stats(), other.stats()
    owner.ask(path)
    middle = owner.stats()
    assert change(before, middle, "requests_count", "misses_count", "hits_count", "upstream_requests_count") == [1, 1, 0, 1]
    assert change(before, middle, "upstream_received_bytes", "bytes_upstream") == [size, size]
    owner.ask(path)
    after = owner.stats()
    assert change(middle, after, "requests_count", "misses_count", "hits_count", "upstream_requests_count") == [1, 0, 1, 0]
    assert change(middle, after, source) == [size]
    other.ask(path)
    other_after, final = other.stats(), owner.stats()
    assert change(other_before, other_after, "peer_requests_count", "peer_received_bytes", "bytes_peer") == [1, size, size]
    assert change(other_before, other_after, "upstream_requests_count") == [0]
    assert change(after, final, "peer_sent_bytes", "requests_count", "upstream_requests_count") == [size, 0, 0]


def test_redirects_and_errors_are_counted(cluster: Cluster, origin: Origin) -> None:
    manager, peer = cluster.manager, cluster.peers[0]
    before, peer_before = manager.stats(), peer.stats()
    manager.ask("/none")
    peer.ask("/none")
    assert change(before, manager.stats(), "redirects_count") == [1]
    assert change(peer_before, peer.stats(), "responses_4xx_count", "responses_5xx_count") == [1, 0]


def every(cluster: Cluster) -> list[Minicdn]:
    return [cluster.manager, cluster.peers[0]]


@pytest.mark.parametrize("path", ["/_nothing", "/_", "/_health/x", "/_stats2", "/__"])
def test_unknown_control_paths_are_404_with_a_reason(cluster: Cluster, path: str) -> None:
    for node in every(cluster):
        answer = node.ask(path)
        assert answer.status == 404
        assert answer.body.strip()


@pytest.mark.parametrize("path", ["/_health", "/_peers", "/_stats", "/_metrics"])
def test_wrong_methods_are_405_with_allow(cluster: Cluster, path: str) -> None:
    for node in every(cluster):
        answer = node.ask(path, method="POST", body=b"x")
        assert answer.status == 405
        assert "GET" in answer["Allow"]


@pytest.mark.parametrize("path", ["/_rpc/join", "/_rpc/renew", "/_rpc/leave", "/_rpc/log", "/_rpc/get"])
@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x93\x01", b"\x80", b"x" * 2_000_000])
def test_nonsense_to_the_rpc_is_refused_and_harms_nothing(cluster: Cluster, path: str, body: bytes) -> None:
    for node in every(cluster):
        answer = node.ask(path, method="POST", body=body, fields=[("Content-Type", "application/msgpack")])
        assert 400 <= answer.status < 500, (node.name, answer.status)
        assert node.is_ready()
        assert "Traceback" not in node.output


def test_control_paths_are_not_cached_on_the_way(cluster: Cluster) -> None:
    for path in ("/_health", "/_peers", "/_stats", "/_metrics", "/_targets"):
        assert "no-store" in cluster.manager.ask(path)["Cache-Control"]
