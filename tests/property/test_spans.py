"""SpanSet against the plainest model there is: a set of positions."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from minicdn.core.spans import SpanSet

SIZE = 40
spans = st.tuples(st.integers(0, SIZE), st.integers(0, SIZE)).map(lambda pair: (min(pair), max(pair)))


def positions(added: list[tuple[int, int]]) -> set[int]:
    return {position for start, end in added for position in range(start, end)}


@given(st.lists(spans))
def test_it_holds_what_was_added_in_any_order_and_nothing_else(added):
    held = SpanSet(added)
    assert positions(list(held)) == positions(added)
    assert held == SpanSet(reversed(added)) == SpanSet(sorted(added))
    assert held.total_bytes == len(positions(added))


@given(st.lists(spans))
def test_it_is_sorted_disjoint_and_merged(added):
    edges = [edge for span in SpanSet(added) for edge in span]
    assert all(one < other for one, other in pairwise(edges))


@given(st.lists(spans), st.integers(0, SIZE + 2))
def test_reach_is_the_first_missing_position(added, start):
    there, expected = positions(added), start
    while expected in there:
        expected += 1
    assert SpanSet(added).reach(start) == expected


@given(st.lists(spans), spans)
def test_gaps_are_what_is_missing_and_fill_it(added, asked):
    held, (start, end) = SpanSet(added), asked
    gaps = held.gaps(start, end)
    assert positions(gaps) == positions([asked]) - positions(added)
    assert gaps == list(SpanSet(gaps))
    assert held.covers(start, end) is (not gaps)
    for gap in gaps:
        held.add(*gap)
    assert held.covers(start, end) and held.gaps(start, end) == []


@given(st.lists(spans), spans)
def test_what_is_removed_is_gone_and_nothing_else(added, removed):
    held = SpanSet(added)
    held.remove(*removed)
    assert positions(list(held)) == positions(added) - positions([removed])
    assert held == SpanSet(list(held))
