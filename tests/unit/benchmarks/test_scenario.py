"""The bound that a swarm is measured by, and the words in which a scenario is asked for."""

from __future__ import annotations

import pytest

from scripts.benchmarks.scenario import MIB, SCENARIOS, Scenario, parse_kill, parse_rate, parse_slow, show_rate, show_size

LINK_SECONDS = 64 * MIB / 12.5e6


@pytest.mark.parametrize("peers", [1, 2, 8, 16])
def test_with_equal_links_the_bound_is_one_copy_over_one_link(peers: int) -> None:
    assert Scenario(peers=peers).ideal_seconds() == pytest.approx(LINK_SECONDS)


def test_slow_uplinks_make_the_sum_of_uplinks_the_bound() -> None:
    slow = Scenario(slow_count=4)
    assert slow.ideal_seconds() == pytest.approx(8 * 64 * MIB / (12.5e6 + 4 * 12.5e6 + 4 * 2.5e6))
    assert slow.uplinks() == [2.5e6] * 4 + [12.5e6] * 4


def test_deaths_do_not_change_the_bound_but_the_limit() -> None:
    dying = Scenario(kill_count=2)
    assert dying.ideal_seconds() == Scenario().ideal_seconds()
    assert dying.kill_after_seconds == pytest.approx(0.4 * LINK_SECONDS)
    assert dying.limit == 1.3


def test_the_whole_table_has_the_limits_that_were_set() -> None:
    assert {scenario.name: scenario.limit for scenario in SCENARIOS} == {
        "N=1, 64 MiB": 1.05,
        "N=8, 64 MiB": 1.15,
        "N=8, 64 MiB, 4 uplinks 20mbit": 1.2,
        "N=8, 64 MiB, 2 killed at 0.4": 1.3,
        "N=16, 64 MiB": 1.15,
    }


def test_rates_are_written_as_tc_writes_them() -> None:
    assert parse_rate("100mbit") == 12.5e6
    assert parse_rate("1.5Gbit") == 187.5e6
    assert show_rate(parse_rate("20mbit")) == "20mbit"
    assert parse_slow("4:20mbit") == (4, 2.5e6)
    assert parse_kill("2@0.4") == (2, 0.4)


@pytest.mark.parametrize(
    ("parse", "text"),
    [(parse_rate, "100"), (parse_rate, "0mbit"), (parse_slow, "4"), (parse_slow, "x:20mbit"), (parse_kill, "2"), (parse_kill, "@1")],
)
def test_what_is_no_rate_or_count_is_refused_with_an_example(parse, text: str) -> None:
    with pytest.raises(ValueError, match="write for example"):
        parse(text)


@pytest.mark.parametrize("scenario", [Scenario(peers=0), Scenario(peers=3, slow_count=4), Scenario(peers=2, kill_count=2)])
def test_what_makes_no_sense_is_refused(scenario: Scenario) -> None:
    with pytest.raises(ValueError):
        scenario.check()


def test_sizes_are_shown_in_the_largest_whole_unit() -> None:
    assert [show_size(size) for size in (3 << 30, 64 * MIB, 1536 << 10, 1000)] == ["3 GiB", "64 MiB", "1536 KiB", "1000 B"]
