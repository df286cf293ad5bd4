"""No octets from outside can break a parser: each gives a value of its kind, or the one refusal that it names."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from minicdn.core import cachecontrol, conditional, dates, headers, lifetime, ranges, structured, tags, target, vary, via
from minicdn.core.cachecontrol import SECONDS_MAX
from minicdn.core.message import Head, Request
from minicdn.core.partial import part_fields, whole_head
from minicdn.errors import ClientError

octets = st.binary(max_size=60)
odd = st.one_of(octets, st.text(alphabet='"\\,;=-/%.*? \tabc019W', max_size=40).map(lambda text: text.encode()))
field_lines = st.lists(
    st.tuples(
        st.sampled_from(
            (
                b"cache-control",
                b"Cache-Control",
                b"Expires",
                b"Date",
                b"Age",
                b"Vary",
                b"ETag",
                b"Last-Modified",
                b"Connection",
                b"Via",
                b"X",
            )
        ),
        odd,
    ),
    max_size=8,
)


@given(odd)
def test_lists(value):
    members = headers.split_list(value)
    assert all(member == member.strip(b" \t") and member for member in members)
    assert headers.split_list(b" , ".join(members)) == members or b'"' in value, "written again, a list is read the same"
    assert len(headers.unquote(value)) <= len(value)


@given(st.lists(odd, max_size=3))
def test_cache_control(values):
    directives = cachecontrol.parse_cache_control(values)
    for seconds in (
        directives.max_age,
        directives.s_maxage,
        directives.min_fresh,
        directives.stale_if_error,
        directives.stale_while_revalidate,
    ):
        assert seconds is None or 0 <= seconds <= SECONDS_MAX
    cachecontrol.parse_targeted(values)
    structured.parse_list(values)
    assert 0 <= lifetime.parse_age(values) <= SECONDS_MAX


@given(st.integers(min_value=0), st.sampled_from((b"max-age=%d", b'max-age="%d"', b"MAX-AGE=0%d", b"a, max-age=%d,b")))
def test_any_number_of_seconds_is_read_or_saturated(seconds, form):
    assert cachecontrol.parse_cache_control([form % seconds]).max_age == min(seconds, SECONDS_MAX)


@given(odd, st.floats(min_value=-1e12, max_value=1e12))
def test_dates(value, now):
    at = dates.parse_http_date(value, now)
    assert at is None or isinstance(at, float)


@given(st.integers(min_value=0, max_value=250_000_000_000), st.floats(min_value=0, max_value=4e9))
def test_a_written_date_is_read_as_the_same_instant(at, now):
    assert dates.parse_http_date(dates.format_http_date(at), now) == at


@given(odd.map(lambda value: b"/" + value), st.frozensets(st.sampled_from(("a", "b", "1")), max_size=2))
def test_targets(raw, ignored):
    try:
        key = target.parse_target(raw, ignored)
    except ClientError as refusal:
        assert refusal.status in (400, 414)
        return
    assert key.isascii() and key.isprintable() and " " not in key and key.startswith("/")
    path = key.partition("?")[0]
    assert not {".", ".."} & set(path.split("/"))
    assert target.parse_target(key.encode(), ignored) == key, "a key is its own key"


@given(octets)
def test_absolute_targets(raw):
    parts = target.split_absolute(raw)
    assert parts is None or parts[2].startswith(b"/")


@given(odd.map(lambda value: b"bytes=" + value), st.integers(min_value=0, max_value=30))
def test_ranges_stay_inside(value, length):
    parsed = ranges.parse_range(value, length)
    if not isinstance(parsed, list):
        return
    assert 0 < len(parsed) <= ranges.RANGES_MAX
    assert all(0 <= start < end <= length for start, end in parsed)
    taken = [position for start, end in parsed for position in range(start, end)]
    assert len(taken) == len(set(taken)), "no octet is sent twice"


specs = st.lists(
    st.one_of(
        st.tuples(st.integers(0, 40), st.integers(0, 40)).map(lambda pair: b"%d-%d" % pair),
        st.integers(0, 40).map(lambda start: b"%d-" % start),
        st.integers(0, 40).map(lambda length: b"-%d" % length),
    ),
    min_size=1,
    max_size=4,
)


@given(specs, st.integers(min_value=1, max_value=30))
def test_a_single_range_seen_early_is_the_range_seen_late(parts, length):
    value = b"bytes=" + b",".join(parts)
    early, late = ranges.parse_single_range(value), ranges.parse_range(value, length)
    if early is None or not isinstance(late, list):
        return
    if isinstance(early, ranges.Suffix):
        assert late == [(max(0, length - early.length_bytes), length)]
    else:
        assert late == [(early[0], min(early[1] or length, length))]


@given(st.integers(0, 10**12), st.integers(1, 10**12), st.integers(0, 10**12), st.booleans())
def test_a_written_content_range_is_read_back(start, size, rest, is_known):
    length = start + size + rest if is_known else None
    assert ranges.parse_content_range(ranges.content_range(start, start + size, length)) == (start, start + size, length)


@given(field_lines, st.integers(0, 5), st.integers(1, 5), st.integers(0, 5))
def test_a_part_and_the_whole_are_inverse(fields, start, size, rest):
    length = start + size + rest
    fields = [*headers.without(fields, frozenset((b"content-length",))), (b"Content-Length", b"%d" % length)]
    assert list(whole_head(Head(206, part_fields(fields, start, start + size, length))).fields) == fields


@given(field_lines, field_lines, st.floats(min_value=0, max_value=4e9))
def test_everything_that_reads_fields(asked, told, now):
    request, head = Request("GET", b"/", "/", asked), Head(200, told)
    assert conditional.evaluate(request, head, now) in (None, 304, 412)
    conditional.if_range_matches(request, head)
    conditional.strong_validator(head)
    key = vary.selecting(asked, told)
    assert vary.matches(asked, key) is (key is not None)
    via.has_passed(told, "node")
    assert len(tags.parse_tags(told)) <= tags.TAGS_MAX
    assert not headers.has(headers.end_to_end(told), b"connection")
