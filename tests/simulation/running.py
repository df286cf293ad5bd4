"""Runs seeds, and says what came of them."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterable
from itertools import count

from tests.simulation.anomaly import live
from tests.simulation.story import run_seed

FOLDER = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""In memory: disks are simulated too."""


TOLD_EVERY = 100
TRACES_CHARS_MAX = 90


def show_seed(seed: int, *, is_verbose: bool) -> int:
    began = time.perf_counter()
    report = run_seed(seed, folder=FOLDER)
    plan = report.plan
    assert plan is not None
    print(f"seed {seed}: {plan.peers_count} peers; faults: {', '.join(plan.faults) or 'none'}, every {plan.every_seconds:g} s")
    for file in plan.files:
        print(
            f"  {file.path} {file.length} bytes, {file.cache_control}, validator {file.has_validator}, ranges {file.has_ranges},", end=" "
        )
        print(f"chunked {file.is_chunked}, versions at {', '.join(f'{at:.1f}' for at, _ in file.versions)}")
    for line in sorted([*report.events, *report.said], key=lambda line: float(line.split(" ")[0])):
        print("  " + line)
    for answer in report.answers if is_verbose else ():
        print(f"  {answer}")
    print_wrong(report.wrong)
    seconds = time.perf_counter() - began
    print(f"{report.virtual_seconds - 1000:.0f} virtual seconds in {seconds:.2f} s, trace {report.trace:08x}, wrong: {len(report.wrong)}")
    return 1 if report.wrong else 0


def run_seeds(seeds: Iterable[int], until: float | None = None) -> int:
    wrong, traces, virtual, began, count = [], "", 0.0, time.perf_counter(), 0
    for seed in seeds:
        if until is not None and time.monotonic() > until:
            break
        report = run_seed(seed, folder=FOLDER)
        count += 1
        if count % TOLD_EVERY == 0:
            print(f"{count} seeds, up to {seed}", flush=True)
        virtual += report.virtual_seconds - 1000
        traces = f"{traces} {report.trace:08x}"[-TRACES_CHARS_MAX:]
        if report.wrong:
            wrong.append(seed)
            print(f"seed {seed}", flush=True)
            print_wrong(report.wrong)
    seconds = time.perf_counter() - began
    print(
        f"{count} seeds in {seconds:.1f} s, {virtual:.0f} virtual seconds ({virtual / max(seconds, 0.001):.0f}:1); wrong: {wrong or 'none'}"
    )
    print(f"the last traces {traces.strip()}")
    return 1 if wrong else 0


def run_anomalies(kinds: Iterable[str], points_count: int | None, seed: str) -> int:
    """Each kind at every n; or at so many of them, which the seed chooses."""
    wrong, began, lives_count = [], time.perf_counter(), 0
    for kind in kinds:
        for at in count() if points_count is None else _points(kind, points_count, seed):
            life = live(kind, at, FOLDER)
            lives_count += 1
            if life.wrong:
                wrong.append(f"{kind}:{at}")
                print(f"{kind}:{at} {life.hit}", flush=True)
                print_wrong(life.wrong)
            if not life.hit:
                break
    print(f"{lives_count} lives in {time.perf_counter() - began:.1f} s; wrong: {', '.join(wrong) or 'none'}")
    return 1 if wrong else 0


def _points(kind: str, points_count: int, seed: str) -> range:
    all_count = live(kind, None, FOLDER).anomaly.count
    stride = max(1, all_count // points_count)
    return range(random.Random(f"{kind} {seed}").randrange(stride), all_count, stride)


def run_point(point: str) -> int:
    """kind:n, as run_anomalies names it."""
    kind, _, at = point.partition(":")
    life = live(kind, int(at), FOLDER)
    for answer in life.answers:
        print(f"  {answer}")
    print(f"{point} {life.hit or 'untouched'}")
    print_wrong(life.wrong)
    return 1 if life.wrong else 0


def print_wrong(wrong: list[str]) -> None:
    for text in wrong[:8]:
        print("  WRONG " + text[:1500].replace("\n", "\n      "), flush=True)
