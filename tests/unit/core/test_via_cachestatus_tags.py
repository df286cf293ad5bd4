from __future__ import annotations

import pytest

from minicdn.core.cachestatus import add_cache_status, cache_status
from minicdn.core.tags import TAGS_MAX, invalidated_groups, parse_tags
from minicdn.core.via import add_via, has_passed, received_by, via_value
from tests.unit.core.making import lines, values


def test_via_is_added_behind_the_earlier_hops():
    fields = add_via(lines("Via: 1.0 fred", "A: 1"), "node-1")
    assert values(fields, "via") == ["1.0 fred", "1.1 node-1"]
    assert via_value("x", "2") == b"2 x"


@pytest.mark.parametrize("name", ["", "a b", "a,b", "a\r\nb", "a(b)"])
def test_a_pseudonym_is_a_token(name):
    with pytest.raises(ValueError):
        via_value(name)


@pytest.mark.parametrize(
    ("via", "is_loop"),
    [
        (["Via: 1.1 node-1"], True),
        (["Via: 1.0 fred, HTTP/1.1 NODE-1 (minicdn)"], True),
        (["Via: 1.0 fred", "via: 1.1 node-1"], True),
        (["Via: 1.1 node-11"], False),
        (["Via: 1.1 fred (node-1)"], False),
        (["Via: node-1"], False),
        (["Via:"], False),
        ([], False),
    ],
)
def test_a_message_that_was_here_before_is_known(via, is_loop):
    assert has_passed(lines(*via), "node-1") is is_loop


def test_received_by_of_nothing_is_nothing():
    assert received_by(b"") == b"" == received_by(b"1.1")


@pytest.mark.parametrize(
    ("told", "member"),
    [
        (dict(hit=True), b"n; hit"),
        (dict(hit=True, ttl=-3, detail="grace"), b"n; hit; ttl=-3; detail=grace"),
        (dict(fwd="uri-miss", fwd_status=200, ttl=60, stored=True), b"n; fwd=uri-miss; fwd-status=200; ttl=60; stored"),
        (dict(fwd="miss", collapsed=True, stored=False), b"n; fwd=miss; collapsed"),
        (dict(hit=True, fwd="stale", stored=True, collapsed=True), b"n; hit"),
        (dict(fwd="stale", key='/a"b\\c\u00fc', detail="two words"), b'n; fwd=stale; key="/a\\"b\\\\c?"; detail="two words"'),
    ],
)
def test_cache_status_members(told, member):
    assert cache_status("n", **told) == member


def test_cache_status_of_a_name_that_is_no_token():
    assert cache_status("10.0.0.5:11000", hit=True) == b'"10.0.0.5:11000"; hit'


def test_our_member_comes_last():
    fields = add_cache_status(lines("Cache-Status: origin; hit", "A: 1"), b"n; hit")
    assert values(fields, "cache-status") == ["origin; hit", "n; hit"]


def test_tags_come_from_four_fields():
    fields = lines("Surrogate-Key: a  b", "xkey: c, d", "Cache-Tag: e f,g", 'Cache-Groups: "h i", "j"')
    assert parse_tags(fields) == frozenset(("a", "b", "c", "d", "e f", "g", "h i", "j"))
    assert parse_tags(lines("Cache-Groups: not, strings")) == frozenset()
    assert parse_tags(lines('Cache-Groups: "broken')) == frozenset()


def test_tags_are_bounded():
    fields = lines("Surrogate-Key: " + " ".join(f"t{i}" for i in range(TAGS_MAX + 9)) + " " + "x" * 2000)
    assert parse_tags(fields) == frozenset(f"t{i}" for i in range(TAGS_MAX))


def test_groups_to_forget():
    assert invalidated_groups(lines('Cache-Group-Invalidation: "a";x, "b"', "Cache-Groups: c")) == frozenset(("a", "b"))
    assert invalidated_groups(()) == frozenset()
