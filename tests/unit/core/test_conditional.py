"""Preconditions answered and asked: RFC 9110 §13, RFC 9111 §4.3."""

from __future__ import annotations

import pytest

from minicdn.core.conditional import (
    evaluate,
    if_range_matches,
    not_modified_fields,
    strip_conditionals,
    strong_validator,
    validation_fields,
)
from tests.unit.core.making import NOW, answer, date, get, lines, values

RFC850 = "Sunday, 06-Nov-94 08:49:37 GMT"


@pytest.mark.parametrize(
    ("asked", "etag", "status"),
    [
        ('"a"', '"a"', 304),
        ('W/"a"', 'W/"a"', 304),
        ('"a"', 'W/"a"', 304),
        ('W/"a"', '"a"', 304),
        ("*", '"a"', 304),
        ("*", None, 304),
        ('"a", "b", "c"', '"a"', 304),
        ('"b", W/"a" ,"c"', '"a"', 304),
        ('"b","c","a"', '"a"', 304),
        ('"b,", "a"', '"a"', 304),
        ('"\xfc"', '"\xfc"', 304),
        ("a", '"a"', 304),
        ("a", "a", 304),
        ('"a"', "a", 304),
        ('"b"', '"a"', None),
        ('"A"', '"a"', None),
        ('"a"', None, None),
        ('"a, b"', '"a"', None),
        ("", '"a"', None),
        ('"aa"', '"a"', None),
    ],
)
def test_if_none_match(asked, etag, status):
    head = answer(*([] if etag is None else [f"ETag: {etag}"]), f"Last-Modified: {date(-60)}")
    assert evaluate(get(f"If-None-Match: {asked}"), head, NOW) == status
    # It alone is asked: an If-Modified-Since that would hold changes nothing (RFC 9110 §13.1.3).
    assert evaluate(get(f"If-None-Match: {asked}", f"If-Modified-Since: {date()}"), head, NOW) == status
    assert evaluate(get(f"If-None-Match: {asked}", "If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT"), head, NOW) == status


@pytest.mark.parametrize(
    ("since", "written", "status"),
    [
        (date(-60), [f"Last-Modified: {date(-60)}"], 304),
        (date(-50), [f"Last-Modified: {date(-60)}"], 304),
        (date(-61), [f"Last-Modified: {date(-60)}"], None),
        (RFC850, [f"Last-Modified: {date(-60)}"], 304),
        ("Sun Nov  6 08:49:37 1994", [f"Last-Modified: {date(-60)}"], 304),
        ("yesterday", [f"Last-Modified: {date(-60)}"], None),
        ("", [f"Last-Modified: {date(-60)}"], None),
        (date(), [f"Date: {date(-60)}"], 304),
        (date(-61), [f"Date: {date(-60)}"], None),
        (date(), [f"Last-Modified: {date(9)}", f"Date: {date(-60)}"], None),
        (date(), [], None),
    ],
)
def test_if_modified_since(since, written, status):
    assert evaluate(get(f"If-Modified-Since: {since}"), answer(*written), NOW) == status


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (['If-Match: "a"'], None),
        (['If-Match: "b", "a"'], None),
        (["If-Match: *"], None),
        (['If-Match: "b"'], 412),
        (['If-Match: W/"a"'], 412),
        (["If-Match: a"], 412),
        (['If-Match: "b"', f"If-Unmodified-Since: {date()}"], 412),
        (['If-Match: "a"', f"If-Unmodified-Since: {date(-99)}"], None),
        (['If-Match: "a"', 'If-None-Match: "a"'], 304),
        (['If-Match: "b"', 'If-None-Match: "a"'], 412),
        ([f"If-Unmodified-Since: {date(-60)}"], None),
        ([f"If-Unmodified-Since: {date(-61)}"], 412),
        (["If-Unmodified-Since: yesterday"], None),
        ([], None),
    ],
)
def test_the_origins_preconditions_come_first(asked, status):
    assert evaluate(get(*asked), answer('ETag: "a"', f"Last-Modified: {date(-60)}"), NOW) == status


def test_a_weak_tag_is_no_match_for_if_match():
    assert evaluate(get('If-Match: W/"a"'), answer('ETag: W/"a"'), NOW) == 412


@pytest.mark.parametrize("status", [404, 301, 500, 416])
def test_only_successes_are_tested(status):
    assert evaluate(get('If-None-Match: "a"'), answer('ETag: "a"', status=status), NOW) is None
    assert evaluate(get('If-Match: "b"'), answer('ETag: "a"', status=status), NOW) is None


def test_other_methods_are_not_tested_here():
    assert evaluate(get('If-None-Match: "a"', method="PUT"), answer('ETag: "a"'), NOW) is None
    assert evaluate(get('If-None-Match: "a"', method="HEAD"), answer('ETag: "a"'), NOW) == 304


def test_a_304_has_no_fields_of_the_content():
    kept_fields = ("Cache-Control: max-age=60", "Content-Location: /b", "Date: x", 'ETag: "a"', "Expires: x", "Vary: a")
    also_kept = ("Content-Security-Policy: x", "Set-Cookie: a", "Age: 5", "Via: 1.1 x", "X-Other: 1")
    dropped = ("Content-Type: a/b", "Content-Length: 5", "content-encoding: gzip", "Content-Range: x", "Last-Modified: x", "Repr-Digest: x")
    fields = not_modified_fields(lines(*kept_fields, *dropped, *also_kept))
    assert fields == list(lines(*kept_fields, *also_kept))


def test_a_304_without_a_tag_tells_the_date_of_the_change():
    assert values(not_modified_fields(lines(f"Last-Modified: {date()}")), "last-modified") == [date()]


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        (['ETag: "a"'], ['If-None-Match: "a"']),
        (['ETag: W/"a"', f"Last-Modified: {date()}"], ['If-None-Match: W/"a"', f"If-Modified-Since: {date()}"]),
        ([f"last-modified: {date()}"], [f"If-Modified-Since: {date()}"]),
        ([], []),
    ],
)
def test_the_upstream_is_asked_with_what_is_stored(written, asked):
    assert validation_fields(answer(*written)) == list(lines(*asked))


def test_the_clients_own_preconditions_stay_here():
    fields = lines(
        "A: 1", 'If-None-Match: "a"', "If-Modified-Since: x", "if-match: *", "If-Unmodified-Since: x", "If-Range: x", "Range: bytes=0-"
    )
    assert strip_conditionals(fields) == list(lines("A: 1", "Range: bytes=0-"))


@pytest.mark.parametrize(
    ("written", "validator"),
    [
        (['ETag: "a"'], b'"a"'),
        (['ETag: ""'], b'""'),
        (['ETag: W/"a"'], None),
        (['ETag: W/"a"', f"Last-Modified: {date(-60)}", f"Date: {date()}"], None),
        (["ETag: a"], None),
        (['ETag: "a'], None),
        ([f"Last-Modified: {date(-1)}", f"Date: {date()}"], date(-1).encode()),
        ([f"Last-Modified: {date()}", f"Date: {date()}"], None),
        ([f"Last-Modified: {date(-60)}"], None),
        (["Last-Modified: yesterday", f"Date: {date()}"], None),
        ([], None),
    ],
)
def test_strong_validators(written, validator):
    assert strong_validator(answer(*written)) == validator


@pytest.mark.parametrize(
    ("asked", "written", "is_matching"),
    [
        ([], [], True),
        (['If-Range: "a"'], ['ETag: "a"'], True),
        (['If-Range: "a"'], ['ETag: "b"'], False),
        (['If-Range: W/"a"'], ['ETag: W/"a"'], False),
        (['If-Range: "a"'], ['ETag: W/"a"'], False),
        (['If-Range: "a"'], [], False),
        ([f"If-Range: {date(-60)}"], [f"Last-Modified: {date(-60)}", f"Date: {date()}"], True),
        ([f"If-Range: {date(-60)}"], [f"Last-Modified: {date(-60)}", f"Date: {date()}", 'ETag: W/"a"'], True),
        ([f"If-Range: {date(-59)}"], [f"Last-Modified: {date(-60)}", f"Date: {date()}"], False),
        ([f"If-Range: {date()}"], [f"Last-Modified: {date()}", f"Date: {date()}"], False),
        ([f"If-Range: {date(-60)}"], [f"Last-Modified: {date(-60)}"], False),
        (["If-Range: nonsense"], ["ETag: nonsense"], False),
    ],
)
def test_if_range(asked, written, is_matching):
    assert if_range_matches(get(*asked), answer(*written)) is is_matching
