"""Idle keep-alive connections, and load beside them: memory of each, p99, and whether one failed; beside nginx.

Every connection asks once, rests while wrk loads the server, and asks again. Each round has a process of its own.
"""

from __future__ import annotations

import argparse
import resource
import socket

from scripts.benchmarks.caches import Cache, installed, start_origin
from scripts.benchmarks.figures import Figure, Figures, add_common_options, memory_bytes, stage
from scripts.benchmarks.hits import SMALL
from scripts.benchmarks.load import close_all, connected, read_answer, request, run_wrk


def add_options(parser: argparse.ArgumentParser) -> None:
    add_common_options(parser, rounds=2)
    parser.add_argument("--idle", type=int, default=5000, metavar="N")


def run(options: argparse.Namespace) -> int:
    how = f"`scripts/bench connections`: {options.idle} idle keep-alive connections, wrk on 32 more, 10 KiB; then each asks again."
    figures = Figures("connections", f"{options.idle} idle connections", how)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for number in range(1, options.rounds + 1):
        for start in installed().values():
            with stage(options) as (crew, folder):  # a process of its own each time: memory that was freed before would be found again
                cache = start(crew, folder, start_origin(crew, folder, [SMALL]))
                for figure in _one(cache, options, number):
                    figures.add(figure)
    return figures.finish(options)


def _one(cache: Cache, options: argparse.Namespace, number: int) -> list[Figure]:
    run_wrk(cache.port, f"/{SMALL}", 1)
    alone = run_wrk(cache.port, f"/{SMALL}", options.seconds)
    before = _memory(cache)
    sockets = connected(cache.port, options.idle)
    try:
        _ask(sockets)
        each = (_memory(cache) - before) / options.idle / 1024
        cpu = cache.cpu_seconds()
        load = run_wrk(cache.port, f"/{SMALL}", options.seconds)
        cpu = (cache.cpu_seconds() - cpu) / load["requests_count"] * 1e6
        _ask(sockets)
    finally:
        close_all(sockets)
    return [
        Figure("memory of an idle connection", cache.name, number, each, "KiB"),
        Figure("a hit beside them", cache.name, number, cpu),
        Figure("p99 without them", cache.name, number, alone["p99"] * 1000, "ms", {"p50 ms": alone["p50"] * 1000}),
        Figure("p99 beside them", cache.name, number, load["p99"] * 1000, "ms", {"p50 ms": load["p50"] * 1000}),
    ]


def _ask(sockets: list[socket.socket]) -> None:
    """RunFailed at the first that fails."""
    for sock in sockets:
        sock.sendall(request(f"/{SMALL}"))
        read_answer(sock)


def _memory(cache: Cache) -> int:
    return sum(memory_bytes(process.pid) for process in cache.processes)
