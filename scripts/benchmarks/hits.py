"""Processor time of a cache hit, beside nginx's proxy_cache (and Varnish and Squid where they are installed).

GET by size, and for 10 KiB also HEAD, a 304 and a single Range. Each cache is asked in turn, in each round; what its process spent,
user and system, log line included, is divided by the count of requests.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import repeat
from pathlib import Path

from scripts.benchmarks.caches import Cache, installed, start_origin
from scripts.benchmarks.figures import Figure, Figures, add_common_options, size_name, stage
from scripts.benchmarks.load import ask_all, connected, read_answer, request, run_wrk

SIZES = [1 << 10, 10 << 10, 100 << 10, 1 << 20]
SMALL = 10 << 10
HEADS_PER_SECOND = 5000
SETTLE_SECONDS = 0.3
"""A log that is written a moment later is part of the cost."""


def add_options(parser: argparse.ArgumentParser) -> None:
    add_common_options(parser)
    parser.add_argument("--case", action="append", metavar="NAME", help="only these: 1KiB, 10KiB, 100KiB, 1MiB, HEAD, 304, Range")


def run(options: argparse.Namespace) -> int:
    how = "`scripts/bench hits`: wrk, one thread, 32 connections, a log line per request."
    figures = Figures("hits", "A cache hit: processor time", how)
    with stage(options) as (crew, folder):
        origin = start_origin(crew, folder, SIZES)
        caches = [start(crew, folder, origin) for start in installed().values()]
        chosen = cases(folder, caches, options.seconds)
        wanted = [name.lower() for name in options.case or ()]
        for number in range(1, options.rounds + 1):
            for name, load in chosen.items():
                if not wanted or name.replace(" ", "").replace("GET", "").lower() in wanted:
                    for cache in caches:
                        figures.add(Figure(name, cache.name, number, cost(cache, load)))
    return figures.finish(options)


def cost(cache: Cache, load: Callable[[Cache], float]) -> float:
    """Microseconds of processor time per request."""
    before = cache.cpu_seconds()
    count = load(cache)
    time.sleep(SETTLE_SECONDS)
    return (cache.cpu_seconds() - before) / count * 1e6


def cases(folder: Path, caches: list[Cache], seconds: float) -> dict[str, Callable[[Cache], float]]:
    """Each puts load on a cache and returns the count of requests. Everything is in the caches afterwards."""
    for cache in caches:
        for size in SIZES:
            ask_all(cache.port, [request(f"/{size}")] * 40, connections=2)
    tags = {cache.port: _etag(cache.port) for cache in caches}

    def get(size: int) -> Callable[[Cache], float]:
        return lambda cache: run_wrk(cache.port, f"/{size}", seconds)["requests_count"]

    def head(cache: Cache) -> float:
        asked = repeat(request(f"/{SMALL}", "HEAD"), round(HEADS_PER_SECOND * seconds))
        return ask_all(cache.port, asked, is_bodiless=True)

    def with_field(field: Callable[[Cache], tuple[str, str]]) -> Callable[[Cache], float]:
        def load(cache: Cache) -> float:
            name, value = field(cache)
            lua = f"wrk.headers[ [[{name}]] ] = [[{value}]]"
            return run_wrk(cache.port, f"/{SMALL}", seconds, lua=lua, folder=folder)["requests_count"]

        return load

    return {
        **{f"GET {size_name(size)}": get(size) for size in SIZES},
        "HEAD": head,
        "304": with_field(lambda cache: ("If-None-Match", tags[cache.port])),
        "Range": with_field(lambda _: ("Range", "bytes=1000-2023")),
    }


def _etag(port: int) -> str:
    (sock,) = connected(port, 1)
    with sock:
        sock.sendall(request(f"/{SMALL}"))
        head = read_answer(sock).decode("latin-1")
    return next(line.partition(":")[2].strip() for line in head.splitlines() if line.lower().startswith("etag:"))
