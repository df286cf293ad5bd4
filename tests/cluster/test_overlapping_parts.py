"""Parts of a cold file that have bytes in common, asked for by a crowd at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.kit.files import bytes_of
from tests.kit.origin import Asked, Line, held, ranged
from tests.kit.stage import Stage
from tests.kit.waiting import eventually

FRESH = [("Cache-Control", "max-age=60")]
BODY = bytes_of("overlapping", 50_000)
CROWD = 12


@pytest.mark.parametrize("is_owner", [True, False], ids=["its owner", "another"])
def test_a_crowd_that_waited_for_a_part_asks_once_for_what_it_lacks(stage: Stage, *, is_owner: bool) -> None:
    """Each of them asked for the same gap as soon as the part's head was there, and some for the whole when the first had brought it."""
    origin = stage.origin()
    cluster = stage.cluster(origin.url, peers=2)
    node, gate = cluster.peers[0 if is_owner else 1], origin.gate()
    path = origin.on(cluster.key_owned_by(cluster.peers[0]), held(gate, ranged(BODY, '"a"', FRESH)))
    with ThreadPoolExecutor(1 + CROWD) as pool:
        asking = pool.submit(node.ask, path, fields=[("Range", "bytes=40000-")])
        eventually(lambda: len(origin.asked()) == 1, "the upstream to be asked")
        crowd = [pool.submit(node.ask, path, fields=[("Range", "bytes=0-")]) for _ in range(CROWD)]
        eventually(lambda: node.stats()["joins_count"] >= CROWD, "all of them to wait for the part's head")
        gate.open()
        assert asking.result().body == BODY[40_000:]
        assert all(one.result().body == BODY for one in crowd)
    assert [asked.fields.get("range") for asked in origin.asked()] == ["bytes=40000-", "bytes=0-39999"]


def test_parts_that_cannot_be_put_together_wait_for_one_of_them_alone(stage: Stage) -> None:
    """Each waited for the head of the one before, however many there were."""
    origin = stage.origin()
    node = stage.cluster(origin.url, peers=1).peers[0]
    first, others, send = origin.gate(), origin.gate(), ranged(BODY, 'W/"a"', FRESH)
    beginning, rest = held(first, send), held(others, send)
    path = origin.on("/weak", lambda asked, line: (beginning if asked.fields["range"] == "bytes=40000-" else rest)(asked, line))
    starts = range(1000 * CROWD, 0, -1000)
    with ThreadPoolExecutor(1 + CROWD) as pool:
        asking = pool.submit(node.ask, path, fields=[("Range", "bytes=40000-")])
        eventually(lambda: len(origin.asked()) == 1, "the upstream to be asked")
        crowd = [pool.submit(node.ask, path, fields=[("Range", f"bytes={start}-")]) for start in starts]
        eventually(lambda: node.stats()["joins_count"] >= CROWD, "all of them to wait for the first one's head")
        first.open()
        eventually(lambda: len(origin.asked()) > 1 + CROWD // 2, "most of them to be asked for at the same time")
        others.open()
        assert asking.result().body == BODY[40_000:]
        assert [(one.result().status, one.result().body) for one in crowd] == [(206, BODY[start:]) for start in starts]


def test_a_part_that_cannot_be_had_takes_no_other_with_it(stage: Stage) -> None:
    origin = stage.origin()
    node, gate = stage.cluster(origin.url, peers=1).peers[0], origin.gate()
    send = ranged(BODY, '"a"', FRESH)
    refuse = held(gate, lambda asked, line: line.cut())
    path = origin.on("/half", lambda asked, line: (refuse if asked.fields["range"] == "bytes=100-" else send)(asked, line))
    with ThreadPoolExecutor(2) as pool:
        asking = pool.submit(node.ask, path, fields=[("Range", "bytes=100-")])
        eventually(lambda: len(origin.asked()) == 1, "the upstream to be asked")
        asking_other = pool.submit(node.ask, path, fields=[("Range", "bytes=50-999")])
        eventually(lambda: node.stats()["joins_count"] == 1, "the second to wait for the first's head")
        gate.open()
        assert asking.result().status == 502
        assert (asking_other.result().status, asking_other.result().body) == (206, BODY[50:1000])


@pytest.mark.parametrize("wanted", [None, "bytes=0-29999"])
def test_a_range_beyond_the_end_of_what_is_shorter_now_is_no_answer_to_who_asked_for_more(stage: Stage, wanted: str | None) -> None:
    """The gap's 416, from an upstream that knows no If-Range, was passed on to a client that had asked for the whole."""
    origin = stage.origin()
    node = stage.cluster(origin.url, peers=1).peers[0]
    path, shorter = origin.on("/shrinks", ranged(BODY, '"a"', FRESH)), ranged(BODY[:5000], '"b"', FRESH)
    assert node.ask(path, fields=[("Range", "bytes=0-9999")]).body == BODY[:10_000]

    def shrunk(asked: Asked, line: Line) -> None:
        asked.fields.pop("if-range", None)
        shorter(asked, line)

    origin.on("/shrinks", shrunk)
    assert node.ask(path, fields=[("Range", wanted)] if wanted else []).body == BODY[:5000]
