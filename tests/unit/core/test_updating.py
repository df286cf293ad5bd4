"""What a 304 and the answer to a HEAD do to a stored response: RFC 9111 §3.2, §4.3.4, §4.3.5."""

from __future__ import annotations

import pytest

from minicdn.core.freshness import apply_head, fits, freshen, is_fresh
from minicdn.core.updating import merged
from tests.unit.core.making import NOW, POLICY, answer, date, get, kept, lines, values

LATER = NOW + 100


def freshened(stored, *written: str, request=None):
    return freshen(stored, answer(*written, status=304), LATER - 1, LATER, POLICY, request)


@pytest.mark.parametrize(
    "name",
    [
        *("Test-Header", "X-Test-Header", "Content-Foo", "X-Content-Foo", "Content-Type", "Content-Location", "Set-Cookie"),
        *("Content-Security-Policy", "X-Frame-Options", "ETag", "Expires", "Last-Modified"),
    ],
)
def test_fields_of_a_304_replace_the_stored_ones(name):
    stored = kept("Cache-Control: max-age=2", "First: 1", f"{name}: a", "Last: 1")
    fresh = freshened(stored, f"{name.upper()}: b")
    assert values(fresh.head.fields, name) == ["b"]
    assert [line.lower() for line, _ in fresh.head.fields] == [b"cache-control", b"first", name.lower().encode(), b"last", b"date"]


@pytest.mark.parametrize("name", ["Content-Length", "Content-Encoding", "Content-Range", "Content-Digest", "Content-MD5"])
def test_fields_of_the_octets_stay(name):
    stored = kept("Cache-Control: max-age=2", f"{name}: a")
    assert values(freshened(stored, f"{name}: b").head.fields, name) == ["a"]
    assert values(freshened(kept("Cache-Control: max-age=2"), f"{name}: b").head.fields, name) == []


@pytest.mark.parametrize("name", ["Connection", "Keep-Alive", "Transfer-Encoding", "Proxy-Authenticate", "Age"])
def test_fields_of_the_hop_do_not_come_in(name):
    assert values(freshened(kept("Cache-Control: max-age=2"), f"{name}: x").head.fields, name) == []


def test_fields_that_the_304_omits_stay():
    assert values(freshened(kept("Cache-Control: max-age=2", "A: 1")).head.fields, "a") == ["1"]


def test_all_lines_of_a_name_are_replaced_together():
    fields = merged(lines("A: 1", "B: 1", "a: 2"), lines("C: 9", "A: 3", "D: 9", "A: 4"))
    assert fields == list(lines("A: 3", "A: 4", "B: 1", "C: 9", "D: 9"))


def test_it_is_fresh_anew_by_the_clock_of_the_304():
    stored = kept("Cache-Control: max-age=60", "Age: 50", f"Date: {date()}")
    fresh = freshened(stored, f"Date: {date(100)}")
    assert not is_fresh(stored, LATER) and is_fresh(fresh, LATER + 58)
    assert (fresh.initial_age_seconds, fresh.response_at, fresh.date_at) == (1, LATER, LATER)
    assert freshened(stored, "Age: 30").initial_age_seconds == 31


def test_a_304_without_a_date_is_dated_on_arrival():
    fresh = freshened(kept("Cache-Control: max-age=60", f"Date: {date()}"))
    assert values(fresh.head.fields, "date") == [date(100)] and fresh.date_at == LATER


def test_a_304_changes_the_lifetime_and_what_is_allowed():
    stored = kept("Cache-Control: max-age=60", 'ETag: "a"')
    fresh = freshened(stored, "Cache-Control: max-age=5, must-revalidate")
    assert fresh.lifetime_seconds == 5 and not fresh.may_serve_stale
    for forbidding in ("no-store", "private", "no-cache"):
        assert freshened(stored, f"Cache-Control: {forbidding}, max-age=60").always_validate


def test_a_304_can_change_vary():
    stored = kept("Cache-Control: max-age=60", "Vary: A, B", request=get("A: 1", "B: 2"))
    assert freshened(stored, "Vary: A, C", request=get("A: 1", "B: 2", "C: 3")).selecting == ((b"a", b"1"), (b"c", b"3"))
    assert freshened(stored, "Vary: B").selecting == ((b"b", b"2"),)
    assert freshened(stored, "Vary: C").selecting is None
    assert freshened(stored).selecting == stored.selecting
    assert freshened(kept("Cache-Control: max-age=60"), "Vary: *", request=get()).selecting is None


@pytest.mark.parametrize(
    ("stored", "update", "is_fitting"),
    [
        (['ETag: "a"'], ['ETag: "a"'], True),
        (['ETag: "a"'], ['ETag: "b"'], False),
        (['ETag: W/"a"'], ['ETag: W/"a"'], True),
        (['ETag: W/"a"'], ['ETag: "a"'], True),
        (['ETag: W/"a"'], ['ETag: W/"b"'], False),
        (['ETag: "a"'], [], True),
        ([f"Last-Modified: {date(-9)}"], [f"Last-Modified: {date(-9)}"], True),
        ([f"Last-Modified: {date(-9)}"], [f"Last-Modified: {date(-8)}"], False),
        (['ETag: "a"', f"Last-Modified: {date(-9)}"], ['ETag: "a"', f"Last-Modified: {date(-8)}"], True),
        ([f"Last-Modified: {date(-9)}"], ['ETag: "new"'], True),
        ([], [], True),
    ],
)
def test_which_stored_response_a_304_is_about(stored, update, is_fitting):
    assert fits(kept("Cache-Control: max-age=60", *stored), answer(*update, status=304)) is is_fitting


HEADED = ("Cache-Control: max-age=60", 'ETag: "a"', "Content-Length: 5", f"Date: {date()}", "Old: 1")


@pytest.mark.parametrize("written", [(), ('ETag: "a"',), ("Content-Length: 5",), ('ETag: "a"', "Content-Length: 5")])
def test_a_head_that_agrees_freshens(written):
    updated = apply_head(kept(*HEADED), answer("New: 2", *written), LATER, LATER, POLICY)
    assert is_fresh(updated, LATER) and values(updated.head.fields, "new") == ["2"] and values(updated.head.fields, "old") == ["1"]
    assert values(updated.head.fields, "content-length") == ["5"]


@pytest.mark.parametrize("written", [('ETag: "b"',), ("Content-Length: 6",), (f"Last-Modified: {date()}",)])
def test_a_head_that_disagrees_makes_stale(written):
    stored = kept(*HEADED)
    updated = apply_head(stored, answer(*written), NOW + 1, NOW + 1, POLICY)
    assert not is_fresh(updated, NOW + 1) and updated.head == stored.head


def test_a_head_that_fails_changes_nothing_and_one_that_finds_nothing_makes_stale():
    stored = kept(*HEADED)
    assert apply_head(stored, answer(status=503), NOW + 1, NOW + 1, POLICY) == stored
    assert not is_fresh(apply_head(stored, answer(status=410), NOW + 1, NOW + 1, POLICY), NOW + 1)
