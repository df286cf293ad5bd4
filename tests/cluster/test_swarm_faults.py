"""A swarm with somebody in it who dies, freezes, lies, or says no: right bytes or a clean cut, and seconds at most."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.kit.asking import ask
from tests.kit.clients import CURL_PARTIAL_FILE, CurlDownload, Got, need
from tests.kit.cluster import Cluster
from tests.kit.files import MIB, big_file, bytes_of, sha256
from tests.kit.nginx import Nginx
from tests.kit.origin import Asked, Line
from tests.kit.program import Minicdn
from tests.kit.stage import Stage
from tests.kit.waiting import eventually

SIZE = 48 * MIB
RATE_BYTES = 2 * MIB
"""Of each connection to the upstream: a healthy download takes some seconds, so that there is a middle of it."""
RATIO_MAX = 4.0
KEPT = 'add_header Cache-Control "max-age=3600";'
QUESTIONS_MAX = 4000
"""For the 192 pieces of a file at two peers; who asks without a pause asks this often in a few seconds."""

pytestmark = pytest.mark.timeout(240)


class Evil:
    """Three peers, one of which is evil when told so, and files whose owner is another."""

    def __init__(self, stage: Stage) -> None:
        need("curl")
        self.nginx = stage.nginx(extra=KEPT, rate_bytes=RATE_BYTES)
        self.cluster = stage.cluster(self.nginx.url, peers=2)
        self._way = Path(stage.folder / "evil")
        self.be("")
        self.real = list(self.cluster.peers)
        env = {"EVIL": str(self._way)}
        self.evil = self.cluster.start_peer("evil", module="tests.cluster.evil_peer", env=env)
        self.cluster.wait_agreed()

    def be(self, way: str) -> None:
        self._way.write_text(way)

    def put(self, name: str, size: int = SIZE) -> tuple[str, str]:
        """Path and sha256 of a new file, owned by a peer that is real."""
        path = self.cluster.key_owned_by(self.real[0], f"/{name}-{{}}.bin")
        return path, big_file(self.nginx.root / path[1:], size, seed=name)

    def download(self, path: str) -> tuple[list[Got], float]:
        """At both real peers at once; with the seconds until both are done."""
        began = time.monotonic()
        return at_once([peer.url + path for peer in self.real]), time.monotonic() - began

    def questions_count(self) -> int:
        return sum(peer.stats()["peer_requests_count"] for peer in self.real)


def at_once(urls: list[str]) -> list[Got]:
    return finished([CurlDownload(url) for url in urls])


def finished(started: list[CurlDownload]) -> list[Got]:
    with ThreadPoolExecutor(len(started)) as pool:
        return list(pool.map(CurlDownload.finish, started))


def is_right(got: Got, digest: str, size: int = SIZE) -> bool:
    return (got.code, got.size_bytes, got.sha256) == (0, size, digest)


def is_cut(got: Got, size: int = SIZE) -> bool:
    return got.code == CURL_PARTIAL_FILE and got.size_bytes < size


@pytest.fixture
def evil(stage: Stage) -> Iterator[Evil]:
    yield Evil(stage)


@pytest.mark.parametrize(
    "way",
    [
        "silent",
        "head only",
        "failed",
        "refused",
        "changed",
        "refers in a ring",
        "refers to the dead",
        "never has it",
        "wrong as holder",
    ],
)
def test_whoever_can_help_it_gets_all(evil: Evil, way: str) -> None:
    """None of this is wrong bytes that anybody has read: so nobody is cut off."""
    path, digest = evil.put("healthy")
    got, healthy_seconds = evil.download(path)
    assert all(is_right(one, digest) for one in got)
    before = evil.questions_count()
    evil.be(way)
    path, digest = evil.put("evil")
    got, seconds = evil.download(path)
    assert all(is_right(one, digest) for one in got), got
    assert seconds < RATIO_MAX * healthy_seconds
    assert evil.questions_count() - before < QUESTIONS_MAX


@pytest.mark.parametrize("way", ["wrong with a wrong digest", "half and silence", "cut"])
def test_wrong_bytes_of_an_owner_are_right_ones_or_a_cut(evil: Evil, way: str) -> None:
    """They may have been read before the digest came: then their reader is cut off, and the next one gets all."""
    path, digest = evil.put("healthy")
    got, healthy_seconds = evil.download(path)
    evil.be(way)
    path, digest = evil.put("evil")
    got, seconds = evil.download(path)
    assert all(is_right(one, digest) or is_cut(one) for one in got), got
    assert seconds < RATIO_MAX * healthy_seconds
    got, seconds = evil.download(path)
    assert all(is_right(one, digest) or is_cut(one) for one in got), got
    evil.be("")
    got, _ = evil.download(path)
    assert all(is_right(one, digest) for one in got), got


def big(stage: Stage, peers: int, **options) -> tuple[Nginx, Cluster]:
    need("curl")
    nginx = stage.nginx(extra=KEPT, rate_bytes=RATE_BYTES)
    return nginx, stage.cluster(nginx.url, peers=peers, **options)


def timed(cluster_peers: list[Minicdn], path: str) -> tuple[list[Got], float]:
    began = time.monotonic()
    return at_once([peer.url + path for peer in cluster_peers]), time.monotonic() - began


def test_two_of_five_killed_at_forty_percent(stage: Stage) -> None:
    nginx, cluster = big(stage, 5)
    digests = [big_file(nginx.root / f"{name}.bin", SIZE, seed=name) for name in ("a", "b")]
    _, healthy_seconds = timed(cluster.peers, "/a.bin")
    *alive, fourth, fifth = cluster.peers
    began = time.monotonic()
    running = [CurlDownload(peer.url + "/b.bin") for peer in alive]
    doomed = [CurlDownload(peer.url + "/b.bin") for peer in (fourth, fifth)]
    running[0].read_until(SIZE * 2 // 5)
    fourth.kill()
    fifth.kill()
    got = finished(running)
    seconds = time.monotonic() - began
    for one in doomed:
        one.kill()
    assert all(is_right(one, digests[1]) for one in got), got
    assert seconds < RATIO_MAX * healthy_seconds


@pytest.mark.parametrize("is_files_owner", [False, True], ids=["an owner of pieces", "the file's owner"])
def test_one_frozen_for_the_whole_download(stage: Stage, is_files_owner: bool) -> None:
    """Frozen when all have the deal: it accepts connections, and says nothing."""
    nginx, cluster = big(stage, 3)
    digests = [big_file(nginx.root / f"{name}.bin", SIZE, seed=name) for name in ("a", "b")]
    _, healthy_seconds = timed(cluster.peers, "/a.bin")
    owner, *others = cluster.owners_of("/b.bin")
    frozen = owner if is_files_owner else others[0]
    alive = [peer for peer in cluster.peers if peer is not frozen]
    began = time.monotonic()
    running = [CurlDownload(peer.url + "/b.bin") for peer in alive]
    for one in running:
        one.read_until(2 * MIB)
    frozen.signal(signal.SIGSTOP)
    got = finished(running)
    seconds = time.monotonic() - began
    assert all(is_right(one, digests[1]) for one in got), got
    assert seconds < RATIO_MAX * healthy_seconds


def test_a_peer_that_comes_and_one_that_leaves_in_the_middle(stage: Stage) -> None:
    nginx, cluster = big(stage, 3)
    digest = big_file(nginx.root / "a.bin", SIZE)
    leaver = cluster.owners_of("/a.bin")[2]
    stay = [peer for peer in cluster.peers if peer is not leaver]
    running = [CurlDownload(peer.url + "/a.bin") for peer in stay]
    running[0].read_until(4 * MIB)
    newcomer = cluster.start_peer("newcomer").wait_ready()
    running.append(CurlDownload(newcomer.url + "/a.bin"))
    running[0].read_until(10 * MIB)
    leaver.interrupt()
    assert all(is_right(one, digest) for one in finished(running))
    assert leaver.wait() == 0


def test_a_peer_restarted_in_the_middle_goes_on_with_what_it_has(stage: Stage) -> None:
    nginx, cluster = big(stage, 3)
    digest = big_file(nginx.root / "a.bin", SIZE)
    restarted, *others = reversed(cluster.owners_of("/a.bin"))
    running = [CurlDownload(peer.url + "/a.bin") for peer in others]
    doomed = CurlDownload(restarted.url + "/a.bin")
    doomed.read_until(SIZE // 3)
    restarted.kill()
    again = cluster.start_peer("again", cache_dir=restarted.cache_dir, port=restarted.port).wait_ready()
    assert doomed.finish().code == CURL_PARTIAL_FILE
    running.append(CurlDownload(again.url + "/a.bin"))
    assert all(is_right(one, digest) for one in finished(running))


def test_one_that_may_not_ask_the_upstream_never_does(stage: Stage) -> None:
    nginx, cluster = big(stage, 2)
    digest = big_file(nginx.root / "a.bin", SIZE)
    barred = cluster.start_peer("barred", no_back_to_source=True)
    cluster.wait_agreed()
    one = CurlDownload(barred.url + "/a.bin")
    one.read_until(SIZE // 4)
    cluster.peers[0].kill()
    assert is_right(one.finish(), digest)
    path = "/b.bin"
    big_file(nginx.root / "b.bin", SIZE, seed="b")
    one = CurlDownload(barred.url + path)
    one.read_until(SIZE // 4)
    cluster.peers[1].kill()
    assert is_cut(one.finish()), "nobody is left who may ask"
    assert barred.stats()["upstream_requests_count"] == 0


# The upstream


class Upstream:
    """Serves `body` with ranges; `before` looks at each request first, and may answer it (True)."""

    def __init__(self, body: bytes, tag: str = '"one"') -> None:
        self.body, self.tag = body, tag
        self.asked_count = self.ranged_count = 0
        self.before = lambda asked, line: False

    def __call__(self, asked: Asked, line: Line) -> None:
        wanted = asked.fields.get("range")
        self.asked_count += 1
        self.ranged_count += wanted is not None
        if self.before(asked, line):
            return
        fields = [("ETag", self.tag), ("Cache-Control", "max-age=3600"), ("Accept-Ranges", "bytes")]
        if wanted is None or asked.fields.get("if-range", self.tag) != self.tag:
            line.head(200, fields, length=len(self.body))
            self.send(line, self.body)
            return
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        start, end = int(first), int(last) + 1 if last else len(self.body)
        line.head(206, [*fields, ("Content-Range", f"bytes {start}-{end - 1}/{len(self.body)}")], length=end - start)
        self.send(line, self.body[start:end])

    def send(self, line: Line, data: bytes) -> None:
        for at in range(0, len(data), 64 * 1024):
            line.send(data[at : at + 64 * 1024])
            time.sleep(0.005)


def behind(stage: Stage, peers: int = 3) -> tuple[Upstream, Cluster]:
    need("curl")
    origin, upstream = stage.origin(), Upstream(bytes_of("one", SIZE))
    origin.on("/a.bin", upstream)
    return upstream, stage.cluster(origin.url, peers=peers)


def test_an_entity_tag_that_changes_half_way(stage: Stage) -> None:
    upstream, cluster = behind(stage)
    running = [CurlDownload(peer.url + "/a.bin") for peer in cluster.peers]
    running[0].read_until(SIZE // 3)
    first, upstream.body, upstream.tag = upstream.body, bytes_of("two", SIZE), '"two"'
    got = finished(running)
    assert all(is_right(one, sha256(first)) or is_cut(one) for one in got), got
    assert any(map(is_cut, got))
    got = at_once([peer.url + "/a.bin" for peer in cluster.peers])
    assert all(is_right(one, sha256(upstream.body)) for one in got), got


def test_an_upstream_that_forgets_ranges_in_the_middle(stage: Stage) -> None:
    upstream, cluster = behind(stage)
    running = [CurlDownload(peer.url + "/a.bin") for peer in cluster.peers]
    running[0].read_until(SIZE // 3)

    def forget(asked: Asked, line: Line) -> bool:
        line.head(200, [("ETag", upstream.tag), ("Cache-Control", "max-age=3600"), ("Accept-Ranges", "bytes")], length=SIZE)
        upstream.send(line, upstream.body)
        return True

    upstream.before = forget
    got = finished(running)
    assert all(is_right(one, sha256(upstream.body)) for one in got), got
    cluster.peers[0].ask("/_purge", method="POST", body=b'{"paths": ["/a.bin"], "soft": false}')
    before = upstream.asked_count
    got = at_once([peer.url + "/a.bin" for peer in cluster.peers])
    assert all(is_right(one, sha256(upstream.body)) for one in got), got
    assert upstream.asked_count == before + 1, "one stream: the owner has learned that there are no parts"


@pytest.mark.parametrize("what", ["503", "broken off"])
def test_an_upstream_that_fails_for_every_third_piece_at_first(stage: Stage, what: str) -> None:
    upstream, cluster = behind(stage)
    refused: set[str] = set()

    def refuse(asked: Asked, line: Line) -> bool:
        wanted = asked.fields.get("range", "")
        if not wanted or wanted.endswith("-") or wanted in refused or upstream.ranged_count % 3:
            return False
        refused.add(wanted)
        if what == "503":
            line.head(503, length=0)
            return True
        start, end = map(int, wanted.removeprefix("bytes=").split("-"))
        fields = [("ETag", upstream.tag), ("Content-Range", f"bytes {start}-{end}/{SIZE}"), ("Cache-Control", "max-age=3600")]
        line.head(206, fields, length=end + 1 - start)
        line.send(upstream.body[start : (start + end) // 2])
        line.cut()
        return True

    upstream.before = refuse
    got = at_once([peer.url + "/a.bin" for peer in cluster.peers])
    assert refused
    assert all(is_right(one, sha256(upstream.body)) for one in got), got


def test_an_upstream_dead_in_the_middle(stage: Stage) -> None:
    """What the cluster has still arrives; who wants more is cut off, within seconds."""
    upstream, cluster = behind(stage)
    part = SIZE // 2
    fields = [("Range", f"bytes=0-{part - 1}")]
    assert cluster.peers[0].ask("/a.bin", fields=fields, deadline_seconds=60).body == upstream.body[:part]
    upstream.before = lambda asked, line: line.cut() or True
    for peer in cluster.peers:
        answer = peer.ask("/a.bin", fields=fields, deadline_seconds=60)
        assert (answer.status, answer.body == upstream.body[:part]) == (206, True)
    got = at_once([peer.url + "/a.bin" for peer in cluster.peers])
    assert all(map(is_cut, got)), got
    assert all(one.size_bytes >= part for one in got), got
    upstream.before = lambda asked, line: False

    def are_all_right() -> bool:
        got = at_once([peer.url + "/a.bin" for peer in cluster.peers])
        return all(is_right(one, sha256(upstream.body)) for one in got)

    eventually(are_all_right, "all to get all of it", deadline_seconds=90)
    assert ask(cluster.peers[0].url, "/a.bin", fields=[("Range", "bytes=5-9")]).body == upstream.body[5:10]
