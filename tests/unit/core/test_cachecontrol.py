from __future__ import annotations

import math

import pytest

from minicdn.core.cachecontrol import SECONDS_MAX, Directives, of_request, of_response, parse_cache_control, parse_targeted
from tests.unit.core.making import lines


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"max-age=60", 60),
        (b"MaX-AgE=60", 60),
        (b'max-age="60"', 60),
        (b"max-age=0060", 60),
        (b"max-age=0", 0),
        (b"foo, max-age=60,,bar=baz", 60),
        (b"\t max-age=60 \t", 60),
        (b'extension="max-age=3600", max-age=60', 60),
        (b'max-age=60, extension="a, max-age=3600"', 60),
        (b"max-age=2147483647", SECONDS_MAX - 1),
        (b"max-age=2147483648", SECONDS_MAX),
        (b"max-age=99999999999", SECONDS_MAX),
        (b"max-age=" + b"9" * 100_000, SECONDS_MAX),
        (b"max-age=60, max-age=60", 60),
        # Unreadable, or two minds: stale (RFC 9111 §4.2.1).
        (b"max-age=60, max-age=61", 0),
        (b"max-age=61, max-age=60, max-age=60", 0),
        (b"max-age", 0),
        (b"max-age=", 0),
        (b"max-age=-60", 0),
        (b"max-age=60.5", 0),
        (b"max-age=60a", 0),
        (b"max-age=a60", 0),
        (b"max-age='60'", 0),
        (b"max-age = 60", 0),
        (b"max-age =60", 0),
        (b"max-age= 60", 0),
        (b"max-age=+60", 0),
        (b"max-age=\xb2", 0),
        (b"max-age=6_0", 0),
        (b"s-max-age=60", None),
        (b"xmax-age=60", None),
        (b'"max-age=60"', None),
    ],
)
def test_max_age(value, seconds):
    assert parse_cache_control([value]).max_age == seconds


def test_lines_are_read_together():
    assert parse_cache_control([b"max-age=1", b"s-maxage=2, public"]) == Directives(max_age=1, s_maxage=2, public=True)
    assert parse_cache_control([b"max-age=1", b"max-age=2"]).max_age == 0


@pytest.mark.parametrize(
    ("value", "directives"),
    [
        (b"No-Store", Directives(no_store=True)),
        (b"no-store=yes", Directives(no_store=True)),
        (b"public, must-revalidate", Directives(public=True, must_revalidate=True)),
        (b"proxy-revalidate,must-understand,immutable", Directives(proxy_revalidate=True, must_understand=True, immutable=True)),
        (b"no-transform, only-if-cached", Directives(no_transform=True, only_if_cached=True)),
        (b"stale-while-revalidate=5, stale-if-error=6", Directives(stale_while_revalidate=5, stale_if_error=6)),
        (b"stale-while-revalidate=x, stale-if-error", Directives(stale_while_revalidate=0, stale_if_error=0)),
        (b"max-stale", Directives(max_stale=math.inf)),
        (b"max-stale=5", Directives(max_stale=5)),
        (b"max-stale=x", Directives(max_stale=0)),
        (b"min-fresh=5", Directives(min_fresh=5)),
        (b"min-fresh=x", Directives(min_fresh=SECONDS_MAX)),
        (b"no-cache", Directives(no_cache=True)),
        (b'no-cache="A, b"', Directives(no_cache_fields=frozenset((b"a", b"b")))),
        (b"no-cache=a", Directives(no_cache_fields=frozenset((b"a",)))),
        (b'no-cache=""', Directives(no_cache=True)),
        (b'no-cache="a b"', Directives(no_cache=True)),
        (b'no-cache, no-cache="a"', Directives(no_cache=True, no_cache_fields=frozenset((b"a",)))),
        (b'private="Set-Cookie"', Directives(private_fields=frozenset((b"set-cookie",)))),
        (b"private", Directives(private=True)),
        (b'private="', Directives(private=True)),
        (b"", Directives()),
        (b"=, =5, ;;", Directives()),
    ],
)
def test_directives(value, directives):
    assert parse_cache_control([value]) == directives


@pytest.mark.parametrize(
    ("values", "directives"),
    [
        ([b"max-age=60"], Directives(max_age=60)),
        ([b"max-age=60;a=1, foo"], Directives(max_age=60)),
        ([b"max-age=60", b"no-cache"], Directives(max_age=60, no_cache=True)),
        ([b"max-age=99999999999"], Directives(max_age=SECONDS_MAX)),
        ([b"max-age=1, max-age=2"], Directives(max_age=2)),
        ([b'no-cache="a"'], Directives(no_cache_fields=frozenset((b"a",)))),
        ([b"no-store=?0, private"], Directives(private=True)),
        ([b"none"], Directives()),
        # The whole field is as if absent (RFC 9213 §2.1).
        ([b"max-age=60, &&&"], None),
        ([b'max-age="60"'], None),
        ([b"max-age=60.5"], None),
        ([b"max-age"], None),
        ([b"max-age=-1"], None),
        ([b"MAX-AGE=60"], None),
        ([b"max-age =60"], None),
        ([b"max-age=60,"], None),
        ([b"no-store=1"], None),
        ([b"private=5"], None),
        ([b""], None),
        ([], None),
        ([b"max-age=\xff"], None),
    ],
)
def test_targeted_fields_are_dictionaries(values, directives):
    assert parse_targeted(values) == directives


def test_the_nearest_targeted_field_that_is_valid_rules():
    fields = lines("Cache-Control: no-store", "CDN-Cache-Control: max-age=1", "MiniCDN-CDN-Cache-Control: max-age=2")
    assert of_response(fields) == (Directives(max_age=2), b"minicdn-cdn-cache-control")
    assert of_response(fields[:2]) == (Directives(max_age=1), b"cdn-cache-control")
    assert of_response(fields[:1]) == (Directives(no_store=True), b"cache-control")
    invalid = lines("Cache-Control: no-store", "CDN-Cache-Control: max-age=1, &")
    assert of_response(invalid) == (Directives(no_store=True), b"cache-control")


def test_pragma_counts_only_where_cache_control_is_silent():
    assert of_request(lines("pragma: x, No-Cache")).no_cache
    assert not of_request(lines("pragma: no-cache", "cache-control: max-stale")).no_cache
    assert not of_request(lines("pragma: other")).no_cache
