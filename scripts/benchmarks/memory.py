"""Memory of small cached objects (100 bytes), and the longest pause while they come in and leave.

A shelf in a process of its own takes the objects, first with room for all, then with room for an eighth of them. Pauses are processor
time of one object's admission, so what else runs on the machine does not show in them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

from scripts.benchmarks.figures import Figure, Figures, add_common_options
from scripts.benchmarks.stage import ROOT, clean_environment

ROOMY, COST_BYTES, NARROW_PART = 8 << 30, 2000, 8


def add_options(parser: argparse.ArgumentParser) -> None:
    add_common_options(parser, rounds=1)
    parser.add_argument("--objects", type=int, default=200_000, metavar="N")


def run(options: argparse.Namespace) -> int:
    figures = Figures(
        "memory", f"{options.objects} objects of 100 bytes", f"`scripts/bench memory`: {options.objects} objects of 100 bytes."
    )
    for number in range(1, options.rounds + 1):
        for name, budget in (("room for all", ROOMY), ("evictions", options.objects * COST_BYTES // NARROW_PART)):
            found = _filled(options.objects, budget)
            told = {key: found[key] for key in ("kept_count", "evictions_count")}
            figures.add(Figure(f"overhead of one, {name}", "minicdn", number, found["taken_each_bytes"], "bytes", told))
            figures.add(Figure(f"the same as it is counted, {name}", "minicdn", number, found["counted_each_bytes"], "bytes"))
            figures.add(Figure(f"longest pause, {name}", "minicdn", number, found["longest_seconds"] * 1000, "ms"))
    return figures.finish(options)


def _filled(objects: int, budget_bytes: int) -> dict[str, float]:
    words = [sys.executable, "-P", "-m", "scripts.benchmarks.shelf_fill", str(objects), str(budget_bytes)]
    return json.loads(subprocess.run(words, check=True, capture_output=True, text=True, env=clean_environment(), cwd=ROOT).stdout)
