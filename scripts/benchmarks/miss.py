"""Processor time of a miss of 10 KiB, beside nginx's proxy_cache: each target is asked for once, connections are kept."""

from __future__ import annotations

import argparse

from scripts.benchmarks.caches import Cache, installed, start_origin
from scripts.benchmarks.figures import Figure, Figures, add_common_options, stage
from scripts.benchmarks.hits import SMALL, cost
from scripts.benchmarks.load import run_wrk

_LUA = """
local count = 0
request = function() count = count + 1 return wrk.format("GET", "/any/{size}/{tag}/" .. count) end
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    add_common_options(parser)


def run(options: argparse.Namespace) -> int:
    how = "`scripts/bench miss`: wrk, 32 connections, each target once, a log line each."
    figures = Figures("miss", "A miss of 10 KiB: processor time", how)
    with stage(options) as (crew, folder):
        origin = start_origin(crew, folder, [SMALL])
        caches = [start(crew, folder, origin) for start in installed().values()]
        for number in range(options.rounds + 1):  # round 0 opens connections, and does not count

            def load(cache: Cache, number: int = number) -> float:
                lua = _LUA.format(size=SMALL, tag=f"round{number}")
                return run_wrk(cache.port, "/", options.seconds if number else 1, lua=lua, folder=folder)["requests_count"]

            for cache in caches:
                value = cost(cache, load)
                if number:
                    figures.add(Figure("miss of 10 KiB", cache.name, number, value))
    return figures.finish(options)
