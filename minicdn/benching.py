"""`minicdn bench` at the command line: what was typed becomes an order, and the report a page of words, a JSON object and an exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from minicdn.bench.aim import URLS_MAX, parse_fields, parse_targets
from minicdn.bench.run import Order, run
from minicdn.console import Console
from minicdn.errors import UsageError
from minicdn.get.tally import size_text
from minicdn.listener import raise_file_limit
from minicdn.loops import run_stoppable
from minicdn.urlfile import lines_of
from minicdn.values import parse_count, parse_duration

CONNECTIONS, CONNECTIONS_MAX = 16, 10_000
SECONDS = 10.0
SILENCE_SECONDS = 30.0
SHOWN_MAX = 10


def bench(
    urls: Sequence[str],
    *,
    url_file: str | None,
    duration: str | None,
    count: str | None,
    connections: str | None,
    headers: Sequence[str],
    range_: str | None,
    timeout: str | None,
    as_json: bool,
) -> int:
    """The exit code. Raises UsageError, and SourcesFailed where nobody answers."""
    order = Order(
        parse_targets(urls, lines_of(url_file, URLS_MAX)),
        _number("--connections", connections, CONNECTIONS_MAX) or CONNECTIONS,
        _seconds("--duration", duration) or (None if count else SECONDS),
        _number("--count", count),
        _seconds("--timeout", timeout) or SILENCE_SECONDS,
        parse_fields(headers, range_),
    )
    raise_file_limit()
    console = Console(sys.stderr)
    show = (lambda so_far: console.progress(_so_far(so_far))) if console.is_terminal else None
    report = run_stoppable(run(order, show))
    console.clear()
    Console(sys.stdout).say(json.dumps(report, indent=2) if as_json else in_words(report))
    return int(report["exit_code"])


def _number(flag: str, text: str | None, most: int | None = None) -> int | None:
    try:
        number = parse_count(text) if text is not None else None
    except ValueError as error:
        raise UsageError(f"{flag}: {error}") from None
    if number == 0 or (number is not None and most is not None and number > most):
        raise UsageError(f"{flag}: from 1" + (f" to {most}" if most else " on"))
    return number


def _seconds(flag: str, text: str | None) -> float | None:
    try:
        seconds = parse_duration(text) if text is not None else None
    except ValueError as error:
        raise UsageError(f"{flag}: {error}") from None
    if seconds == 0:
        raise UsageError(f"{flag}: more than nothing")
    return seconds


def _so_far(figures: dict[str, Any]) -> str:
    speed, bytes_speed, errors = figures["requests_per_second"], size_text(figures["bytes_per_second"]), figures["errors_count"]
    trouble = f"  {errors} errors" if errors else ""
    return f"{figures['seconds']:.0f} s  {figures['requests_count']} requests  {speed:.0f}/s  {bytes_speed}/s{trouble}"


def in_words(report: dict[str, Any]) -> str:
    more = f" and {report['urls_count'] - 1} more" if report["urls_count"] > 1 else ""
    stopped = ", stopped" if report["is_stopped"] else ""
    count = report["requests_count"]
    lines = [
        f"{report['url']}{more}: {count} requests in {report['seconds']:.1f} s, {report['connections']} at a time{stopped}",
        f"  requests   {report['requests_per_second']:.1f} per second",
        f"  bytes      {size_text(report['bytes_per_second'])} per second, {size_text(report['bytes_count'])} in all",
        "  latency    " + ", ".join(f"{name} {_time(value)}" for name, value in report["latency_seconds"].items()),
        "  statuses   " + _counts(report["statuses"]),
        "  cache      " + _counts(report["caches"]),
        "  from       " + (", ".join(_source(name, each) for name, each in report["sources"].items()) or "nowhere"),
        "  servers    " + _counts(report["servers"]) + (f"; {report['redirects_count']} redirects" if report["redirects_count"] else ""),
        "  errors     " + _counts(report["errors"]),
    ]
    if report["error"] is not None:
        lines.append(f"  Given up: {report['error']}.")
    if report["is_client_the_limit"]:
        share = f"{100 * report['client_processor_share']:.0f} %"
        lines.append(f"  This load test used {share} of a core: it is what limits, and the server could do more.")
    return "\n".join(lines)


def _counts(counts: dict[str, int]) -> str:
    shown = [f"{name} {count}" for name, count in list(counts.items())[:SHOWN_MAX]]
    return (", ".join(shown) or "none") + (f" and {len(counts) - SHOWN_MAX} more" if len(counts) > SHOWN_MAX else "")


def _source(name: str, each: dict[str, int]) -> str:
    return f"{name} {each['requests_count']} ({size_text(each['bytes_count'])})"


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
