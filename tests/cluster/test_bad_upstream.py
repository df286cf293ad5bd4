"""A swarm whose upstream changes the file, forgets ranges, fails or dies half-way."""

from __future__ import annotations

import time

import pytest

from tests.cluster.swarming import SIZE, at_once, finished, is_cut, is_right
from tests.kit.asking import ask
from tests.kit.clients import CurlDownload, need
from tests.kit.cluster import Cluster
from tests.kit.files import bytes_of, sha256
from tests.kit.origin import Asked, Line, ranged, whole
from tests.kit.stage import Stage
from tests.kit.waiting import eventually

LARGER = 2 * SIZE
"""Where something is to change before all of it has been asked for: it comes faster than a busy machine's test goes on."""

pytestmark = pytest.mark.timeout(240)
PIECES_FIRST = 64
"""Of some 190 of a LARGER one: each peer has some of its own left to ask for by then, and so learns that there are no parts."""


class Upstream:
    """Serves `body` with ranges; `before` looks at each request first, and may answer it (True)."""

    def __init__(self, body: bytes, tag: str = '"one"') -> None:
        self.body, self.tag = body, tag
        self.asked_count = self.ranged_count = 0
        self.before = lambda asked, line: False

    def __call__(self, asked: Asked, line: Line) -> None:
        self.asked_count += 1
        self.ranged_count += "range" in asked.fields
        if self.before(asked, line):
            return
        ranged(self.body, self.tag, fields=[("Cache-Control", "max-age=3600")], send=self.send)(asked, line)

    def send(self, line: Line, data: bytes) -> None:
        for at in range(0, len(data), 64 * 1024):
            line.send(data[at : at + 64 * 1024])
            time.sleep(0.005)


def behind(stage: Stage, size: int = SIZE) -> tuple[Upstream, Cluster]:
    need("curl")
    origin, upstream = stage.origin(), Upstream(bytes_of("one", size))
    origin.on("/a.bin", upstream)
    # With a cap on the upstream each owner of pieces asks for its own; else all would come in one answer, which none of this concerns.
    return upstream, stage.cluster(origin.url, peers=3, upstream_rate="200MB/s")


def test_an_entity_tag_that_changes_half_way(stage: Stage) -> None:
    upstream, cluster = behind(stage, LARGER)
    running = [CurlDownload(peer.url + "/a.bin") for peer in cluster.peers]
    running[0].read_until(LARGER // 3)
    first, upstream.body, upstream.tag = upstream.body, bytes_of("two", LARGER), '"two"'
    got = finished(running)
    assert all(is_right(one, sha256(first), LARGER) or is_cut(one, LARGER) for one in got), got
    assert any(is_cut(one, LARGER) for one in got)
    got = at_once([peer.url + "/a.bin" for peer in cluster.peers])
    assert all(is_right(one, sha256(upstream.body), LARGER) for one in got), got


def test_an_upstream_that_forgets_ranges_in_the_middle(stage: Stage) -> None:
    upstream, cluster = behind(stage, LARGER)

    def forget(asked: Asked, line: Line) -> bool:
        """By itself: on a busy machine all have been asked for before a client has read so much."""
        if upstream.ranged_count <= PIECES_FIRST:
            return False
        line.head(200, [("ETag", upstream.tag), ("Cache-Control", "max-age=3600"), ("Accept-Ranges", "bytes")], length=LARGER)
        upstream.send(line, upstream.body)
        return True

    upstream.before = forget
    got = at_once([peer.url + "/a.bin" for peer in cluster.peers])
    assert all(is_right(one, sha256(upstream.body), LARGER) for one in got), got
    assert upstream.ranged_count > PIECES_FIRST
    cluster.peers[0].ask("/_purge", method="POST", body=b'{"paths": ["/a.bin"], "soft": false}')
    # An owner that has not heard of a purge which its asker knows of asks for that one alone (Cache._begin).
    eventually(lambda: all(peer.stats()["purges_count"] for peer in cluster.peers), "all to hear of the purge", show=cluster.show)
    before = upstream.asked_count
    got = at_once([peer.url + "/a.bin" for peer in cluster.peers])
    assert all(is_right(one, sha256(upstream.body), LARGER) for one in got), got
    assert upstream.asked_count == before + 1, "one stream: the owner has learned that there are no parts"
    assert not any(peer.stats()["disk_errors_count"] for peer in cluster.peers)


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


def test_a_redirect_that_leads_nowhere_is_passed_on_as_it_is(stage: Stage) -> None:
    """A Location that is no URL was an internal error (502) where redirects are followed."""
    origin = stage.origin()
    origin.on("/moved", whole(b"", [("Location", "http://[")], status=302))
    answer = stage.manager(origin.url, follow_redirects=True).ask("/moved")
    assert (answer.status, answer["Location"]) == (302, "http://[")
