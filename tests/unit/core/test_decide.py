"""The plan for every kind of request: RFC 9111 §4 and §5.2.1, RFC 5861, RFC 8246 as tables."""

from __future__ import annotations

import pytest

from minicdn.core.decide import Fetch, Refuse, Serve, Validate, decide, invalidates, is_failure, is_method_cached, may_serve_on_error
from minicdn.core.freshness import Policy, expire
from tests.unit.core.making import NOW, POLICY, date, get, kept

DEAF = Policy(obey_request_directives=False)
FRESH, STALE = 30, 70
"""Seconds after arrival, for a lifetime of sixty."""


def plan(response: str, after: float, *asked: str, policy: Policy = POLICY, method: str = "GET", more: tuple[str, ...] = ()):
    stored = kept(f"Cache-Control: {response}", 'ETag: "a"', f"Last-Modified: {date(-99)}", f"Date: {date()}", *more)
    return decide(get(*asked, method=method), stored, NOW + after, policy)


SERVED = Serve(stale=False, refresh=False, detail="fresh")


@pytest.mark.parametrize(
    "asked",
    [
        [],
        ["Cache-Control: max-age=30"],
        ["Cache-Control: max-age=x, max-stale"],
        ["Cache-Control: min-fresh=30"],
        ["Cache-Control: max-stale=0"],
        ["Cache-Control: only-if-cached"],
        ["Cache-Control: no-store"],
        ["Cache-Control: unknown"],
        ["Pragma: unknown"],
        ["Cookie: a=b"],
        ["Authorization: Basic eA=="],
        ["Range: bytes=0-1"],
        ['If-None-Match: "b"'],
        ['If-Match: "a"'],
        [f"If-Unmodified-Since: {date()}"],
    ],
)
def test_fresh_is_served(asked):
    served = plan("max-age=60", FRESH, *asked)
    assert isinstance(served, Serve) and not served.stale and not served.refresh


@pytest.mark.parametrize(
    "asked",
    [
        "Cache-Control: no-cache",
        "Cache-Control: max-age=0",
        "Cache-Control: max-age=29",
        "Cache-Control: max-age=x",
        "Cache-Control: max-age=20, max-stale=5",
        "Cache-Control: min-fresh=31",
        "Cache-Control: min-fresh=x",
        "Pragma: no-cache",
    ],
)
def test_a_client_can_force_validation_where_the_operator_lets_it(asked):
    forced = plan("max-age=60", FRESH, asked)
    assert isinstance(forced, Validate) and forced.fwd == "request"
    assert plan("max-age=60", FRESH, asked, policy=DEAF) == SERVED


@pytest.mark.parametrize(
    ("asked", "is_served"),
    [("Cache-Control: max-age=0", True), ("Cache-Control: no-cache", False), ("Pragma: no-cache", False)],
)
def test_an_immutable_body_is_not_asked_about_on_a_reload(asked, is_served):
    assert isinstance(plan("max-age=60, immutable", FRESH, asked), Serve) is is_served
    assert isinstance(plan("max-age=60, immutable", STALE, asked), Validate)


@pytest.mark.parametrize(
    "asked",
    ['If-Match: "b"', 'If-Match: W/"a"', f"If-Unmodified-Since: {date(-200)}"],
)
def test_a_precondition_of_the_origins_is_not_refused_unasked(asked):
    assert isinstance(plan("max-age=60", FRESH, asked), Validate)


@pytest.mark.parametrize(
    ("response", "asked", "expected"),
    [
        ("max-age=60", [], Validate("stale", True)),
        ("max-age=60, must-revalidate", [], Validate("stale", False)),
        ("max-age=60, proxy-revalidate", [], Validate("stale", False)),
        ("s-maxage=60", [], Validate("stale", False)),
        ("max-age=60, stale-if-error=5", [], Validate("stale", False)),
        ("max-age=60, stale-if-error=10", [], Validate("stale", True)),
        ("max-age=60", ["Cache-Control: stale-if-error=5"], Validate("stale", False)),
        ("max-age=60, stale-if-error=5", ["Cache-Control: stale-if-error=99"], Validate("stale", False)),
        # The client allows stale (RFC 9111 §5.2.1.2).
        ("max-age=60", ["Cache-Control: max-stale"], Serve(True, False, "the client allows max-stale")),
        ("max-age=60", ["Cache-Control: max-stale=10"], Serve(True, False, "the client allows max-stale")),
        ("max-age=60", ["Cache-Control: max-stale=9"], Validate("stale", True)),
        ("max-age=60", ["Cache-Control: max-stale=x"], Validate("stale", True)),
        ("max-age=60, must-revalidate", ["Cache-Control: max-stale"], Validate("stale", False)),
        ("s-maxage=60", ["Cache-Control: max-stale"], Validate("stale", False)),
        ("max-age=60", ["Cache-Control: max-age=60, max-stale=10"], Serve(True, False, "the client allows max-stale")),
        # The upstream allows stale meanwhile (RFC 5861 §3).
        ("max-age=60, stale-while-revalidate=10", [], Serve(True, True, "stale-while-revalidate")),
        ("max-age=60, stale-while-revalidate=9", [], Validate("stale", True)),
        ("max-age=60, stale-while-revalidate=x", [], Validate("stale", True)),
        ("max-age=60, stale-while-revalidate=10, must-revalidate", [], Validate("stale", False)),
        ("s-maxage=60, stale-while-revalidate=10", [], Validate("stale", False)),
        ("max-age=60, stale-while-revalidate=10", ["Cache-Control: max-age=100"], Validate("stale", True)),
        ("max-age=60, stale-while-revalidate=10", ["Cache-Control: only-if-cached"], Serve(True, True, "stale-while-revalidate")),
        ("max-age=60", ["Cache-Control: only-if-cached"], Refuse(504, "only-if-cached, and nothing stored will do")),
    ],
)
def test_ten_seconds_stale(response, asked, expected):
    assert plan(response, STALE, *asked) == expected


@pytest.mark.parametrize("after", [0, FRESH, STALE])
@pytest.mark.parametrize("asked", [[], ["Cache-Control: max-stale"]])
def test_no_cache_is_validated_each_time(after, asked):
    assert plan("max-age=60, no-cache, stale-while-revalidate=60", after, *asked) == Validate("the response says no-cache", False)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "M-SEARCH", "PURGE"])
def test_other_methods_are_passed_on(method):
    assert plan("max-age=60", FRESH, method=method) == Fetch("a method that is passed on", "method")


def test_head_is_answered_like_get():
    assert plan("max-age=60", FRESH, method="HEAD") == SERVED
    assert is_method_cached("HEAD") and is_method_cached("GET") and not is_method_cached("POST")


def test_nothing_stored_is_fetched_or_refused():
    assert decide(get(), None, NOW, POLICY) == Fetch("nothing is stored", "uri-miss")
    refused = decide(get("Cache-Control: only-if-cached"), None, NOW, POLICY)
    assert isinstance(refused, Refuse) and refused.status == 504
    assert isinstance(decide(get("Cache-Control: only-if-cached"), None, NOW, DEAF), Refuse)


@pytest.mark.parametrize("vary", ["Foo", "*", "Foo, *"])
def test_a_variant_that_does_not_fit_is_never_used(vary):
    stored = kept("Cache-Control: max-age=60", 'ETag: "a"', f"Vary: {vary}", request=get("Foo: 1"))
    request = get("Foo: 2")
    missed = decide(request, stored, NOW, POLICY)
    assert isinstance(missed, Fetch) and missed.fwd == "vary-miss"
    assert not may_serve_on_error(request, stored, NOW, POLICY)


def test_grace_ends():
    stored = kept("Cache-Control: max-age=60", policy=Policy(grace_seconds=100))
    assert may_serve_on_error(get(), stored, NOW + 160, POLICY)
    assert not may_serve_on_error(get(), stored, NOW + 161, POLICY)
    assert not may_serve_on_error(get("Cache-Control: stale-if-error=0"), stored, NOW + 61, POLICY)


def test_what_was_purged_is_validated_and_still_stands_in():
    purged = expire(kept("Cache-Control: max-age=60, stale-while-revalidate=60"), NOW + 5)
    assert decide(get(), purged, NOW + 5, POLICY) == Validate("stale", True)


@pytest.mark.parametrize(
    ("method", "status", "is_invalidating"),
    [
        *((method, 200, True) for method in ("POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "UNKNOWN")),
        *(("POST", status, True) for status in (201, 204, 301, 303, 304)),
        *(("POST", status, False) for status in (400, 404, 412, 500, 503, 100)),
        *((method, 200, False) for method in ("GET", "HEAD", "OPTIONS", "TRACE")),
    ],
)
def test_unsafe_methods_invalidate_unless_they_fail(method, status, is_invalidating):
    assert invalidates(method, status) is is_invalidating


def test_failures_that_stale_may_hide():
    assert [status for status in range(200, 600) if is_failure(status)] == [500, 502, 503, 504]
