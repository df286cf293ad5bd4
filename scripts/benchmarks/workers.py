"""Processor time of a hit at a peer with one worker and with two, beside nginx with as many worker processes.

One wrk loads the public port with 32 connections for each worker, which the kernel spreads: with fewer for each, a worker would find fewer
requests each time it looks, and pay more for a look. wrk's one thread uses up to a core: on a machine of two cores, two workers and wrk
share them, so that hits per second can grow by half at most; processor time per request is what counts there.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from scripts.benchmarks.asking import ask_json, wait_for
from scripts.benchmarks.caches import Cache, start_minicdn, start_nginx, start_origin
from scripts.benchmarks.figures import Figure, Figures, add_common_options, stage
from scripts.benchmarks.hits import SMALL, cost
from scripts.benchmarks.load import CONNECTIONS, ask_all, request, run_wrk
from scripts.benchmarks.loopback import HOST, free_ports, peer_url
from scripts.benchmarks.processes import Crew


def add_options(parser: argparse.ArgumentParser) -> None:
    add_common_options(parser)
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="besides one (default: 2)")


def run(options: argparse.Namespace) -> int:
    figures = Figures(
        "workers",
        "A hit at a peer with several workers",
        "`scripts/bench workers`: wrk, 32 connections for each worker, 10 KiB, a log line each.",
    )
    with stage(options) as (crew, folder):
        origin = start_origin(crew, folder, [SMALL])
        caches = {}
        for count in (1, options.workers):
            caches[count] = [_start_peer(crew, folder, origin, count), start_nginx(crew, folder, origin, f"nginx-{count}", processes=count)]
            for cache in caches[count]:
                for _ in range(20 * count):
                    ask_all(cache.port, [request(f"/{SMALL}")] * 10, connections=2)
        for number in range(1, options.rounds + 1):
            for count, both in caches.items():
                for cache in both:
                    case = f"{count} {'worker' if count == 1 else 'workers'}"
                    hits: list[float] = []
                    micros = cost(cache, lambda cache: _load(cache, count, options.seconds, hits))  # noqa: B023 — called at once
                    figures.add(Figure(f"hit of 10 KiB, {case}", cache.name, number, micros))
                    figures.add(Figure(f"hits per second, {case}", cache.name, number, hits[0], "a second"))
    return figures.finish(options)


def _load(cache: Cache, workers_count: int, seconds: float, hits: list[float]) -> float:
    """The count; per second in `hits`."""
    count = run_wrk(cache.port, f"/{SMALL}", seconds, connections=CONNECTIONS * workers_count)["requests_count"]
    hits.append(count / max(1, round(seconds)))
    return count


def _start_peer(crew: Crew, folder: Path, origin_port: int, count: int) -> Cache:
    """Alone with a manager of its own, which keeps the log."""
    manager = start_minicdn(crew, folder, origin_port, name=f"manager-{count}")
    (port,) = free_ports(1)
    place = ["--host", HOST, "--port", str(port), "--cache-dir", str(folder / f"peer-{count}"), "--workers", str(count)]
    peer = crew.start(f"peer-{count}", [sys.executable, "-P", "-m", "minicdn", "peer", "--manager", peer_url(manager.port), *place])
    wait_for("the list of peers", lambda: len(ask_json(HOST, manager.port, "/_peers").get("peers", ())) == count, crew.members)
    return Cache("minicdn", port, (peer,))
