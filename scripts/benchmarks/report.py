"""Results as text: rows as they come, a summary of repeated runs, JSON, and a section of a Markdown file."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

from scripts.benchmarks.outcome import Outcome

HEADINGS = ("system", "scenario", "run", "slowest", "reference", "ratio", "limit", "origin", "cpu", "machine")
WIDTHS = (18, 34, 4, 8, 12, 6, 11, 7, 5, 8)


def row(cells: Iterable[str]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, WIDTHS, strict=True)).rstrip()


def outcome_cells(outcome: Outcome, number: int) -> tuple[str, ...]:
    scenario = outcome.scenario
    reference = f"curl {outcome.curl_seconds:.2f}" if outcome.curl_seconds else f"ideal {scenario.ideal_seconds():.2f}"
    if not outcome.is_whole:
        why = "; ".join(f"{host}: {reason}" for host, reason in outcome.failed.items()) or "nobody finished"
        return (outcome.system, scenario.name, str(number), "FAILED", reference, "-", "-", "-", "-", why)
    return (
        outcome.system,
        scenario.name,
        str(number),
        f"{outcome.slowest_seconds:.2f} s",
        reference,
        f"{outcome.ratio:.3f}",
        verdict(outcome),
        f"{outcome.origin_files:.3f}×",
        f"{outcome.own_cpu_share:.0%}",
        f"{outcome.machine_cpu_share:.0%}",
    )


def verdict(outcome: Outcome) -> str:
    """The limit, and whether it was kept, the origin's included; limits are minicdn's own."""
    if outcome.system != "minicdn":
        return "-"
    return f"{outcome.scenario.limit:g} {'kept' if outcome.is_within else 'missed'}"


def host_table(outcome: Outcome) -> str:
    """A line for each host: where the time, the processor and the links went."""
    names = ("host", "finish s", "first byte s", "cpu s", "client cpu s", "sent MB", "received MB", "uplink used")
    lines = ["  ".join(f"{name:>12}" for name in names)]
    for host, traffic in outcome.traffic.items():
        finish, first = outcome.finish_seconds.get(host), outcome.clients.get(host, {}).get("time_starttransfer")
        cells = [host, _seconds(finish, "killed" if host in outcome.killed else "-"), _seconds(first, "-")]
        cells += [_seconds(outcome.cpu_seconds.get(name), "-") for name in (host, f"client-{host}")]
        cells += [f"{traffic[way] / 1e6:.1f}" for way in ("sent", "received")]
        cells.append(f"{traffic['sent'] / max(outcome.wall_seconds, 0.001) / outcome.uplink(host):.0%}")
        lines.append("  ".join(f"{cell:>12}" for cell in cells))
    return "\n".join(lines)


def _seconds(value: float | None, otherwise: str) -> str:
    return otherwise if value is None else f"{value:.2f}"


def groups(outcomes: Sequence[Outcome]) -> list[list[Outcome]]:
    """Runs of the same system and scenario, in the order in which they first came."""
    found: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        found.setdefault((outcome.system, outcome.scenario.name), []).append(outcome)
    return list(found.values())


def spread(values: Sequence[float], form: str) -> str:
    """The median, and the least and the most where they differ."""
    shown = [format(value, form) for value in (median(values), min(values), max(values))]
    return shown[0] if len(values) == 1 else f"{shown[0]} ({shown[1]} – {shown[2]})"


def markdown_table(outcomes: Sequence[Outcome]) -> str:
    lines = ["| system | scenario | runs | slowest, s | ideal, s | ratio | limit | origin bytes ÷ file | processor |", "|---" * 9 + "|"]
    lines += [_markdown_row(runs) for runs in groups(outcomes)]
    return "\n".join(lines)


def _markdown_row(runs: list[Outcome]) -> str:
    first, whole = runs[0], [run for run in runs if run.is_whole]
    head = f"| {first.system} | {first.scenario.name} | {len(whole)} of {len(runs)} |"
    limit = f"{first.scenario.limit:g}" if first.system == "minicdn" else "–"
    if not whole:
        return f"{head} – | {first.scenario.ideal_seconds():.2f} | – | {limit} | – | – |"
    beside = " of curl" if first.curl_seconds else ""
    cells = (
        spread([run.slowest_seconds for run in whole], ".2f"),
        f"{first.scenario.ideal_seconds():.2f}",
        spread([run.ratio for run in whole], ".3f") + beside,
        limit,
        spread([run.origin_files for run in whole], ".3f"),
        f"{median(run.own_cpu_share for run in whole):.0%}, machine {median(run.machine_cpu_share for run in whole):.0%}",
    )
    return f"{head} {' | '.join(cells)} |"


def write_json(path: Path, outcomes: Sequence[Outcome]) -> None:
    path.write_text(json.dumps([outcome.to_json() for outcome in outcomes], indent=1) + "\n")


def section(outcomes: Sequence[Outcome], chart: str = "") -> str:
    """What goes between the markers: the machine, the table, and the chart if there is one."""
    machine = f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}; median (least – most) of the runs."
    picture = f"\n\n![the slowest of N peers beside the ideal]({chart})" if chart else ""
    return f"{machine}\n\n{markdown_table(outcomes)}{picture}"


def replace_section(text: str, name: str, content: str) -> str:
    """The text with what stands between the section's markers replaced; where there are none, they come at the end."""
    begin, end = f"<!-- bench:{name} -->", f"<!-- /bench:{name} -->"
    before, found, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found:
        before, after = f"{text.rstrip()}\n\n## The {name}\n\n", "\n"
    elif not found_end:
        raise ValueError(f"{begin} without {end}")
    return f"{before}{begin}\n{content.strip()}\n{end}{after}"
