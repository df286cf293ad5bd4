"""Sets of spans: merging, reach and gaps, by example."""

from __future__ import annotations

import pytest

from minicdn.core.spans import SpanSet


@pytest.mark.parametrize(
    "added, expected",
    [
        ([], []),
        ([(0, 0)], []),
        ([(0, 5)], [(0, 5)]),
        ([(0, 5), (5, 9)], [(0, 9)]),
        ([(5, 9), (0, 5)], [(0, 9)]),
        ([(0, 5), (6, 9)], [(0, 5), (6, 9)]),
        ([(0, 5), (6, 9), (5, 6)], [(0, 9)]),
        ([(0, 5), (2, 3)], [(0, 5)]),
        ([(2, 3), (0, 5)], [(0, 5)]),
        ([(0, 2), (4, 6), (8, 9), (1, 8)], [(0, 9)]),
        ([(0, 2), (4, 6), (8, 9), (3, 7)], [(0, 2), (3, 7), (8, 9)]),
        ([(0, 2), (4, 6), (6, 6)], [(0, 2), (4, 6)]),
        ([(4, 6), (0, 4), (0, 1)], [(0, 6)]),
    ],
)
def test_adding(added, expected):
    assert list(SpanSet(added)) == expected


@pytest.mark.parametrize("start, end", [(-1, 2), (3, 2), (-2, -1)])
def test_what_is_no_span_is_refused_and_changes_nothing(start, end):
    spans = SpanSet([(0, 4)])
    with pytest.raises(ValueError, match="not a span"):
        spans.add(start, end)
    assert list(spans) == [(0, 4)]


@pytest.mark.parametrize("start, reach", [(0, 0), (2, 5), (4, 5), (5, 5), (7, 9), (9, 9), (100, 100)])
def test_reach(start, reach):
    assert SpanSet([(2, 5), (7, 9)]).reach(start) == reach


@pytest.mark.parametrize(
    "span, is_covered", [((2, 5), True), ((3, 4), True), ((2, 6), False), ((0, 3), False), ((4, 8), False), ((6, 6), True)]
)
def test_covers(span, is_covered):
    assert SpanSet([(2, 5), (7, 9)]).covers(*span) is is_covered


@pytest.mark.parametrize(
    "span, gaps",
    [
        ((0, 10), [(0, 2), (5, 7), (9, 10)]),
        ((2, 5), []),
        ((3, 8), [(5, 7)]),
        ((5, 6), [(5, 6)]),
        ((9, 20), [(9, 20)]),
        ((4, 4), []),
    ],
)
def test_gaps(span, gaps):
    assert SpanSet([(2, 5), (7, 9)]).gaps(*span) == gaps


def test_equality_is_by_content():
    assert SpanSet([(0, 2), (2, 4)]) == SpanSet([(0, 4)])
    assert SpanSet([(0, 4)]) != SpanSet([(0, 3)])
    assert SpanSet() != []


def test_looking_at_it_while_it_grows():
    spans = SpanSet([(0, 1), (2, 3)])
    for start, _ in spans:
        spans.add(start, start + 2)
    assert list(spans) == [(0, 4)]


def test_it_shows_itself():
    assert repr(SpanSet([(0, 1), (2, 3)])) == "SpanSet([(0, 1), (2, 3)])"


def test_filled_in_order_it_stays_one_span():
    spans = SpanSet()
    for start in range(0, 1_000_000, 1000):
        spans.add(start, start + 1000)
    assert list(spans) == [(0, 1_000_000)] and spans.total_bytes == 1_000_000
