"""Figures side by side: ratios are taken within a round, and what is missing is a dash."""

from __future__ import annotations

from scripts.benchmarks.bars import bar_chart
from scripts.benchmarks.figures import Figure, Figures, size_name
from scripts.benchmarks.load import _latency


def _figures(*rows: tuple[str, str, int, float]) -> Figures:
    figures = Figures("hits", "Hits", "How.")
    for row in rows:
        figures.add(Figure(*row))
    return figures


def test_a_ratio_is_the_median_of_the_rounds_ratios():
    rows = [("GET", system, number, value) for number, pair in enumerate([(10, 20), (90, 100), (30, 10)]) for system, value in
            zip(("minicdn", "nginx"), pair, strict=True)]  # fmt: skip
    assert _figures(*rows).ratio("GET", "minicdn") == 0.9  # of 0.5, 0.9 and 3; the medians' own ratio would be 1.5


def test_the_table_has_a_row_for_each_case_and_a_dash_for_what_was_not_measured():
    table = _figures(("GET", "minicdn", 1, 10.0), ("GET", "nginx", 1, 20.0), ("HEAD", "minicdn", 1, 5.0)).table()
    assert table.splitlines()[0] == "|  | minicdn | nginx | minicdn ÷ nginx |"
    assert table.splitlines()[2:] == ["| GET | 10 µs | 20 µs | 0.50 |", "| HEAD | 5 µs | – | – |"]


def test_a_chart_names_every_system_and_every_case():
    chart = bar_chart("Hits", {"GET": {"minicdn": 1.0, "nginx": 2.0}, "HEAD": {"nginx": 3.0}})
    assert all(f">{name}<" in chart for name in ("minicdn", "nginx", "GET", "HEAD"))
    assert chart.count("<rect") == 2 + 3


def test_latencies_in_wrks_words():
    said = "  Latency Distribution\n     50%    1.50ms\n     99%  120.00us\n"
    assert (_latency(said, 50), round(_latency(said, 99), 6)) == (0.0015, 0.00012)


def test_sizes_are_named_in_the_largest_whole_unit():
    assert [size_name(size) for size in (100, 1024, 102400, 1 << 20)] == ["100 bytes", "1 KiB", "100 KiB", "1 MiB"]
