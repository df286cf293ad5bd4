"""Who may do what, among real processes: each claim of docs/security.md that takes more than one node to show."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import time
from typing import Any
from urllib.parse import urlsplit

import pytest

from minicdn.wire.codec import encode
from minicdn.wire.fetch import FetchRequest
from minicdn.wire.pieces import PieceRequest
from minicdn.wire.signing import Signer
from minicdn.wire.tls import file_fingerprint
from tests.kit.asking import ask
from tests.kit.clients import CURL_PARTIAL_FILE, download, need, run_well
from tests.kit.cluster import Cluster
from tests.kit.files import MIB, big_file
from tests.kit.origin import Origin, whole
from tests.kit.program import Minicdn, environment, members_of
from tests.kit.stage import Stage
from tests.kit.waiting import always, eventually

TOKEN = "correct-horse-battery"
BEARER = [("Authorization", f"Bearer {TOKEN}")]
KEPT = ("Cache-Control", "max-age=3600")


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    return path


class Tap:
    """Stands between a peer and its manager: takes down what passes, and changes it where it is told to."""

    def __init__(self, url: str, change: Callable[[bytes], bytes] = bytes) -> None:
        self._there = (urlsplit(url).hostname, urlsplit(url).port)
        self._change = change
        self.said: list[bytes] = []
        self.answered: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._there)
            except OSError:
                return
            for source, target, kept, change in ((near, far, self.said, bytes), (far, near, self.answered, self._change)):
                threading.Thread(target=self._pass, args=(source, target, kept, change), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, kept: list[bytes], change: Callable[[bytes], bytes]) -> None:
        try:
            while data := source.recv(1 << 20):
                kept.append(data)
                target.sendall(change(data))
        except OSError:
            pass
        for one in (source, target):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def heard(self, target: str) -> bytes:
        """The first message to that target, as it went over the wire."""

        def found() -> bytes | None:
            everything = b"".join(self.said)
            start = everything.find(b"POST " + target.encode() + b" ")
            if start < 0:
                return None
            head_end = everything.index(b"\r\n\r\n", start) + 4
            head = everything[start:head_end].lower()
            length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
            message = everything[start : head_end + length]
            return message if len(message) == head_end - start + length else None

        return eventually(found, f"a message to {target}")

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def taps() -> Iterator[list[Tap]]:
    found: list[Tap] = []
    yield found
    for tap in found:
        tap.close()


def send_raw(url: str, message: bytes) -> int:
    """The status of the answer to exactly these bytes."""
    with socket.create_connection((urlsplit(url).hostname, urlsplit(url).port), 10) as connection:
        connection.sendall(message)
        return int(connection.recv(4096).split(b" ")[1])


def test_without_the_token_a_peer_does_not_join_and_says_why_in_a_line(stage: Stage, token_file: Path) -> None:
    origin = stage.origin()
    with Cluster(stage.folder / "closed", origin.url, peers=0, token_file=token_file) as cluster:
        none, wrong = (
            cluster.start_peer("none", token_file=None),
            cluster.start_peer("wrong", token_file=None, token="another-token-altogether"),
        )
        none.wait_printed("refused join: this is for those who hold the cluster's token (--token-file); trying again")
        wrong.wait_printed("refused join: signed with another token, or for another node; trying again")
        for peer in (none, wrong):
            assert len([line for line in peer.output.splitlines() if "refused join" in line]) == 1
        right = cluster.start_peer("right")
        cluster.wait_listed([right])
        assert none.is_running() and none.ask("/_health").status == 503
        assert "WITHOUT A TOKEN" in none.output and "WITHOUT A TOKEN" not in right.output


def test_a_manager_without_a_token_is_not_believed_by_a_peer_with_one(stage: Stage) -> None:
    with Cluster(stage.folder / "open", stage.origin().url, peers=0) as cluster:
        assert "WITHOUT A TOKEN whoever reaches this port can join" in cluster.manager.output
        peer = cluster.start_peer("careful", token=TOKEN)
        peer.wait_printed("does not sign with this peer's token")
        assert members_of(peer) == []


def test_the_token_is_in_no_process_list_no_output_and_no_page(stage: Stage) -> None:
    need("ps")
    with Cluster(stage.folder / "quiet", stage.origin().url, peers=1, token=TOKEN) as cluster:
        for node in cluster.processes:
            shown = run_well("ps", "-o", "args=", "-p", str(node.pid))
            assert "minicdn" in shown and TOKEN not in shown
            assert TOKEN not in node.output
            assert node.ask("/a", fields=BEARER).status in (302, 404)
            for page in ("/_health", "/_peers", "/_stats", "/_metrics", "/_targets", "/_explain?target=/a"):
                assert TOKEN.encode() not in node.ask(page, fields=BEARER).body
        log = cluster.manager.ask("/_log", fields=BEARER)
        assert log.status == 200 and TOKEN.encode() not in log.body


def test_purges_log_and_explanations_are_for_holders_of_the_token(stage: Stage, token_file: Path) -> None:
    origin = stage.origin()
    origin.on("/a", whole(b"first", [KEPT, ("ETag", '"1"')]))
    with Cluster(stage.folder / "purging", origin.url, peers=2, token_file=token_file) as cluster:
        assert [peer.ask("/a").body for peer in cluster.peers] == [b"first"] * 2
        origin.on("/a", whole(b"second", [KEPT, ("ETag", '"2"')]))
        for node in cluster.processes:
            for method, target, body in (
                ("PURGE", "/a", None),
                ("POST", "/_purge", b'{"paths": ["/a"]}'),
                ("GET", "/_explain?target=/a", None),
            ):
                assert node.ask(target, method=method, body=body).status == 401
                assert node.ask(target, method=method, body=body, fields=[("Authorization", "Bearer " + TOKEN[:-1])]).status == 401
        assert [peer.ask("/a").body for peer in cluster.peers] == [b"first"] * 2
        purged = cluster.peers[0].ask("/a", method="PURGE", fields=BEARER)
        assert purged.status == 200 and json.loads(purged.body)["unreachable"] == []
        assert [peer.ask("/a").body for peer in cluster.peers] == [b"second"] * 2
        told = run_well("env", f"MINICDN_TOKEN={TOKEN}", *explain(cluster.peers[0].url + "/a"))
        assert "/a" in told and "fresh" in told


def explain(url: str) -> list[str]:
    return [f"PYTHONPATH={Path(__file__).parents[2]}", sys.executable, "-m", "minicdn", "explain", url]


def test_what_is_taken_down_on_the_way_is_worth_nothing(stage: Stage, token_file: Path, taps: list[Tap]) -> None:
    """Played again: at once, changed, at another node, and after the manager was started anew. And the token is not in it."""
    with Cluster(stage.folder / "tapped", stage.origin().url, peers=1, token_file=token_file) as cluster:
        taps.append(Tap(cluster.manager.url))
        peer = Minicdn("peer", "tapped", stage.folder, manager=taps[0].url, token_file=token_file)
        cluster.peers.append(peer)
        cluster.wait_agreed()
        assert peer.ask("/a", method="PURGE", fields=BEARER).status == 200
        purge, join = taps[0].heard("/_rpc/purge"), taps[0].heard("/_rpc/join")
        assert send_raw(cluster.manager.url, purge) == 401
        assert send_raw(cluster.manager.url, join) == 401
        assert send_raw(cluster.manager.url, join[:-1] + bytes([join[-1] ^ 1])) == 401
        assert send_raw(cluster.manager.url, join.replace(b"/_rpc/join", b"/_rpc/leave")) == 401
        assert send_raw(cluster.peers[0].url, purge) == 401, "it was for the manager"
        assert TOKEN.encode() not in b"".join(taps[0].said + taps[0].answered)
        cluster.manager.kill()
        cluster.restart_manager()
        assert send_raw(cluster.manager.url, purge) == 425
        assert send_raw(cluster.manager.url, join) == 425


def test_a_list_that_was_changed_on_the_way_is_not_believed(stage: Stage, token_file: Path, taps: list[Tap]) -> None:
    with Cluster(stage.folder / "changed", stage.origin().url, peers=1, token_file=token_file) as cluster:
        port = str(cluster.peers[0].port).encode()
        taps.append(Tap(cluster.manager.url, lambda data: data.replace(b"http://127.0.0.1:" + port, b"http://127.0.0.9:" + port)))
        peer = Minicdn("peer", "deceived", stage.folder, manager=taps[0].url, token_file=token_file)
        try:
            peer.wait_printed("does not sign with this peer's token")
            assert "127.0.0.9" not in peer.ask("/_peers").body.decode()
        finally:
            peer.kill()


def test_nodes_talk_to_members_alone_whatever_others_name(stage: Stage, token_file: Path) -> None:
    """A holder of the token can't have a node ask a host of its choice: not as a holder of pieces, not as a hint, not as an upstream."""
    origin, victim = stage.origin(), Origin()
    body = b"x" * (5 * MIB)
    origin.on("/big", whole(body, [KEPT, ("ETag", '"1"'), ("Accept-Ranges", "bytes")]))
    try:
        with Cluster(stage.folder / "members", origin.url, peers=2, token_file=token_file, small="64KiB") as cluster:
            peer, signer = cluster.peers[0], Signer(TOKEN, time)
            asked = PieceRequest("/big", (), b'"1"', len(body), 256 * 1024, (0, 1), True, asker=victim.url, hint=victim.url)
            message = encode(asked.to_wire())
            field = signer.sign(peer.url, "POST", b"/_rpc/pieces", message).field.decode()
            fields = [("Content-Type", "application/msgpack"), ("Authorization", field)]
            assert ask(peer.url, "/_rpc/pieces", method="POST", body=message, fields=fields).status == 200
            for target in (f"{victim.url}/a", f"http://{urlsplit(victim.url).netloc}@x/a"):
                assert ask(peer.url, target.encode(), fields=[("Host", urlsplit(victim.url).netloc)]).status in (400, 404, 421)
            for host in (urlsplit(victim.url).netloc, "169.254.169.254"):
                ask(peer.url, "/_never", fields=[("Host", host), ("X-Forwarded-Host", host), ("Forwarded", f"host={host}")])
                ask(peer.url, "/small", fields=[("Host", host), ("X-Forwarded-Host", host), ("Forwarded", f"host={host}")])
            assert cluster.peers[1].ask("/big").body == body
            assert victim.asked() == []
            assert {one.fields["host"] for one in origin.asked()} == {urlsplit(origin.url).netloc}
    finally:
        victim.stop()


class Certificates:
    """One authority, and a certificate for each name, as minicdn cert makes them."""

    def __init__(self, folder: Path) -> None:
        pytest.importorskip("cryptography")
        from minicdn.certificates import make

        self.folder = folder
        for name in ("manager", "peer0", "peer1"):
            make(folder, name, ["127.0.0.1"])

    def options(self, name: str) -> dict[str, Any]:
        return {"tls_cert": self.folder / f"{name}.pem", "tls_key": self.folder / f"{name}-key.pem"}

    @property
    def pin(self) -> str:
        return file_fingerprint(self.folder / "manager.pem")


def test_a_cluster_that_speaks_tls_only(stage: Stage, token_file: Path) -> None:
    need("curl")
    nginx, certificates = stage.nginx(), Certificates(stage.folder / "certs")
    digest = big_file(nginx.root / "big.bin", 6 * MIB)
    options = {"token_file": token_file, "small": "64KiB", **certificates.options("manager")}
    with Cluster(stage.folder / "tls", nginx.url, peers=0, **options) as cluster:
        assert f"minicdn peer --manager {cluster.url} --fingerprint {certificates.pin}" in cluster.manager.output
        for name in ("peer0", "peer1"):
            cluster.start_peer(name, fingerprint=certificates.pin, **certificates.options(name))
        cluster.wait_agreed()
        assert {member["url"].split(":")[0] for member in members_of(cluster.manager)} == {"https"}
        trusting = ("--cacert", str(certificates.folder / "ca.pem"))
        for url in (cluster.url, *(peer.url for peer in cluster.peers)):
            got = download(f"{url}/big.bin", *trusting)
            assert (got.code, got.sha256) == (0, digest)
        assert sum(peer.stats()["peer_received_bytes"] for peer in cluster.peers) > MIB
        purged = cluster.peers[0].ask("/big.bin", method="PURGE", fields=BEARER)
        assert json.loads(purged.body)["nodes"] == 3
        with socket.create_connection(("127.0.0.1", cluster.manager.port), 10) as plain:
            plain.sendall(b"GET /_health HTTP/1.1\r\nHost: x\r\n\r\n")
            try:
                assert not plain.recv(100).startswith(b"HTTP/")
            except OSError:
                pass


def test_get_knows_a_cluster_by_the_managers_fingerprint(stage: Stage, token_file: Path) -> None:
    nginx, certificates = stage.nginx(), Certificates(stage.folder / "certs")
    digest = big_file(nginx.root / "big.bin", 12 * MIB)
    with Cluster(stage.folder / "tls", nginx.url, peers=0, token_file=token_file, **certificates.options("manager")) as cluster:
        for name in ("peer0", "peer1"):
            cluster.start_peer(name, fingerprint=certificates.pin, **certificates.options(name))
        cluster.wait_agreed()

        def get(*words: str, what: tuple[str, ...] = ("--manager", cluster.url, "/big.bin")) -> tuple[int, dict[str, Any]]:
            command = [sys.executable, "-m", "minicdn", "get", "--json", *what, "-o", str(stage.folder)]
            done = subprocess.run([*command, *words], capture_output=True, env=environment(), timeout=60)
            return done.returncode, json.loads(done.stdout)

        code, report = get()
        assert (code, "is not to be trusted" in report["error"]) == (7, True)
        code, report = get("--fingerprint", file_fingerprint(certificates.folder / "peer1.pem"))
        assert (code, certificates.pin in report["error"]) == (7, True)
        code, report = get("--fingerprint", certificates.pin)
        assert (code, report["sha256"], report["bytes_upstream"]) == (0, digest, 0)
        assert {source["url"] for source in report["sources"]} == {peer.url for peer in cluster.peers}
        code, report = get("--fingerprint", certificates.pin, what=(cluster.url + "/big.bin",))
        assert (code, report["sha256"]) == (0, digest), "the manager's redirect is followed to a peer that it lists"


def test_a_peer_believes_the_managers_fingerprint_alone(stage: Stage, token_file: Path) -> None:
    certificates = Certificates(stage.folder / "certs")
    with Cluster(stage.folder / "pinned", stage.origin().url, peers=0, token_file=token_file, **certificates.options("manager")) as cluster:
        other = file_fingerprint(certificates.folder / "peer1.pem")
        wrong = cluster.start_peer("wrong", fingerprint=other, **certificates.options("peer0"))
        none = cluster.start_peer("none", **certificates.options("peer1"))
        bare = cluster.start_peer("bare", fingerprint=certificates.pin, tls_cert=None, tls_key=None)
        wrong.wait_printed(f"its certificate is {certificates.pin}, not {other}")
        none.wait_printed("certificate verify failed")
        bare.wait_printed("this manager speaks TLS, and so must its peers")
        assert members_of(cluster.manager) == []


class Lying:
    """Three peers, of whom one changes what it sends of large files."""

    def __init__(self, stage: Stage, token_file: Path, kind: str) -> None:
        need("curl")
        self.nginx = stage.nginx(extra='add_header Cache-Control "max-age=3600";')
        self.cluster = stage.cluster(self.nginx.url, peers=3, token_file=token_file, small="64KiB")
        self.liar = self.cluster.start_peer("liar", module="tests.cluster.lying_peer", env={"LYING": kind})
        self.honest = self.cluster.peers[:3]
        self.cluster.wait_agreed()

    def is_found(self) -> bool:
        return self.liar.url not in {member["url"] for member in members_of(self.cluster.manager)}

    def show(self) -> str:
        return self.cluster.show()


def test_one_that_sends_wrong_bytes_is_named_and_off_the_list_and_nobody_has_a_wrong_file(stage: Stage, token_file: Path) -> None:
    lying = Lying(stage, token_file, "owner")
    wholes = cuts = 0
    for number in range(6):
        path = lying.cluster.key_owned_by(lying.honest[number % 3], f"/{number}-{{}}.bin")
        digest = big_file(lying.nginx.root / path[1:], 12 * MIB, seed=path)
        for peer in lying.honest:
            got = download(peer.url + path)
            assert got.code in (0, CURL_PARTIAL_FILE)
            assert got.code or got.sha256 == digest, "a wrong file that looks whole"
            wholes, cuts = wholes + (not got.code), cuts + bool(got.code)
        if lying.is_found():
            break
    eventually(lying.is_found, "the liar to leave the list", show=lying.show)
    assert wholes
    assert any(f"{lying.liar.url} sent wrong bytes: piece" in peer.output for peer in lying.honest)
    manager = lying.cluster.manager
    manager.wait_printed("; it is off the list for 10 min")
    assert f"{lying.liar.url} sent wrong bytes to http://127.0.0.1:" in manager.output
    (shown,) = manager.json("/_peers")["unreachable"]
    assert (shown["url"], shown["reason"]) == (lying.liar.url, "it sent others wrong bytes")
    lying.liar.wait_printed("the manager has taken this peer off the list: it sent others wrong bytes")
    digest = big_file(lying.nginx.root / "after.bin", 6 * MIB, seed="after")
    eventually(lambda: all(lying.liar.url not in {one["url"] for one in members_of(peer)} for peer in lying.honest), "all to know")
    assert [(got.code, got.sha256) for got in (download(peer.url + "/after.bin") for peer in lying.honest)] == [(0, digest)] * 3
    always(lying.is_found, "off the list", for_seconds=1.0)


def test_no_holder_of_the_token_can_have_a_node_keep_one_file_as_another(stage: Stage, token_file: Path) -> None:
    """Nor take a piece from whom it likes: its owner asks the upstream, or an owner of the file, whatever hint it is given."""
    origin = stage.origin()
    good, evil = b"g" * (3 * MIB), b"e" * (3 * MIB)
    for path, body in (("/good", good), ("/evil", evil)):
        origin.on(path, whole(body, [KEPT, ("ETag", '"1"'), ("Accept-Ranges", "bytes")]))
    with Cluster(stage.folder / "names", origin.url, peers=2, token_file=token_file, small="64KiB") as cluster:
        peer, signer = cluster.peers[0], Signer(TOKEN, time)

        def ask_rpc(target: str, message: bytes) -> Any:
            fields = [
                ("Content-Type", "application/msgpack"),
                ("Authorization", signer.sign(peer.url, "POST", target.encode(), message).field.decode()),
            ]
            return ask(peer.url, target, method="POST", body=message, fields=fields)

        ask_rpc("/_rpc/get", encode(FetchRequest("GET", "/good", (), target="/evil").to_wire()))
        asked = PieceRequest("/good", (), b'"1"', len(good), 256 * 1024, (0, 1), True, target="/evil")
        ask_rpc("/_rpc/pieces", encode(asked.to_wire()))
        assert not origin.asked("/evil")
        assert [node.ask("/good").body == good for node in cluster.peers] == [True, True]


@pytest.mark.parametrize("follows", [False, True], ids=["as it is", "followed"])
def test_redirects_of_the_upstream_are_followed_only_where_the_operator_says_so(stage: Stage, follows: bool) -> None:
    """And even then without the client's credentials."""
    origin, elsewhere = stage.origin(), stage.origin()
    origin.on("/moved", whole(b"", [("Location", f"{elsewhere.url}/there")], status=302))
    elsewhere.on("/there", whole(b"from elsewhere"))
    with Cluster(stage.folder / "redirects", origin.url, peers=1, follow_redirects=follows or None) as cluster:
        fields = [("Authorization", "Basic c2VjcmV0"), ("Cookie", "secret=1")]
        answer = cluster.peers[0].ask("/moved", fields=fields)
        if not follows:
            assert (answer.status, answer["Location"]) == (302, f"{elsewhere.url}/there")
            assert elsewhere.asked() == []
            return
        assert (answer.status, answer.body) == (200, b"from elsewhere")
        (asked,) = elsewhere.asked("/there")
        assert not {"authorization", "cookie"} & set(asked.fields)
        assert origin.asked("/moved")[0].fields["cookie"] == "secret=1"
