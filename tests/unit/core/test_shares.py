from __future__ import annotations

import pytest

from minicdn.core.shares import Sharer, has_changed, pause_seconds, shares

MB = 1e6
OLD = 3600.0


def measured(*uplinks: float) -> list[Sharer]:
    return [Sharer(uplink, OLD) for uplink in uplinks]


def test_where_nobody_was_measured_all_are_equal() -> None:
    assert shares([Sharer(0, 0), Sharer(0, 5), Sharer(0, OLD)]) == [1, 1, 1]
    assert shares([]) == []


def test_a_slow_uplink_gets_its_part_of_the_medians() -> None:
    assert shares(measured(12 * MB, 12 * MB, 12 * MB, 2.4 * MB)) == [1, 1, 1, 0.2]
    assert shares(measured(12 * MB, 12 * MB, 2.4 * MB, 2.4 * MB)) == [1, 1, 0.2, 0.2]
    assert shares(measured(12 * MB, 12 * MB, 120 * MB)) == [1, 1, 10]


def test_uplinks_that_measure_a_little_differently_are_equal() -> None:
    assert shares(measured(11.0 * MB, 12.1 * MB, 10.9 * MB, 13.3 * MB)) == [1, 1, 1, 1]
    slow, quick = shares(measured(2.2 * MB, 2.6 * MB, 10.9 * MB, 12.1 * MB))[1:3]
    assert (slow, quick) == (pytest.approx(0.209, abs=0.001), 1)
    assert shares(measured(2.2 * MB, 2.6 * MB))[0] == 1


def test_who_is_new_and_unmeasured_gets_a_quarter_and_soon_as_much_as_others() -> None:
    known = measured(10 * MB, 10 * MB, 40 * MB)
    assert [shares([*known, Sharer(0, age)])[-1] for age in (0, 29, 30, 59, 60, OLD)] == [0.25, 0.25, 0.5, 0.5, 1, 1]
    assert shares([*known, Sharer(10 * MB, 0)])[-1] == 1


def test_who_may_own_nothing_has_no_share_and_moves_no_median() -> None:
    seeds = [Sharer(0.1 * MB, OLD, is_owner=False)] * 5
    assert shares([*seeds, *measured(10 * MB, 5 * MB)]) == [0, 0, 0, 0, 0, 1, 0.5]
    assert shares(seeds) == [0] * 5


def test_shares_have_bounds() -> None:
    assert shares(measured(1, 10 * MB, 10 * MB, 1e15)) == [0.0156, 1, 1, 64]


@pytest.mark.parametrize(
    ("listed", "wanted", "is_news"),
    [(1, 1, False), (1, 1.49, False), (1, 1.5, True), (1, 0.67, False), (1, 0.66, True), (0, 0, False), (0, 1, True), (1, 0, True)],
)
def test_small_changes_are_no_news(listed: float, wanted: float, is_news: bool) -> None:
    assert has_changed(listed, wanted) is is_news


def test_changes_are_seldom_in_a_large_cluster() -> None:
    assert pause_seconds(8) == pytest.approx(10, abs=1)
    assert pause_seconds(4000) > 60
