"""Processor seconds per GB sent from a large file on disk, to one client and to 64, beside nginx's proxy_cache."""

from __future__ import annotations

import argparse

from scripts.benchmarks.caches import Cache, installed, start_origin
from scripts.benchmarks.figures import Figure, Figures, add_common_options, size_name, stage
from scripts.benchmarks.load import stream_all
from scripts.benchmarks.scenario import parse_size


def add_options(parser: argparse.ArgumentParser) -> None:
    add_common_options(parser)
    parser.add_argument("--size", type=parse_size, default=512 << 20, help="of the file (default: 512MiB)")
    parser.add_argument("--streams", type=int, action="append", metavar="N", help="may be given several times (default: 1 and 64)")
    parser.add_argument("--bytes", type=parse_size, default=4 << 30, help="about so many in a round (default: 4GiB)")


def run(options: argparse.Namespace) -> int:
    how = f"`scripts/bench disk`: {size_name(options.size)}, GB is 10⁹ bytes; the clients let the kernel throw them away."
    figures = Figures("disk", "A large file from disk: processor seconds per GB", how)
    with stage(options) as (crew, folder):
        origin = start_origin(crew, folder, [options.size])
        caches = [start(crew, folder, origin) for start in installed().values()]
        for cache in caches:
            for _ in range(2):
                stream_all(cache.port, f"/{options.size}", 1, options.size * 2)
        for number in range(1, options.rounds + 1):
            for streams in options.streams or (1, 64):
                for cache in caches:
                    figures.add(_one(cache, options, streams, number))
    return figures.finish(options)


def _one(cache: Cache, options: argparse.Namespace, streams: int, number: int) -> Figure:
    before = cache.cpu_seconds()
    received = 0
    while received < options.bytes:
        received += stream_all(cache.port, f"/{options.size}", streams, options.bytes - received)
    seconds = cache.cpu_seconds() - before
    case = f"{streams} {'stream' if streams == 1 else 'streams'}"
    return Figure(case, cache.name, number, seconds / received * 1e9, "s/GB", {"bytes": received})
