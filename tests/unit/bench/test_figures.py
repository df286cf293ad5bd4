"""The arithmetic of a load test."""

from __future__ import annotations

import random

from minicdn.bench.figures import Figures, Latencies


def test_percentiles_are_those_of_the_sorted_list_within_a_thousandth() -> None:
    rng = random.Random(1)
    values = [rng.expovariate(100) for _ in range(20_000)]
    found = Latencies()
    for value in values:
        found.note(value)
    values.sort()
    for share in (0.5, 0.9, 0.99):
        exact = values[round(share * len(values)) - 1]
        assert abs(found.percentile(share) - exact) < exact * 0.003 + 2e-6
    assert found.longest == values[-1]
    assert found.as_json()["max"] == round(values[-1], 6)


def test_a_long_run_takes_no_more_room() -> None:
    found = Latencies()
    for number in range(200_000):
        found.note(number * 1e-4)
    assert len(found._counts) < 12_000


def test_nothing_is_no_trouble() -> None:
    report = Figures().as_json(0.0)
    assert (report["requests_per_second"], report["latency_seconds"]["p99"], report["errors"]) == (0.0, 0.0, {})


def test_names_that_a_server_chooses_are_bounded() -> None:
    figures = Figures()
    for number in range(3000):
        figures.answered(f"http://{number}", 200, "hit", f"source{number}", 10, 0.001)
        figures.failed(f"reason {number}")
    report = figures.as_json(2.0)
    assert len(report["sources"]) <= 21
    assert len(report["servers"]) <= 1001
    assert len(report["errors"]) <= 21
    assert sum(each["requests_count"] for each in report["sources"].values()) == 3000 == sum(report["servers"].values())
    assert report["errors_count"] == 3000
    assert report["requests_per_second"] == 1500.0
