"""Figures of a run, and how they are shown: table, section, chart."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from scripts.benchmarks.charts import Frame, line_chart, nice_step, time_by_peers
from scripts.benchmarks.report import host_table, markdown_table, outcome_cells, replace_section, row, section, verdict, write_json
from scripts.benchmarks.scenario import Scenario
from tests.unit.benchmarks.making import outcome

IDEAL = Scenario().ideal_seconds()


def test_the_slowest_counts_against_the_ideal() -> None:
    assert outcome(2 * IDEAL).ratio == pytest.approx(2.0)
    assert not outcome(2 * IDEAL).is_within
    assert outcome(1.1 * IDEAL).is_within


def test_too_many_bytes_from_the_origin_miss_the_limit() -> None:
    greedy = outcome(IDEAL, origin_log_bytes=2 * Scenario().size_bytes)
    assert greedy.origin_files == 2.0
    assert verdict(greedy) == "1.15 missed"


def test_one_peer_is_measured_by_curl() -> None:
    alone = outcome(5.8, scenario=Scenario(peers=1), curl_seconds=5.6)
    assert alone.ratio == pytest.approx(5.8 / 5.6)
    assert "curl 5.60" in outcome_cells(alone, 1)


def test_without_a_log_the_device_counts() -> None:
    assert outcome(9.0, origin_log_bytes=0, origin_device_bytes=Scenario().size_bytes * 3).origin_files == 3.0


def test_a_run_that_failed_says_why_and_is_no_success() -> None:
    broken = outcome(9.0, failed={"peer3": "the wrong bytes"})
    assert not broken.is_whole
    assert "peer3: the wrong bytes" in row(outcome_cells(broken, 1))


def test_repeated_runs_are_one_row_with_the_median_and_the_spread() -> None:
    table = markdown_table([outcome(time) for time in (6.0, 5.5, 7.0)] + [outcome(20.0, system="plain")])
    lines = table.splitlines()
    assert len(lines) == 4
    assert "| 3 of 3 | 6.00 (5.50 – 7.00) |" in lines[2]
    assert len({line.count("|") for line in lines}) == 1, "every row has all columns"


def test_a_table_of_failures_has_all_columns_too() -> None:
    lines = markdown_table([outcome(9.0, failed={"start": "no"})]).splitlines()
    assert len({line.count("|") for line in lines}) == 1


def test_every_host_has_a_line() -> None:
    traffic = {host: {"sent": 10_000_000, "received": 1} for host in ("origin", *Scenario().peer_names())}
    killed = outcome(6.0, traffic=traffic, killed=["peer2"])
    del killed.finish_seconds["peer2"]
    lines = host_table(killed).splitlines()
    assert len(lines) == 10
    assert "killed" in lines[3]


def test_json_holds_what_is_known(tmp_path) -> None:
    write_json(tmp_path / "runs.json", [outcome(6.0)])
    (found,) = json.loads((tmp_path / "runs.json").read_text())
    assert found["scenario"]["peers"] == 8
    assert found["slowest_seconds"] == 6.0


def test_a_section_is_replaced_between_its_markers_and_nothing_else() -> None:
    text = "a\n<!-- bench:swarm -->\nold\n<!-- /bench:swarm -->\nz\n"
    once = replace_section(text, "swarm", "new\n")
    assert once == "a\n<!-- bench:swarm -->\nnew\n<!-- /bench:swarm -->\nz\n"
    assert replace_section(once, "swarm", "new") == once


def test_a_section_that_is_not_there_yet_comes_at_the_end() -> None:
    added = replace_section("# Measurements\n", "swarm", "new")
    assert added == "# Measurements\n\n## The swarm\n\n<!-- bench:swarm -->\nnew\n<!-- /bench:swarm -->\n"
    assert replace_section(added, "swarm", "new") == added
    with pytest.raises(ValueError):
        replace_section("<!-- bench:swarm -->", "swarm", "new")


def test_the_section_shows_the_chart_where_there_is_one() -> None:
    assert "](swarm.svg)" in section([outcome(6.0)], "swarm.svg")
    assert "![" not in section([outcome(6.0)])


def test_the_chart_is_well_formed_and_draws_each_system_and_the_ideal() -> None:
    runs = [outcome(6.0 * n, system=system, scenario=Scenario(peers=n)) for n in (1, 8) for system in ("minicdn", "plain")]
    slow = outcome(99.0, scenario=Scenario(slow_count=4))
    tree = ElementTree.fromstring(time_by_peers([*runs, slow]))
    lines = tree.findall("{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == 3
    assert all(len(line.get("points", "").split()) == 2 for line in lines), "slow uplinks are no point of this chart"


def test_a_chart_of_nothing_is_still_one_and_names_are_escaped() -> None:
    ElementTree.fromstring(line_chart("a < b & c", "x", "y", {}))
    ElementTree.fromstring(line_chart("", "<", "&", {"<&>": [(1, 0.0)]}))


def test_the_axis_ends_at_a_round_number_above_the_highest() -> None:
    assert [nice_step(highest) for highest in (5.0, 44.9, 0.7, 100.0)] == [1.0, 10.0, pytest.approx(0.2), 20.0]
    frame = Frame((1, 8), 10.0)
    assert frame.y(0) > frame.y(10.0)
    assert frame.x(1) < frame.x(8)
