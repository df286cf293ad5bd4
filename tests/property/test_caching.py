"""Laws of storing and serving that no combination of fields, instants and wishes may break."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from minicdn.core import cachecontrol, headers
from minicdn.core.dates import format_http_date
from minicdn.core.decide import Serve, Validate, decide, may_serve_on_error
from minicdn.core.freshness import (
    NotStored,
    Policy,
    age_seconds,
    current_age,
    expire,
    freshen,
    from_facts,
    from_wire,
    is_fresh,
    storable,
    to_facts,
    to_wire,
)
from minicdn.core.message import Head, Request
from minicdn.core.updating import NOT_UPDATED
from tests.unit.core.making import NOW

seconds = st.integers(min_value=0, max_value=300)
instants = st.floats(min_value=-100, max_value=2000).map(lambda after: NOW + after)
policies = st.builds(
    Policy,
    grace_seconds=st.sampled_from((0.0, 50.0, 1000.0)),
    negative_seconds=st.sampled_from((0.0, 10.0)),
    heuristic=st.booleans(),
    obey_request_directives=st.booleans(),
)
flags = st.sampled_from(
    (
        "no-store",
        "no-cache",
        "private",
        "public",
        "must-revalidate",
        "proxy-revalidate",
        "must-understand",
        "immutable",
        'no-cache="X"',
        'private="X"',
    )
)
timed = st.tuples(st.sampled_from(("max-age", "s-maxage", "stale-while-revalidate", "stale-if-error")), seconds).map(
    lambda pair: f"{pair[0]}={pair[1]}"
)
wishes = st.one_of(
    st.sampled_from(("no-cache", "no-store", "max-stale", "only-if-cached")),
    st.tuples(st.sampled_from(("max-age", "max-stale", "min-fresh", "stale-if-error")), seconds).map(lambda pair: f"{pair[0]}={pair[1]}"),
)


def listed(members):
    return st.lists(members, max_size=4).map(lambda chosen: ", ".join(chosen).encode())


dates_near = st.integers(min_value=-300, max_value=300).map(lambda after: format_http_date(NOW + after))
response_line = st.one_of(
    st.tuples(st.sampled_from((b"Cache-Control", b"CDN-Cache-Control")), listed(st.one_of(flags, timed))),
    st.tuples(st.sampled_from((b"Date", b"Expires", b"Last-Modified")), dates_near),
    st.tuples(st.just(b"Age"), seconds.map(lambda age: b"%d" % age)),
    st.tuples(st.just(b"ETag"), st.sampled_from((b'"a"', b'W/"a"', b'"b"'))),
    st.tuples(st.just(b"Vary"), st.sampled_from((b"foo", b"foo, bar", b"*"))),
    st.tuples(st.sampled_from((b"X", b"Content-Length", b"Connection", b"Set-Cookie")), st.sampled_from((b"1", b"2", b"x"))),
)
responses = st.builds(Head, st.sampled_from((200, 206, 301, 404, 500, 599)), st.lists(response_line, max_size=6).map(tuple))
request_line = st.one_of(
    st.tuples(st.just(b"cache-control"), listed(wishes)),
    st.tuples(st.sampled_from((b"foo", b"bar")), st.sampled_from((b"1", b"2"))),
    st.tuples(st.sampled_from((b"authorization", b"if-none-match", b"if-match")), st.just(b'"a"')),
    st.just((b"pragma", b"no-cache")),
)
requests = st.builds(
    Request, st.sampled_from(("GET", "GET", "HEAD", "POST")), st.just(b"/"), st.just("/"), st.lists(request_line, max_size=3).map(tuple)
)


@given(requests, responses, policies)
def test_what_forbids_storing_is_never_stored(request, head, policy):
    outcome = storable(request, head, NOW, NOW, policy)
    directives, _ = cachecontrol.of_response(head.fields)
    if request.method != "GET" or directives.private or (directives.no_store and not directives.must_understand):
        assert isinstance(outcome, NotStored)
    if directives.must_understand and head.status == 599:
        assert isinstance(outcome, NotStored)


@given(requests, requests, responses, policies, instants)
def test_nothing_is_served_that_may_not_be(first, then, head, policy, now):
    stored = storable(first, head, NOW, NOW, policy)
    if isinstance(stored, NotStored):
        return
    plan = decide(then, stored, now, policy)
    directives, _ = cachecontrol.of_response(head.fields)
    if isinstance(plan, Serve):
        assert then.method in ("GET", "HEAD")
        assert not directives.no_cache and not directives.private
        assert plan.stale is not is_fresh(stored, now)
        assert not plan.refresh or plan.stale
        for name in (b"foo", b"bar"):
            if name in (headers.combined(head.fields, b"vary") or b""):
                assert headers.every(first.fields, name) == headers.every(then.fields, name)
    is_strict = directives.must_revalidate or directives.proxy_revalidate or directives.s_maxage is not None or directives.no_cache
    if is_strict:
        assert not (isinstance(plan, Serve) and plan.stale) and not may_serve_on_error(then, stored, now, policy)


@given(requests, requests, responses, policies, instants)
def test_nothing_outlives_its_lifetime_and_grace(first, then, head, policy, now):
    """Unless the client itself allows more (max-stale)."""
    stored = storable(first, head, NOW, NOW, policy)
    if isinstance(stored, NotStored):
        return
    directives, _ = cachecontrol.of_response(head.fields)
    plan = decide(then, stored, now, policy)
    past = current_age(stored, now) - stored.lifetime_seconds
    if isinstance(plan, Serve) and cachecontrol.of_request(then.fields).max_stale is None:
        assert past <= (directives.stale_while_revalidate or 0)
    if may_serve_on_error(then, stored, now, policy):
        grace = policy.grace_seconds if directives.stale_if_error is None else directives.stale_if_error
        assert past <= grace
    if isinstance(plan, Validate):
        assert plan.serve_on_error is may_serve_on_error(then, stored, now, policy)


@given(requests, responses, policies, instants, instants)
def test_the_wire_and_another_clock_change_nothing(request, head, policy, now, there):
    stored = storable(request, head, NOW, NOW, policy)
    if isinstance(stored, NotStored):
        return
    assert from_wire(to_wire(stored)) == stored
    received = from_facts(to_facts(stored), stored.head, current_age(stored, now), there)
    assert abs(current_age(received, there) - current_age(stored, now)) < 1e-6
    assert abs((received.fresh_until - there) - (stored.lifetime_seconds - current_age(stored, now))) < 1e-6


@given(requests, responses, policies, instants)
def test_what_was_purged_is_never_served_unasked(request, head, policy, now):
    stored = storable(request, head, NOW, NOW, policy)
    if isinstance(stored, NotStored):
        return
    purged = expire(stored, now)
    plain = Request("GET", b"/", "/", tuple(headers.without(request.fields, frozenset((b"cache-control",)))))
    assert not isinstance(decide(plain, purged, max(now, NOW), policy), Serve)
    assert age_seconds(purged, now) == age_seconds(stored, now)


@given(requests, responses, responses, policies, instants)
def test_a_304_updates_by_the_law(request, head, update, policy, later):
    """Each name is wholly the update's where the update has it and may, and wholly the stored one's otherwise (RFC 9111 §3.2)."""
    stored = storable(request, head, NOW, NOW, policy)
    if isinstance(stored, NotStored):
        return
    fresh = freshen(stored, Head(304, update.fields), later, later, policy, request)
    brought = headers.end_to_end(update.fields)
    directives, _ = cachecontrol.of_response(fresh.head.fields)
    for name in (b"cache-control", b"etag", b"set-cookie", b"x", b"vary", b"content-length", b"last-modified", b"expires"):
        news = headers.every(brought, name) if name not in NOT_UPDATED else []
        expected = news or headers.every(stored.head.fields, name)
        if name not in directives.private_fields:
            assert headers.every(fresh.head.fields, name) == expected
    assert fresh.head.status == stored.head.status and fresh.response_at == later
    assert len(headers.every(fresh.head.fields, b"date")) >= 1 and not headers.has(fresh.head.fields, b"age")


@given(requests, responses, policies, instants)
def test_an_empty_304_is_a_new_arrival_of_the_same(request, head, policy, later):
    stored = storable(request, head, NOW, NOW, policy)
    if isinstance(stored, NotStored):
        return
    once = freshen(stored, Head(304, ()), later, later, policy, request)
    assert freshen(once, Head(304, ()), later, later, policy, request) == once
