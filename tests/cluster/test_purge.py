"""Purges and invalidations reach every node: those that are there, those that sleep, those that come back, and with the manager away."""

from __future__ import annotations

import json
import signal
from threading import Thread
from typing import Any

import pytest

from tests.cluster.doors import KEPT
from tests.kit.asking import Answer
from tests.kit.cluster import Cluster
from tests.kit.files import bytes_of
from tests.kit.origin import Origin, held, validating, whole
from tests.kit.program import Minicdn
from tests.kit.stage import Stage
from tests.kit.waiting import eventually

SMALL = 64 * 1024
WHERE = ("manager", "owner", "other")


@pytest.fixture(scope="module")
def origin(shared_stage: Stage) -> Origin:
    return shared_stage.origin()


@pytest.fixture(scope="module")
def cluster(shared_stage: Stage, origin: Origin) -> Cluster:
    return shared_stage.cluster(origin.url, peers=3, small=SMALL)


def put(origin: Origin, path: str, version: str, *fields: tuple[str, str], size: int = 2000) -> bytes:
    """The origin has that version of the file from now on."""
    body = bytes_of(version, size)
    origin.on(path, validating(body, f'"{version}"', [KEPT, *fields]))
    return body


def node_at(cluster: Cluster, where: str, path: str) -> Minicdn:
    return cluster.manager if where == "manager" else cluster.owners_of(path)[0 if where == "owner" else 1]


def purge(node: Minicdn, path: str, *fields: tuple[str, str]) -> dict[str, Any]:
    return answer_of(node.ask(path, method="PURGE", fields=fields))


def post_purge(node: Minicdn, **wanted: Any) -> dict[str, Any]:
    return answer_of(node.ask("/_purge", method="POST", body=json.dumps(wanted).encode()))


def answer_of(answer: Answer) -> dict[str, Any]:
    assert answer.status == 200, answer
    return json.loads(answer.body)


def bodies(cluster: Cluster, path: str) -> list[bytes]:
    return [peer.ask(path).body for peer in cluster.peers]


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("how", ["path", "star", "paths", "prefix", "tag", "group"])
def test_a_purge_anywhere_reaches_every_node(cluster: Cluster, origin: Origin, where: str, how: str) -> None:
    path, other = f"/{how}/{where}/file.bin", f"/else-{how}/{where}.bin"
    tags = [("Surrogate-Key", f"t-{where} more"), ("Cache-Groups", f'"g-{where}"')]
    old, kept = put(origin, path, f"old {path}", *tags), put(origin, other, f"kept {path}")
    assert bodies(cluster, path) == [old] * 3 and bodies(cluster, other) == [kept] * 3
    new = put(origin, path, f"new {path}", *tags)
    assert bodies(cluster, path) == [old] * 3, "it was not kept before the purge"
    node = node_at(cluster, where, path)
    match how:
        case "path":
            found = purge(node, path)
        case "star":
            found = purge(node, f"/{how}/{where}/*")
        case "paths":
            found = post_purge(node, paths=[cluster.manager.url + path])
        case "prefix":
            found = post_purge(node, prefixes=[f"/{how}/{where}/"])
        case "tag":
            found = post_purge(node, tags=[f"t-{where}"])
        case _:
            found = post_purge(node, tags=[f"g-{where}"], soft=False)
    assert found["nodes"] == 4 and found["unreachable"] == []
    assert found["purged"] >= 3
    assert bodies(cluster, path) == [new] * 3
    assert bodies(cluster, other) == [kept] * 3
    assert (len(origin.asked(path)), len(origin.asked(other))) == (2, 1)


@pytest.mark.parametrize("size", [2000, 3 * SMALL], ids=["in memory", "on disk"])
def test_a_soft_purge_keeps_the_bytes_and_a_hard_one_does_not(cluster: Cluster, origin: Origin, size: int) -> None:
    path = f"/softly-{size}.bin"
    body = put(origin, path, "same", size=size)
    assert bodies(cluster, path) == [body] * 3
    owner, other, _ = cluster.owners_of(path)
    before = owner.stats()["upstream_received_bytes"]
    purge(other, path)
    assert bodies(cluster, path) == [body] * 3
    assert owner.stats()["upstream_received_bytes"] == before
    assert [asked.fields.get("if-none-match") for asked in origin.asked(path)] == [None, '"same"']
    purge(other, path, ("X-Minicdn-Purge", "hard"))
    assert bodies(cluster, path) == [body] * 3
    assert owner.stats()["upstream_received_bytes"] == before + size
    assert [asked.fields.get("if-none-match") for asked in origin.asked(path)] == [None, '"same"', None]


def test_what_was_asked_for_before_the_purge_does_not_come_out_fresh(cluster: Cluster, origin: Origin) -> None:
    path, gate = "/waiting.bin", origin.gate()
    old = bytes_of("old", 100)
    origin.on(path, held(gate, validating(old, '"old"', [KEPT])))
    with_old: list[bytes] = []
    owner, other, _ = cluster.owners_of(path)
    client = Thread(target=lambda: with_old.append(other.ask(path).body))
    client.start()
    origin.wait_asked(path)
    purge(owner, path)
    new = put(origin, path, "new")
    gate.open()
    client.join(20)
    assert with_old == [old]
    assert bodies(cluster, path) == [new] * 3


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "BREW"])
def test_an_unsafe_method_through_one_node_is_felt_at_all(cluster: Cluster, origin: Origin, method: str) -> None:
    path, beside, grouped = (f"/{method}/{name}" for name in ("it", "beside", "grouped"))
    for one in (path, beside):
        put(origin, one, f"old {one}")
    put(origin, grouped, f"old {grouped}", ("Cache-Groups", f'"{method}"'))
    for one in (path, beside, grouped):
        bodies(cluster, one)
    done = [("Location", beside), ("Cache-Group-Invalidation", f'"{method}"')]
    origin.on(path, whole(b"done", done))
    assert cluster.peers[0].ask(path, method=method, body=b"x").body == b"done"
    for one in (path, beside, grouped):
        new = put(origin, one, f"new {one}")
        assert bodies(cluster, one) == [new] * 3


def test_a_failed_unsafe_method_changes_nothing(cluster: Cluster, origin: Origin) -> None:
    path = "/refused"
    old = put(origin, path, "old")
    bodies(cluster, path)
    origin.on(path, whole(b"no", status=500))
    assert cluster.peers[0].ask(path, method="POST", body=b"x").status == 500
    assert bodies(cluster, path) == [old] * 3


@pytest.mark.parametrize(
    ("target", "options", "status", "word"),
    [
        ("/_purge", {"method": "GET"}, 405, "POST"),
        ("/_purge", {"method": "POST", "body": b"nonsense"}, 400, "JSON"),
        ("/_purge", {"method": "POST", "body": b"{}"}, 400, "nothing"),
        ("/_purge", {"method": "POST", "body": b'{"paths": ["http://elsewhere.example/a"]}'}, 400, "site"),
        ("/_purge", {"method": "POST", "body": b'{"paths": ["/a"]}', "fields": [("Origin", "http://evil.example")]}, 403, "another site"),
        ("/a", {"method": "PURGE", "fields": [("X-Minicdn-Purge", "gently")]}, 400, "soft or hard"),
        ("/../a", {"method": "PURGE"}, 400, "root"),
    ],
)
def test_a_mistake_is_answered_with_one_line(cluster: Cluster, target: str, options: dict[str, Any], status: int, word: str) -> None:
    for node in (cluster.manager, cluster.peers[0]):
        answer = node.ask(target, **options)
        assert answer.status == status
        assert word in answer.body.decode() and answer.body.count(b"\n") == 1


def test_a_frozen_peer_learns_when_it_wakes(stage: Stage) -> None:
    origin = stage.origin()
    cluster = stage.cluster(origin.url, peers=3)
    paths = [cluster.key_owned_by(peer) for peer in cluster.peers]
    for path in paths:
        put(origin, path, "old")
        bodies(cluster, path)
    frozen = cluster.peers[0]
    frozen.signal(signal.SIGSTOP)
    found = post_purge(cluster.peers[1], paths=paths)
    assert found["unreachable"] == [frozen.url] and found["nodes"] == 3
    new = {path: put(origin, path, "new") for path in paths}
    frozen.signal(signal.SIGCONT)
    eventually(lambda: frozen.stats()["purges_count"] >= 1, "the peer to hear of the purge", deadline_seconds=1.5)
    for path in paths:
        assert bodies(cluster, path) == [new[path]] * 3


@pytest.mark.parametrize("manager_restarts", [False, True], ids=["the manager stays", "the manager restarts too"])
def test_a_peer_that_was_away_does_not_serve_its_old_disk_copy(stage: Stage, manager_restarts: bool) -> None:
    origin = stage.origin()
    cluster = stage.cluster(origin.url, peers=2, small=SMALL, renew=1, window=3)
    peer, stays = cluster.peers
    path, untouched = (cluster.key_owned_by(peer, pattern) for pattern in ("/purged-{}.bin", "/untouched-{}.bin"))
    for one in (path, untouched):
        put(origin, one, "old", size=3 * SMALL)
        assert len(peer.ask(one).body) == 3 * SMALL
    eventually(lambda: len(list(peer.cache_dir.rglob("*.meta"))) == 2, "both files kept")
    eventually(lambda: (peer.cache_dir / "mark").exists(), "the mark kept")
    peer.kill()
    purge(stays, path)
    if manager_restarts:
        cluster.manager.kill()
        cluster.restart_manager()
    new = put(origin, path, "new", size=3 * SMALL)
    again = cluster.start_peer("again", port=peer.port, cache_dir=peer.cache_dir)
    cluster.peers.remove(peer)
    again.wait_ready()
    assert again.ask(path).body == new
    assert again.ask(untouched)["X-Cache"].startswith("HIT"), "what was not purged is still good"


def test_a_restart_without_any_purge_costs_nothing(stage: Stage) -> None:
    origin = stage.origin()
    cluster = stage.cluster(origin.url, peers=1, small=SMALL)
    [peer] = cluster.peers
    put(origin, "/file.bin", "old", size=3 * SMALL)
    peer.ask("/file.bin")
    eventually(lambda: len(list(peer.cache_dir.rglob("*.meta"))) == 1, "the file kept")
    eventually(lambda: (peer.cache_dir / "mark").exists(), "the mark kept")
    peer.kill()
    again = cluster.start_peer("again", port=peer.port, cache_dir=peer.cache_dir).wait_ready()
    cluster.peers.remove(peer)
    assert again.ask("/file.bin")["X-Cache"].startswith("HIT")
    assert len(origin.asked("/file.bin")) == 1


def test_with_the_manager_away_peers_tell_each_other_and_later_the_manager(stage: Stage) -> None:
    origin = stage.origin()
    cluster = stage.cluster(origin.url, peers=3, small=SMALL)
    path = cluster.key_owned_by(cluster.peers[1])
    put(origin, path, "old", size=3 * SMALL)
    bodies(cluster, path)
    absent = cluster.peers[2]
    eventually(lambda: len(list(absent.cache_dir.rglob("*.meta"))) == 1, "its copy kept")
    absent.kill()
    cluster.manager.kill()
    found = purge(cluster.peers[0], path)
    assert found["nodes"] == 2 and set(found["unreachable"]) == {absent.url, cluster.manager.url}
    new = put(origin, path, "new", size=3 * SMALL)
    assert [peer.ask(path).body for peer in cluster.peers[:2]] == [new] * 2
    manager = cluster.restart_manager()
    eventually(lambda: manager.stats()["purges_count"] >= 1, "the purge to be handed in", show=cluster.show)
    again = cluster.start_peer("again", port=absent.port, cache_dir=absent.cache_dir)
    cluster.peers.remove(absent)
    again.wait_ready()
    assert again.ask(path).body == new


def test_a_manager_that_lost_its_journal_makes_nobody_serve_what_may_be_stale(stage: Stage) -> None:
    origin = stage.origin()
    cluster = stage.cluster(origin.url, peers=2)
    path = cluster.key_owned_by(cluster.peers[0])
    put(origin, path, "old")
    bodies(cluster, path)
    cluster.manager.kill()
    (cluster.manager.cache_dir / "journal").unlink()
    cluster.restart_manager()
    cluster.wait_agreed()
    eventually(lambda: all(peer.stats()["purges_count"] for peer in cluster.peers), "everything to be marked stale")
    new = put(origin, path, "new")
    assert bodies(cluster, path) == [new] * 2
