"""How long a start takes: `minicdn --help`, a manager until it is ready, and a peer until it has joined.

The clock is the wall's for the nodes, since who starts one waits for it; --help is counted in processor time, too.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from scripts.benchmarks.asking import ask_json
from scripts.benchmarks.caches import start_origin
from scripts.benchmarks.figures import Figure, Figures, add_common_options, stage
from scripts.benchmarks.loopback import HOST, free_ports, peer_url
from scripts.benchmarks.processes import Crew, Started

STARTED = [sys.executable, "-P", "-m", "minicdn"]
DEADLINE_SECONDS = 30.0


def add_options(parser: argparse.ArgumentParser) -> None:
    add_common_options(parser, rounds=10)


def run(options: argparse.Namespace) -> int:
    figures = Figures("start", "How long a start takes", "`scripts/bench start`: everything on the disk's cache already.")
    with stage(options) as (crew, folder):
        origin = start_origin(crew, folder, [1024])
        for number in range(1, options.rounds + 1):
            words = crew.start(f"help-{number}", [*STARTED, "--help"])
            words.wait(DEADLINE_SECONDS)
            figures.add(Figure("minicdn --help, processor time", "minicdn", number, words.cpu_seconds() * 1000, "ms"))
            port, manager, seconds = _ready(crew, folder, f"manager-{number}", "manager", "--upstream", peer_url(origin))
            figures.add(Figure("a manager is ready", "minicdn", number, seconds * 1000, "ms"))
            _, peer, seconds = _ready(crew, folder, f"peer-{number}", "peer", "--manager", peer_url(port))
            figures.add(Figure("a peer has joined", "minicdn", number, seconds * 1000, "ms"))
            for node in (peer, manager):
                node.kill()
    return figures.finish(options)


def _ready(crew: Crew, folder: Path, name: str, *words: str) -> tuple[int, Started, float]:
    """Its port, itself, and the seconds until its health was good."""
    (port,) = free_ports(1)
    began_at = time.monotonic()
    started = crew.start(name, [*STARTED, *words, "--host", HOST, "--port", str(port), "--cache-dir", str(folder / name)])
    while time.monotonic() < began_at + DEADLINE_SECONDS:
        if ask_json(HOST, port, "/_health").get("ready"):
            break
        time.sleep(0.005)
    return port, started, time.monotonic() - began_at
