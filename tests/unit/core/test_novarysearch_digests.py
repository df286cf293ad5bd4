from __future__ import annotations

import hashlib

import pytest

from minicdn.core.digests import digest_value, parse_digests
from minicdn.core.novarysearch import SearchRule, canonical_key, parse_no_vary_search
from tests.unit.core.making import lines


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("key-order", SearchRule(True, frozenset())),
        ("params", SearchRule(False, None)),
        ('params=("a" "b")', SearchRule(False, frozenset(("a", "b")))),
        ('params, except=("a")', SearchRule(False, None, frozenset(("a",)))),
        ('key-order, params=("a"), unknown=5', SearchRule(True, frozenset(("a",)))),
        *((value, None) for value in ("", "params=?0", "key-order=?0", "params=5", 'params="a"', "params=(a)", "key-order=1")),
        *((value, None) for value in ('except=("a")', 'params=("b"), except=("a")', "params, except", "params=(", "&")),
    ],
)
def test_rules(value, rule):
    assert parse_no_vary_search(lines(f"No-Vary-Search: {value}")) == rule


@pytest.mark.parametrize(
    ("rule", "one", "other", "is_same"),
    [
        ("params", "/a?x=1", "/a", True),
        ("params", "/a?x=1", "/b?x=1", False),
        ('params=("x")', "/a?x=1&y=2", "/a?y=2&x=3", True),
        ('params=("x")', "/a?y=1", "/a?y=2", False),
        ('params=("x y")', "/a?x+y=1", "/a?x%20y=2", True),
        ('params, except=("y")', "/a?x=1&y=2", "/a?y=2", True),
        ('params, except=("y")', "/a?y=1", "/a?y=2", False),
        ("key-order", "/a?x=1&y=2", "/a?y=2&x=1", True),
        ("key-order", "/a?x=1&x=2", "/a?x=2&x=1", False),
        ('params=("z")', "/a?x=1&y=2", "/a?y=2&x=1", False),
        ('params=("z")', "/a?x", "/a?x=", True),
    ],
)
def test_keys_that_mean_the_same(rule, one, other, is_same):
    found = parse_no_vary_search(lines(f"No-Vary-Search: {rule}"))
    assert (canonical_key(one, found) == canonical_key(other, found)) is is_same


def test_a_query_without_end_is_left_alone():
    key = "/a?" + "&".join("x=1" for _ in range(1000))
    assert canonical_key(key, SearchRule(False, None)) == key


SHA256 = hashlib.sha256(b"body").digest()
SHA512 = hashlib.sha512(b"body").digest()


def test_digests_are_written_and_read_back():
    value = digest_value({"sha-512": SHA512, "sha-256": SHA256})
    assert value.startswith(b"sha-256=:")
    assert parse_digests([(b"Repr-Digest", value)]) == {"sha-256": SHA256, "sha-512": SHA512}
    assert parse_digests([(b"Content-Digest", value)]) == {}
    assert parse_digests([(b"Content-Digest", value)], b"content-digest") != {}


@pytest.mark.parametrize("value", ["sha-256=:AAAA:", "sha-256=5", "md5=:AAAA:", "sha-256=:!:", "", "sha-256"])
def test_what_is_no_digest_is_nothing(value):
    assert parse_digests(lines(f"Repr-Digest: {value}")) == {}
