"""Files brought to the cluster before anybody asks: `minicdn preheat`, and the manager's /_preheat."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit.asking import Answer, ask
from tests.kit.cluster import Cluster
from tests.kit.files import MIB, big_file, bytes_of, sha256
from tests.kit.nginx import Nginx
from tests.kit.origin import Asked, Line, Origin, gated, ranged, status, whole
from tests.kit.ports import free_port
from tests.kit.process import Process
from tests.kit.program import Minicdn, environment
from tests.kit.stage import Stage
from tests.kit.waiting import eventually

LASTING = [("Cache-Control", "max-age=3600"), ("ETag", '"1"')]


class Preheat(Process):
    """One `minicdn preheat --json`, running since construction."""

    def __init__(self, folder: Path, manager: str, *words: str) -> None:
        command = [sys.executable, "-m", "minicdn", "preheat", "--json", "--manager", manager, *words]
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__("preheat", command, folder, env=environment(), cwd=folder, is_forked=True)

    def report(self, code: int = 0) -> dict[str, Any]:
        assert self.wait(deadline_seconds=60) == code, self.show()
        return json.loads(self.stdout)

    def refusal(self, code: int) -> str:
        """Its one line."""
        assert self.wait(deadline_seconds=30) == code, self.show()
        assert self.stdout == "" and self.stderr.startswith("minicdn: ") and self.stderr.count("\n") == 1, self.show()
        return self.stderr


@pytest.fixture(scope="module")
def origin(shared_stage: Stage) -> Origin:
    return shared_stage.origin()


@pytest.fixture(scope="module")
def cluster(shared_stage: Stage, origin: Origin) -> Cluster:
    return shared_stage.cluster(origin.url, peers=3, small="256KiB")


def post(manager: Minicdn, order: Any, **options: Any) -> Answer:
    return ask(manager.url, "/_preheat", method="POST", body=json.dumps(order).encode(), **options)


def over(manager: Minicdn, id: str) -> dict[str, Any]:
    """Its state at the end."""
    return eventually(lambda: (found := manager.json(f"/_preheat/{id}?wait=5"))["state"] != "running" and found, f"preheat {id} to end")


def test_each_file_is_at_its_owner_before_anybody_asks(cluster: Cluster, origin: Origin, tmp_path: Path) -> None:
    paths = [f"/small/{number}.bin" for number in range(40)]
    for path in paths:
        origin.on(path, whole(bytes_of(path, 5000), LASTING))
    (tmp_path / "list").write_text("# what the build will ask for\n\n" + "\n".join(paths[1:]) + "\n")
    report = Preheat(tmp_path, cluster.url, origin.url + paths[0], "--url-file", "list").report()
    assert (report["state"], report["urls_count"], report["done_count"], report["failed_count"]) == ("done", 40, 40, 0)
    assert (report["bytes"], report["failures"], report["copies"]) == (40 * 5000, [], "1")
    assert {node["url"]: node["done_count"] for node in report["nodes"]} == {
        peer.url: count for peer in cluster.peers if (count := sum(cluster.owner_of(path) is peer for path in paths))
    }
    for path in paths:
        answer = cluster.owner_of(path).ask(path)
        assert answer.body == bytes_of(path, 5000) and "; hit" in answer["cache-status"]
        assert len(origin.asked(path)) == 1, "the crowd costs the upstream nothing"


def test_again_it_finds_what_is_there(cluster: Cluster, origin: Origin, tmp_path: Path) -> None:
    path = origin.on("/again.bin", whole(b"x" * 100, LASTING))
    for _ in range(2):
        assert Preheat(tmp_path, cluster.url, path).report()["done_count"] == 1
    assert len(origin.asked(path)) == 1


def test_a_large_file_at_all_peers_costs_the_upstream_one(cluster: Cluster, origin: Origin, tmp_path: Path) -> None:
    content = bytes_of("large", 12 * MIB)
    path = origin.on("/large.bin", ranged(content, fields=[("Cache-Control", "max-age=3600")]))
    before = {peer.url: peer.stats() for peer in cluster.peers}
    report = Preheat(tmp_path, cluster.url, path, "--copies", "all").report()
    assert (report["done_count"], report["bytes"], len(report["nodes"])) == (3, 3 * len(content), 3)
    grown = [peer.stats()["upstream_received_bytes"] - before[peer.url]["upstream_received_bytes"] for peer in cluster.peers]
    assert sum(grown) == len(content)
    asked_count = len(origin.asked(path))
    for peer in cluster.peers:
        answer = peer.ask(path)
        assert sha256(answer.body) == sha256(content) and "; hit" in answer["cache-status"]
        assert peer.stats()["preheated_count"] - before[peer.url]["preheated_count"] == 1
    assert len(origin.asked(path)) == asked_count


def test_what_is_not_kept_is_named_with_its_reason(cluster: Cluster, origin: Origin, tmp_path: Path) -> None:
    good = origin.on("/good.bin", whole(b"x", LASTING))
    bad = {
        origin.on("/secret", whole(b"x", [("Cache-Control", "no-store")])): "it may not be kept for others (Cache-Control: no-store)",
        origin.on("/missing", status(404)): "it is answered 404",
        origin.on("/moved", status(302, b"", [("Location", "/elsewhere")])): "it is answered 302, which leads to /elsewhere",
        origin.on("/trouble", status(500)): "it is answered 500",
        origin.on("/any", whole(b"x", [*LASTING, ("Vary", "*")])): "it may not be kept for others (Vary: *)",
        origin.on("/cut", lambda _, line: line.cut()): None,
    }
    report = Preheat(tmp_path, cluster.url, good, *bad).report(code=7)
    assert (report["state"], report["done_count"], report["failed_count"]) == ("failed", 1, 6)
    said = {each["url"]: each["reason"] for each in report["failures"]}
    assert said.keys() == bad.keys() and said["/cut"]
    assert {url: said[url] for url, reason in bad.items() if reason} == {url: reason for url, reason in bad.items() if reason}
    assert all(each["node"] == cluster.owner_of(each["url"]).url for each in report["failures"])


def test_a_variant_is_brought_as_clients_will_ask_for_it(cluster: Cluster, origin: Origin, tmp_path: Path) -> None:
    def script(asked: Asked, line: Line) -> None:
        whole(asked.fields.get("accept-encoding", "plain").encode(), [*LASTING, ("Vary", "Accept-Encoding")])(asked, line)

    path = origin.on("/vary.js", script)
    Preheat(tmp_path, cluster.url, path, "--header", "Accept-Encoding: gzip").report()
    answer = cluster.owner_of(path).ask(path, fields=[("Accept-Encoding", "gzip")])
    assert (answer.body, len(origin.asked(path))) == (b"gzip", 1)


def test_what_a_purge_removes_while_it_comes_is_brought_again(cluster: Cluster, origin: Origin, tmp_path: Path) -> None:
    gate = origin.gate()
    path = origin.on("/purged.bin", gated([b"x" * 100, b"y" * 100], [gate], LASTING))
    running = Preheat(tmp_path, cluster.url, path, "--copies", "all")
    eventually(lambda: all(peer.stats()["fills_count"] == 1 for peer in cluster.peers), "the loads", show=cluster.show)
    assert json.loads(ask(cluster.url, "/_purge", method="POST", body=json.dumps({"paths": [path], "soft": False}).encode()).body)["purged"]
    gate.open()
    assert running.report()["done_count"] == 3
    assert len(origin.asked(path)) == 2
    for peer in cluster.peers:
        assert "; hit" in peer.ask(path)["cache-status"]


def test_a_ctrl_c_has_every_node_give_up(cluster: Cluster, origin: Origin, tmp_path: Path) -> None:
    content, gate = bytes_of("slow", 12 * MIB), origin.gate()
    path = origin.on("/slow.bin", gated([content[:MIB], content[MIB:]], [gate], LASTING))
    running = Preheat(tmp_path, cluster.url, path)
    owner = cluster.owner_of(path)
    origin.wait_asked(path)
    eventually(lambda: owner.stats()["fills_count"] == 1, "the load", show=cluster.show)
    running.signal(signal.SIGINT)
    report = running.report(code=130)
    assert (report["state"], report["done_count"]) == ("cancelled", 0)
    eventually(lambda: owner.stats()["fills_count"] == 0, "it to be given up", show=cluster.show)
    assert over(cluster.manager, report["id"])["state"] == "cancelled"
    gate.open()


def test_a_timeout_cancels_what_is_not_there_by_then(cluster: Cluster, origin: Origin, tmp_path: Path) -> None:
    gate = origin.gate()
    path = origin.on("/never.bin", lambda _, line: gate.wait())
    assert Preheat(tmp_path, cluster.url, path, "--timeout", "500ms").report(code=7)["state"] == "cancelled"
    gate.open()


def test_what_is_begun_can_be_looked_at_and_ended(cluster: Cluster, origin: Origin, tmp_path: Path) -> None:
    gate, content = origin.gate(), bytes_of("looked", 3 * MIB)
    path = origin.on("/looked.bin", gated([content[:MIB], content[MIB:]], [gate], LASTING))
    report = Preheat(tmp_path, cluster.url, path, "--no-wait").report()
    assert report["state"] == "running"
    where = f"/_preheat/{report['id']}"

    def is_seen() -> bool:
        loading = cluster.manager.json(where)["nodes"][0]["loading"]
        return bool(loading) and (loading[0]["url"], loading[0]["length"]) == (path, len(content)) and MIB <= loading[0]["bytes"] < 2 * MIB

    eventually(is_seen, "its progress", show=cluster.show)
    listed = cluster.manager.json("/_preheat")["preheats"]
    assert listed[0]["id"] == report["id"] and "nodes" not in listed[0]
    gate.open()
    assert over(cluster.manager, report["id"])["state"] == "done"
    for _ in range(2):
        assert json.loads(ask(cluster.url, where, method="DELETE").body)["state"] == "done", "what is over stays as it is"


def test_where_it_is_asked_wrongly(cluster: Cluster, tmp_path: Path) -> None:
    manager, peer = cluster.manager, cluster.peers[0]
    accepted = post(manager, {"urls": ["/small/1.bin"]})
    assert accepted.status == 202 and accepted["location"] == f"/_preheat/{json.loads(accepted.body)['id']}"
    assert post(manager, {"urls": ["/a"]}, fields=[("Origin", "http://evil.example")]).status == 403
    assert post(manager, {"urls": [f"/{'x' * 8000}-{n}" for n in range(200)]}).status == 413
    assert ask(cluster.url, "/_preheat/none").status == 404
    assert ask(cluster.url, f"{accepted['location']}?wait=nan").status == 400
    assert ask(cluster.url, "/_preheat", method="PUT", body=b"").status == 405
    for target, method in (("/_preheat", "POST"), ("/_preheat", "GET"), ("/_preheat/x", "GET"), ("/_preheat/x", "DELETE")):
        answer = ask(peer.url, target, method=method)
        assert answer.status == 404 and cluster.url.encode() in answer.body
    assert "this is a peer; ask its manager" in Preheat(tmp_path, peer.url, "/a").refusal(6)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "no URL is given"),
        (["https://elsewhere.example/a"], 2, "nor a URL of this site"),
        (["/_stats"], 2, "belong to minicdn itself"),
        (["--copies", "none", "/a"], 2, "--copies: 'none' is no number of copies"),
        (["--header", "nonsense", "/a"], 2, "--header: 'nonsense' is not a field"),
        (["--header", "Range: bytes=0-1", "/a"], 2, "no place in a preheat"),
        (["--timeout", "0s", "/a"], 2, "--timeout"),
        (["--url-file", "none"], 2, "--url-file: none can't be read"),
        (["--fingerprint", "x", "/a"], 2, "--fingerprint"),
    ],
)
def test_mistakes_are_one_line(cluster: Cluster, tmp_path: Path, words: list[str], code: int, said: str) -> None:
    assert said in Preheat(tmp_path, cluster.url, *words).refusal(code)


def test_nobody_there_and_somebody_else(origin: Origin, tmp_path: Path) -> None:
    assert "can't be asked" in Preheat(tmp_path / "a", f"http://127.0.0.1:{free_port()}", "/a").refusal(7)
    origin.on("/_preheat", whole(b"<html>", [("Content-Type", "text/html")]))
    assert "not as a minicdn manager" in Preheat(tmp_path / "b", origin.url, "/a").refusal(7)
    origin.on("/_preheat", whole(b'{"state": "done"}', [("Content-Type", "application/json")]))
    assert "not as a minicdn manager" in Preheat(tmp_path / "d", origin.url, "/a").refusal(7)
    assert "--manager" in Preheat(tmp_path / "c", "nonsense", "/a").refusal(2)


def test_with_a_token_only_its_holders_may(stage: Stage, tmp_path: Path) -> None:
    origin, token = stage.origin(), "a-token-of-some-length"
    (tmp_path / "token").write_text(token)
    path = origin.on("/a.bin", whole(b"x", LASTING))
    with Cluster(stage.folder / "closed", origin.url, peers=1, token_file=tmp_path / "token") as cluster:
        assert "cluster's token" in Preheat(tmp_path, cluster.url, path).refusal(6)
        assert not origin.asked(path)
        assert Preheat(tmp_path, cluster.url, path, "--token-file", str(tmp_path / "token")).report()["done_count"] == 1
        assert "; hit" in cluster.peers[0].ask(path)["cache-status"]


def test_without_peers_the_manager_has_them(stage: Stage, tmp_path: Path) -> None:
    origin = stage.origin()
    manager = stage.manager(origin.url)
    path = origin.on("/a.bin", whole(b"x" * 1000, LASTING))
    report = Preheat(tmp_path, manager.url, path, "--copies", "all").report()
    assert [(node["url"], node["done_count"]) for node in report["nodes"]] == [(manager.url, 1)]
    assert "; hit" in manager.ask(path)["cache-status"] and len(origin.asked(path)) == 1


@pytest.fixture
def slow(stage: Stage) -> Iterator[tuple[Nginx, Cluster]]:
    nginx = stage.nginx(rate_bytes=MIB, extra='add_header Cache-Control "max-age=3600";')
    yield nginx, stage.cluster(nginx.url, peers=3, window="2s", renew="500ms")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP, signal.SIGINT], ids=["killed", "frozen", "closed"])
def test_what_a_node_that_goes_was_to_have_others_have(slow: tuple[Nginx, Cluster], tmp_path: Path, how: signal.Signals) -> None:
    nginx, cluster = slow
    paths = [f"/file-{number}.bin" for number in range(9)]
    for path in paths:
        big_file(nginx.root / path[1:], 2 * MIB, seed=path)
    gone = cluster.owner_of(paths[0])
    running = Preheat(tmp_path, cluster.url, *paths)
    eventually(lambda: gone.stats()["fills_count"] > 0, "its load", show=cluster.show)
    gone.signal(how)
    report = running.report()
    assert (report["state"], report["failed_count"], report["done_count"]) == ("done", 0, 9)
    left = [peer for peer in cluster.peers if peer is not gone]
    assert {node["url"] for node in report["nodes"] if node["state"] == "gone"} == {gone.url}
    cluster.wait_listed(left)
    before = [peer.stats()["upstream_requests_count"] for peer in left]
    for path in paths:
        assert cluster.manager.ask(path).status == 302
        assert left[0].ask(path).status == 200
    done_by_gone = sum(node["done_count"] for node in report["nodes"] if node["url"] == gone.url)
    assert sum(peer.stats()["upstream_requests_count"] for peer in left) - sum(before) <= done_by_gone
