"""What is remembered of responses that are alike says of each the same as reading it would."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from minicdn.core import headers, vary
from minicdn.core.dates import format_http_date, parse_http_date
from minicdn.core.lifetime import Policy
from minicdn.core.message import Head, Request
from minicdn.core.names import ALIKE_BYTES_MAX, ALIKE_LINES_MAX, LINES_BYTES_MAX, by_lines, by_names, names_of
from minicdn.core.ruling import RULING_BYTES_MAX, RULING_LINES_MAX, read, ruling_of
from minicdn.core.stored import Stored
from minicdn.core.storing import storable
from minicdn.core.updating import freshen
from tests.property.plain_storing import plainly_freshened, plainly_storable
from tests.property.test_caching import flags, listed, requests, responses, timed
from tests.unit.core.making import NOW

policies = st.builds(
    Policy,
    grace_seconds=st.sampled_from((0.0, 50.0)),
    negative_seconds=st.sampled_from((0.0, 10.0)),
    heuristic=st.booleans(),
    obey_request_directives=st.booleans(),
    default_ttls=st.sampled_from(((), (("/a*", 30.0),), (("/b", 7.0), ("*", -1.0)))),
)
asks = st.builds(
    lambda request, key, more: Request(request.method, key.encode(), key, (*request.fields, *more)),
    requests,
    st.sampled_from(("/a", "/a/b", "/b")),
    st.sampled_from(((), ((b"accept-encoding", b"gzip, br"),), ((b"authorization", b"x"),))),
)
odd_line = st.one_of(
    st.tuples(
        st.sampled_from((b"cache-control", b"CACHE-CONTROL", b"MiniCDN-CDN-Cache-Control", b"CDN-cache-control")),
        st.one_of(
            listed(st.one_of(flags, timed)), st.sampled_from((b"", b"max-age=", b"max-age=x, public", b"?", b'private="Set-Cookie"'))
        ),
    ),
    st.tuples(
        st.sampled_from((b"date", b"DATE", b"Expires", b"last-modified")),
        st.sampled_from((b"0", b"", b"Sunday, 06-Nov-94 08:49:37 GMT", b"Sun Nov  6 08:49:37 1994", b"Sun, 30 Feb 1994 08:49:37 GMT")),
    ),
    st.tuples(st.sampled_from((b"Connection", b"keep-alive", b"TE")), st.sampled_from((b"close", b"date, cache-control", b"ETag", b"age"))),
    st.tuples(st.sampled_from((b"age", b"AGE")), st.sampled_from((b"5", b"x", b"x, 7"))),
    st.tuples(st.sampled_from((b"vary", b"VARY")), st.sampled_from((b"Accept-Encoding", b"foo,*", b""))),
    st.tuples(st.sampled_from((b"Surrogate-Key", b"Cache-Tag", b"Cache-Groups")), st.sampled_from((b"a b", b"a, b", b'"a", "b"'))),
)
heads = st.builds(
    lambda head, more, at: Head(head.status, (*head.fields[:at], *more, *head.fields[at:])),
    responses,
    st.lists(odd_line, max_size=5),
    st.integers(0, 6),
)
delays = st.sampled_from((0.0, 0.4, 3.0))


@given(asks, heads, policies, delays, delays)
def test_storing_says_what_reading_each_response_says(request, head, policy, delay, late):
    plain = plainly_storable(request, head, NOW - delay, NOW + late, policy)
    assert storable(request, head, NOW - delay, NOW + late, policy) == plain
    assert storable(request, head, NOW - delay, NOW + late, policy) == plain, "the second time"


@given(asks, heads, heads, policies, st.booleans())
def test_a_304_says_what_reading_it_says(request, head, news, policy, is_asked):
    stored = storable(request, head, NOW, NOW, policy)
    if isinstance(stored, Stored):
        arguments = (stored, Head(304, news.fields), NOW, NOW + 5, policy, request if is_asked else None)
        assert freshen(*arguments) == plainly_freshened(*arguments)


@given(st.lists(st.sampled_from((b"Date", b"date", b"ETag", b"X-A")), max_size=6))
def test_names_are_the_lines_names(names):
    fields = [(name, b"%d" % number) for number, name in enumerate(names)]
    assert names_of(fields) == {name.lower() for name in names}
    assert all(headers.has(fields, name.lower()) for name in names)
    assert Request("GET", b"/", "/", fields).names == names_of(fields)


def test_heads_with_long_names_are_not_remembered():
    asked = []

    @by_names
    def look(names):
        asked.append(names)
        return len(names)

    for _ in range(2):
        assert look([(b"a", b"1"), (b"b", b"2")]) == 2
        assert look([(b"x" * ALIKE_BYTES_MAX, b"1"), (b"y", b"2")]) == 2
    assert [len(names[0]) for names in asked] == [1, ALIKE_BYTES_MAX, ALIKE_BYTES_MAX]


def test_heads_of_many_lines_are_not_remembered():
    """A client can send a thousand short names, each of which is an object: of 512 such heads there were 57 MB, in each memory."""
    asked = []

    @by_names
    def look(names):
        asked.append(names)
        return len(names)

    many = [(b"%d" % number, b"") for number in range(ALIKE_LINES_MAX + 1)]
    for _ in range(2):
        assert look(many) == len(many) and look(many[1:]) == len(many) - 1
    assert [len(names) for names in asked] == [len(many), len(many) - 1, len(many)]


def test_what_a_client_says_at_length_is_not_remembered():
    """Its head may have 64 KiB, and a thousand lines, of which each is three objects."""
    asked = []

    @by_lines
    def look(lines, name):
        asked.append(len(lines))
        return lines, name

    long, many, usual = ((b"a", b"x" * LINES_BYTES_MAX),), ((b"a", b""),) * (ALIKE_LINES_MAX + 1), ((b"a", b"1"), (b"b", b"2"))
    for _ in range(2):
        for lines in (long, many, usual):
            assert look(lines, "n") == (lines, "n")
    assert look(usual, "m") == (usual, "m")
    assert asked == [1, len(many), 2, 1, len(many), 2]


def test_many_rules_are_read_each_time():
    lines = ((b"Cache-Control", b""),) * (RULING_LINES_MAX + 1)
    assert ruling_of(200, lines) == read(200, lines) and ruling_of(200, lines) is not ruling_of(200, lines)
    assert ruling_of(200, lines[1:]) is ruling_of(200, lines[1:])


def test_long_rules_are_read_each_time():
    lines = ((b"Cache-Control", b"max-age=7, x=" + b"y" * RULING_BYTES_MAX),)
    assert ruling_of(200, lines) == ruling_of(200, lines) == read(200, lines)
    assert ruling_of(200, lines) is not ruling_of(200, lines)
    assert ruling_of(200, lines[:0]) is ruling_of(200, ())


@given(st.sampled_from((b"foo", b"Foo, bar", b"bar,foo", b"*", b"foo, *", b"", b",")))
def test_varying_names_are_the_same_each_time(value):
    fields = ((b"foo", b"1"), (b"bar", b"a , b"))
    assert vary.selecting(fields, ((b"Vary", value),)) == vary.selecting(fields, ((b"vary", value),))
    names = vary.selecting_names(value)
    assert (names is None) == (b"*" in value)
    assert names is None or list(names) == sorted(names)


@given(st.floats(-10, 1e11), st.integers(0, 3))
def test_dates_are_the_same_each_time(at, case):
    written = format_http_date(at)
    assert format_http_date(at) == written
    value = (written, written.lower(), b" " + written, written[:-1])[case]
    assert parse_http_date(value, 0.0) == parse_http_date(value, 0.0) == (None if case == 3 else float(int(max(at, 0.0))))
