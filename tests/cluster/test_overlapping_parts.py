"""Parts of a cold file that have bytes in common, asked for at once."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.kit.asking import Answer
from tests.kit.files import bytes_of
from tests.kit.origin import Asked, Line, Origin, held, ranged
from tests.kit.program import Minicdn
from tests.kit.stage import Stage
from tests.kit.waiting import eventually

FRESH = [("Cache-Control", "max-age=60")]
BODY = bytes_of("overlapping", 50_000)
CROWD = 12


def waiting_for(
    pool: ThreadPoolExecutor, origin: Origin, path: str, first: str, others: list[str], *, at: Minicdn, through: Minicdn | None = None
) -> tuple[Future[Answer], list[Future[Answer]]]:
    """The upstream has been asked for the first range, and at one node the others wait for its head; they were asked for there, or through
    another."""
    asking = pool.submit(at.ask, path, fields=[("Range", first)])
    eventually(lambda: len(origin.asked()) == 1, "the upstream to be asked")
    crowd = [pool.submit((through or at).ask, path, fields=[("Range", other)]) for other in others]
    eventually(lambda: at.stats()["joins_count"] == len(others), "the others to wait for the first one's head")
    return asking, crowd


def ranges_of(origin: Origin) -> list[str | None]:
    return [asked.fields.get("range") for asked in origin.asked()]


@pytest.mark.parametrize("is_owner", [True, False], ids=["its owner", "another"])
def test_what_two_parts_have_in_common_is_asked_for_once(stage: Stage, *, is_owner: bool) -> None:
    origin = stage.origin()
    owner, other = (cluster := stage.cluster(origin.url, peers=2)).peers
    gate = origin.gate()
    path = origin.on(cluster.key_owned_by(owner), held(gate, ranged(BODY, fields=FRESH)))
    with ThreadPoolExecutor(2) as pool:
        through = owner if is_owner else other
        one, [more] = waiting_for(pool, origin, path, "bytes=100-19999", ["bytes=10000-29999"], at=owner, through=through)
        gate.open()
        assert (one.result().status, one.result().body) == (206, BODY[100:20_000])
        assert (more.result().status, more.result().body) == (206, BODY[10_000:30_000])
    assert ranges_of(origin) == ["bytes=100-19999", "bytes=20000-29999"]


def test_a_range_beyond_the_end_is_answered_to_who_asked_for_it_alone(stage: Stage) -> None:
    """And says nothing of the file, which was fetched for every client anew for a minute, as if each of its answers were for one alone."""
    origin = stage.origin()
    owner, other = (cluster := stage.cluster(origin.url, peers=2)).peers
    gate = origin.gate()
    path = origin.on(cluster.key_owned_by(owner), held(gate, ranged(BODY, fields=FRESH)))
    with ThreadPoolExecutor(2) as pool:
        beyond, [more] = waiting_for(pool, origin, path, "bytes=60000-", ["bytes=100-70000"], at=owner)
        gate.open()
        assert beyond.result().status == 416
        assert (more.result().status, more.result().body) == (206, BODY[100:])
    assert other.ask(path).body == owner.ask(path).body == BODY
    assert ranges_of(origin) == ["bytes=60000-", "bytes=100-70000", "bytes=0-99"]


@pytest.mark.parametrize("is_owner", [True, False], ids=["its owner", "another"])
def test_a_crowd_that_waited_for_a_part_asks_once_for_what_it_lacks(stage: Stage, *, is_owner: bool) -> None:
    """Each of them asked for the same gap as soon as the part's head was there, and some for the whole when the first had brought it."""
    origin = stage.origin()
    cluster = stage.cluster(origin.url, peers=2)
    node, gate = cluster.peers[0 if is_owner else 1], origin.gate()
    path = origin.on(cluster.key_owned_by(cluster.peers[0]), held(gate, ranged(BODY, fields=FRESH)))
    with ThreadPoolExecutor(1 + CROWD) as pool:
        asking, crowd = waiting_for(pool, origin, path, "bytes=40000-", ["bytes=0-"] * CROWD, at=node)
        gate.open()
        assert asking.result().body == BODY[40_000:]
        assert all(one.result().body == BODY for one in crowd)
    assert ranges_of(origin) == ["bytes=40000-", "bytes=0-39999"]


def test_parts_that_cannot_be_put_together_wait_for_one_of_them_alone(stage: Stage) -> None:
    """Each waited for the head of the one before, however many there were."""
    origin = stage.origin()
    node = stage.cluster(origin.url, peers=1).peers[0]
    first, others, send = origin.gate(), origin.gate(), ranged(BODY, 'W/"one"', fields=FRESH)
    beginning, rest = held(first, send), held(others, send)
    path = origin.on("/weak", lambda asked, line: (beginning if asked.fields["range"] == "bytes=40000-" else rest)(asked, line))
    starts = range(1000 * CROWD, 0, -1000)
    with ThreadPoolExecutor(1 + CROWD) as pool:
        asking, crowd = waiting_for(pool, origin, path, "bytes=40000-", [f"bytes={start}-" for start in starts], at=node)
        first.open()
        eventually(lambda: len(origin.asked()) > 1 + CROWD // 2, "most of them to be asked for at the same time")
        others.open()
        assert asking.result().body == BODY[40_000:]
        assert [(one.result().status, one.result().body) for one in crowd] == [(206, BODY[start:]) for start in starts]


def test_a_part_that_cannot_be_had_takes_no_other_with_it(stage: Stage) -> None:
    origin = stage.origin()
    node, gate = stage.cluster(origin.url, peers=1).peers[0], origin.gate()
    send = ranged(BODY, fields=FRESH)
    refuse = held(gate, lambda asked, line: line.cut())
    path = origin.on("/half", lambda asked, line: (refuse if asked.fields["range"] == "bytes=100-" else send)(asked, line))
    with ThreadPoolExecutor(2) as pool:
        asking, [other] = waiting_for(pool, origin, path, "bytes=100-", ["bytes=50-999"], at=node)
        gate.open()
        assert asking.result().status == 502
        assert (other.result().status, other.result().body) == (206, BODY[50:1000])


@pytest.mark.parametrize("wanted", [None, "bytes=0-29999"])
def test_a_range_beyond_the_end_of_what_is_shorter_now_is_no_answer_to_who_asked_for_more(stage: Stage, wanted: str | None) -> None:
    """The gap's 416, from an upstream that knows no If-Range, was passed on to a client that had asked for the whole."""
    origin = stage.origin()
    node = stage.cluster(origin.url, peers=1).peers[0]
    path = origin.on("/shrinks", ranged(BODY, fields=FRESH))
    assert node.ask(path, fields=[("Range", "bytes=0-9999")]).body == BODY[:10_000]
    origin.on(path, ranged(BODY[:5000], '"two"', fields=FRESH, obeys=False))
    assert node.ask(path, fields=[("Range", wanted)] if wanted else []).body == BODY[:5000]


@pytest.mark.parametrize("is_owner", [True, False], ids=["its owner", "another"])
def test_a_part_that_comes_late_leaves_the_whole_as_it_is(stage: Stage, *, is_owner: bool) -> None:
    """It took its place, and all but the part was fetched again."""
    origin = stage.origin()
    cluster = stage.cluster(origin.url, peers=2)
    node, gate = cluster.peers[0 if is_owner else 1], origin.gate()
    serve = ranged(BODY, fields=FRESH)

    def script(asked: Asked, line: Line) -> None:
        (held(gate, serve) if "range" in asked.fields else serve)(asked, line)

    path = origin.on(cluster.key_owned_by(cluster.peers[0]), script)
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(node.ask, path, fields=[("Range", "bytes=100-19999")])
        eventually(lambda: len(origin.asked()) == 1, "the upstream to be asked")
        assert node.ask(path).body == BODY
        gate.open()
        assert (asking.result().status, asking.result().body) == (206, BODY[100:20_000])
    for peer in cluster.peers:
        assert peer.ask(path).body == BODY
    assert ranges_of(origin) == ["bytes=100-19999", None]


def test_a_wide_part_that_comes_late_leaves_the_whole_as_it_is(stage: Stage) -> None:
    """Of a file that comes in pieces it began all of them anew."""
    body, late = bytes_of("wide", 20_000_000), "bytes=100-17999999"
    origin = stage.origin()
    cluster = stage.cluster(origin.url, peers=2)
    owner, gate = cluster.peers[0], origin.gate()
    serve = ranged(body, fields=FRESH)

    def script(asked: Asked, line: Line) -> None:
        (held(gate, serve) if asked.fields.get("range") == late else serve)(asked, line)

    path = origin.on(cluster.key_owned_by(owner), script)
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(owner.ask, path, fields=[("Range", late)])
        eventually(lambda: len(origin.asked()) == 1, "the upstream to be asked")
        assert owner.ask(path).body == body
        asked_count = len(origin.asked())
        gate.open()
        assert (asking.result().status, asking.result().body) == (206, body[100:18_000_000])
    assert owner.ask(path).body == body
    assert len(origin.asked()) == asked_count, ranges_of(origin)
