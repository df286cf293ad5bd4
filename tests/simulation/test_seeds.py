"""Whole clusters under virtual time: seeds that found something, then some that nobody has looked at.

Each group runs in a process of its own, where the order of sets is the same each time. A failure says which seed; `python -m
tests.simulation --seed N` repeats it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.seeds import FOUND

ROOT = Path(__file__).resolve().parents[2]
FIRST, SEEDS_COUNT, GROUP = 3000, 120, 40


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONHASHSEED": "0"}
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation", *arguments], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )


def show(ran: subprocess.CompletedProcess[str]) -> str:
    return f"{ran.stdout[-6000:]}\n{ran.stderr[-3000:]}"


@pytest.mark.timeout(240)
def test_what_was_found_stays_found() -> None:
    ran = run("--seeds", ",".join(map(str, FOUND)))
    assert ran.returncode == 0, show(ran)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS_COUNT, GROUP))
def test_seeds(first: int) -> None:
    ran = run("--from", str(first), "--to", str(first + GROUP))
    assert ran.returncode == 0, show(ran)


@pytest.mark.timeout(120)
def test_a_seed_is_the_same_each_time() -> None:
    """Most of these went one way or another, when sets of tasks, of connections and of fills were in the order of their addresses."""
    seeds = "3,5,6,33,36,52"
    runs = [run("--seeds", seeds) for _ in range(2)]
    traces = [ran.stdout.splitlines()[-1].split("traces ")[1] for ran in runs]
    assert traces[0] == traces[1] and len(traces[0].split()) == len(seeds.split(",")), traces
