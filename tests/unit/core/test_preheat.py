"""Preheats as values: what may be ordered, who is to have which file, and what becomes of it when nodes go."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from minicdn.core import preheat as module
from minicdn.core.preheat import Copies, Order, Preheat, parse_order
from minicdn.core.roster import Member, owners
from minicdn.errors import ClientError

HOME = frozenset(("http://cdn:11000",))
MEMBERS = tuple(Member(f"id{number}", f"http://10.0.0.{number}:11001") for number in range(1, 7))
URLS = tuple(f"/file-{number}.bin" for number in range(50))


def preheat(copies: str = "1", members: tuple[Member, ...] = MEMBERS, urls: tuple[str, ...] = URLS, **order: Any) -> Preheat:
    found = Preheat("one", Order(urls, Copies.parse(copies), **order), members, frozenset(("sig",)), 1000.0)
    deal(found, members)
    return found


def deal(found: Preheat, members: Sequence[Member]) -> set[str]:
    """All of it, in slices of two files or so. Who has more to do now."""
    busier: set[str] = set()
    while found.has_to_deal:
        busier |= found.deal(members, 2 * len(members))
    return busier


def holders(found: Preheat) -> dict[int, set[str]]:
    """Who is to load each target, now."""
    held: dict[int, set[str]] = {}
    for url, row in found.rows.items():
        for index in (*row.waiting, *row.loading):
            held.setdefault(index, set()).add(url)
    return held


@pytest.mark.parametrize(
    ("text", "of_ten"), [("1", 1), ("3", 3), ("99", 10), ("1%", 1), ("20%", 2), ("21%", 3), ("100%", 10), ("all", 10), (" All ", 10)]
)
def test_copies(text: str, of_ten: int) -> None:
    found = Copies.parse(text)
    assert found.of(10) == of_ten
    assert Copies.parse(str(found)) == found


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "0%", "101%", "%", "every", "1 %", "9999999"])
def test_copies_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="no number of copies"):
        Copies.parse(text)


def test_an_order() -> None:
    body = {
        "urls": ["/a", "http://cdn:11000/b?x=1", "https://files.example.com/base/c%7e", "/a"],
        "copies": "20%",
        "headers": {"Accept-Encoding": " gzip "},
    }
    found = parse_order(json.dumps(body).encode(), HOME, "https://files.example.com/base/")
    assert found == Order(("/a", "/b?x=1", "/c~"), Copies(0, 20), ((b"accept-encoding", b"gzip"),))
    assert parse_order(b'{"urls": ["/a"]}', HOME) == Order(("/a",))
    assert parse_order(b'{"urls": ["/a"], "copies": 3}', HOME).copies == Copies(3)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "not an object"),
        (b"{}", "urls is not a list"),
        (b'{"urls": []}', "urls is not a list"),
        (b'{"urls": ["/a", 1]}', "urls is not a list"),
        (b'{"urls": "/a"}', "urls is not a list"),
        (b'{"urls": ["/a"], "to": "all"}', "'to' is none of urls, copies, headers"),
        (b'{"urls": ["/a"], "copies": true}', "copies is neither"),
        (b'{"urls": ["/a"], "copies": 0}', "no number of copies"),
        (b'{"urls": ["/a"], "copies": 1.5}', "copies is neither"),
        (b'{"urls": ["a"]}', "neither a path"),
        (b'{"urls": ["https://elsewhere.example/a"]}', "neither a path"),
        (b'{"urls": ["/a b"]}', "has a space"),
        (b'{"urls": ["/../a"]}', "climbs"),
        (b'{"urls": ["/_stats"]}', "belong to minicdn itself"),
        (b'{"urls": ["/\\ud800"]}', "surrogates not allowed"),
        (b'{"urls": ["/a"], "headers": []}', "headers is not an object"),
        (b'{"urls": ["/a"], "headers": {"x": 1}}', "headers is not an object"),
        (b'{"urls": ["/a"], "headers": {"Range": "bytes=0-1"}}', "no place in a preheat"),
        (b'{"urls": ["/a"], "headers": {"If-None-Match": "x"}}', "no place in a preheat"),
        (b'{"urls": ["/a"], "headers": {"x": "a\\r\\nb: c"}}', "no field of a request"),
        (b'{"urls": ["/a"], "headers": {"x y": "a"}}', "no field of a request"),
        (b'{"urls": ["/a"], "headers": {"\\ud800": "a"}}', "no text"),
        (json.dumps({"urls": ["/a"], "headers": {f"x{n}": "" for n in range(17)}}).encode(), "more than 16 fields"),
        (json.dumps({"urls": ["/a"] * 10_001}).encode(), "at most 10000"),
    ],
)
def test_orders_that_are_none(body: bytes, reason: str) -> None:
    with pytest.raises(ClientError, match=reason) as error:
        parse_order(body, HOME)
    assert error.value.status == 400


def test_one_copy_is_its_owners() -> None:
    found = preheat()
    assert holders(found) == {index: {owners(url, MEMBERS)[0].url} for index, url in enumerate(URLS)}


def test_the_owner_is_the_keys_without_ignored_parameters() -> None:
    found = preheat(urls=("/a?sig=1&v=2",))
    assert list(found.rows) == [owners("/a?v=2", MEMBERS)[0].url]


@pytest.mark.parametrize(("copies", "count"), [("3", 3), ("50%", 3), ("all", 6), ("100", 6)])
def test_more_copies_are_the_next_ones_in_the_files_order(copies: str, count: int) -> None:
    found = preheat(copies)
    assert holders(found) == {index: {member.url for member in owners(url, MEMBERS)[:count]} for index, url in enumerate(URLS)}


def test_who_owns_nothing_is_asked_last() -> None:
    *owning, idle = (Member("a", "http://a:1"), Member("b", "http://b:1"), Member("c", "http://c:1", weight=0.0))
    assert idle.url not in preheat("2", (*owning, idle)).rows
    assert set(holders(preheat("all", (*owning, idle)))[0]) == {"http://a:1", "http://b:1", "http://c:1"}
    assert holders(preheat("1", (idle,)))[0] == {idle.url}


def test_more_loads_than_can_be_remembered_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOADS_MAX", 100)
    preheat("2")
    with pytest.raises(ClientError, match="more than 100 loads"):
        preheat("3")


def test_from_waiting_to_done_and_what_it_says_meanwhile() -> None:
    found = preheat(members=MEMBERS[:1], urls=("/a", "/b"))
    (url,) = found.rows
    first, second = found.take(url), found.take(url)
    assert (first, second, found.take(url)) == (0, 1, None)
    found.tell(url, 0, 30, 100)
    said = found.as_json(1002.0)
    assert (said["state"], said["loading_count"], said["bytes"], said["seconds"]) == ("running", 2, 30, 2.0)
    assert said["nodes"][0]["loading"] == [{"url": "/a", "bytes": 30, "length": 100}, {"url": "/b", "bytes": 0, "length": None}]
    found.settle(url, 0, 100, None)
    assert not found.is_over
    found.settle(url, 1, 0, "it is answered 404")
    found.settle(url, 1, 0, "and again")
    found.tell(url, 1, 7, 8)
    assert found.is_over and found.state == "failed"
    found.end(1003.0)
    said = found.as_json(1009.0)
    assert (said["done_count"], said["failed_count"], said["bytes"], said["seconds"]) == (1, 1, 100, 3.0)
    assert said["failures"] == [{"url": "/b", "node": url, "reason": "it is answered 404"}]
    assert "failures" not in found.as_json(1009.0, is_brief=True)


@pytest.mark.parametrize("copies", ["1", "2"])
def test_what_a_node_leaves_goes_to_the_next_in_each_files_order(copies: str) -> None:
    found = preheat(copies)
    gone = max(found.rows, key=lambda url: len(found.rows[url].waiting))
    done = found.take(gone)
    under_way = found.take(gone)
    assert done is not None and under_way is not None
    found.settle(gone, done, 10, None)
    left = [member for member in MEMBERS if member.url != gone]
    before = holders(found)
    found.give_up(gone, "its node left the list")
    heirs = deal(found, left)
    after = holders(found)
    for index, url in enumerate(URLS):
        wanted = {member.url for member in owners(url, left)[: int(copies)]} if gone in before.get(index, ()) else before.get(index)
        assert after.get(index) == wanted, url
    assert heirs and gone not in heirs
    assert found.rows[gone].done_count == 1 and not any(row.failed_count for row in found.rows.values())


def test_where_nobody_is_next_it_failed() -> None:
    found = preheat("all", MEMBERS[:2], ("/a",))
    first, second = found.rows
    found.give_up(first, "its node left the list")
    assert not found.has_to_deal
    assert found.rows[first].failed_count == 1 and found.rows[second].waiting
    one = preheat("1", MEMBERS[:2], ("/a",))
    (owner,) = one.rows
    one.give_up(owner, "its node left the list")
    assert not one.is_over, "what nobody has yet is not over"
    assert one.as_json(1000.0)["waiting_count"] == 1
    (other,) = deal(one, MEMBERS[:2])
    one.give_up(other, "its node could not be asked")
    assert deal(one, MEMBERS[:2]) == set(), "who is gone is no heir, listed or not"
    assert one.state == "failed" and one.failures == [("/a", other, "its node could not be asked")]


def test_who_came_back_has_what_the_next_one_leaves() -> None:
    """Peers that are restarted one after another, say."""
    found = preheat("1", MEMBERS[:2], ("/a",))
    (owner,) = found.rows
    found.give_up(owner, "its node left the list")
    (other,) = deal(found, MEMBERS[:2])
    found.is_back(owner)
    found.give_up(other, "its node left the list")
    assert deal(found, MEMBERS[:2]) == {owner}
    assert found.take(owner) == 0 and found.state == "running"


def test_a_long_order_is_dealt_in_slices() -> None:
    members = tuple(Member(f"id{number}", f"http://10.1.{number // 250}.{number % 250}:11001") for number in range(500))
    found = Preheat("one", Order(URLS, Copies(2)), members, frozenset(), 1000.0)
    assert not found.rows and not found.is_over
    assert len(found.deal(members)) <= 2 * 4, "four times 500 nodes are ranked in one go"
    assert found.as_json(1000.0)["waiting_count"] == 2 * len(URLS), "dealt or not"
    (gone, *_) = found.rows
    found.give_up(gone, "its node left the list")
    left = tuple(member for member in members if member.url != gone)
    deal(found, left)
    assert holders(found) == {index: {member.url for member in owners(url, left)[:2]} for index, url in enumerate(URLS)}


def test_what_is_over_keeps_no_list() -> None:
    for is_cancelled in (False, True):
        found = preheat(members=MEMBERS[:1], urls=("/a", "/b"))
        (url,) = found.rows
        first, second = found.take(url), found.take(url)
        assert first is not None and second is not None
        found.settle(url, first, 0, "it is answered 404")
        if is_cancelled:
            found.cancel()
        else:
            found.settle(url, second, 1, None)
        said = found.as_json(1000.0)
        found.end(1000.0)
        assert found.order.targets == ()
        assert found.as_json(1000.0) == said and said["urls_count"] == 2


def test_cancelled_it_gives_nothing_more_out() -> None:
    found = preheat()
    found.cancel()
    assert found.is_over and found.state == "cancelled"
    assert all(found.take(url) is None for url in found.rows)
    over = preheat(urls=("/a",))
    (url,) = over.rows
    over.take(url)
    over.settle(url, 0, 1, None)
    over.cancel()
    assert over.state == "done", "what is over can't be cancelled"


def test_reasons_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FAILURES_MAX", 3)
    found = preheat(members=MEMBERS[:1])
    (url,) = found.rows
    while (index := found.take(url)) is not None:
        found.settle(url, index, 0, "x" * 1000)
    assert found.rows[url].failed_count == len(URLS)
    assert [len(reason) for _, _, reason in found.failures] == [300] * 3


def test_files_are_dealt_evenly() -> None:
    found = preheat(urls=tuple(f"/{number}" for number in range(3000)))
    counts = Counter({url: len(row.waiting) for url, row in found.rows.items()})
    assert max(counts.values()) < 1.3 * min(counts.values())
