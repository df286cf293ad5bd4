"""Processor time of a peer hop: a node asks the owner, which has it. 10 KiB, both sides together.

Beside it two nginx in a row do the same: the first one misses, the second one hits. Each target is asked for once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

from minicdn.core.roster import owners
from scripts.benchmarks.asking import ask_json, wait_for
from scripts.benchmarks.caches import Cache, start_minicdn, start_nginx, start_origin
from scripts.benchmarks.figures import Figure, Figures, add_common_options, stage
from scripts.benchmarks.hits import SMALL, cost
from scripts.benchmarks.load import ask_all, request
from scripts.benchmarks.loopback import HOST, free_ports, peer_url
from scripts.benchmarks.processes import Crew

CONNECTIONS = 16


def add_options(parser: argparse.ArgumentParser) -> None:
    add_common_options(parser)
    parser.add_argument("--targets", type=int, default=3000, metavar="N", help="in each round")


def run(options: argparse.Namespace) -> int:
    how = f"`scripts/bench hop`: {CONNECTIONS} connections, each target once, both sides together, a log line at each."
    figures = Figures("hop", "A peer hop of 10 KiB: processor time", how)
    with stage(options) as (crew, folder):
        origin = start_origin(crew, folder, [SMALL])
        chains = [_minicdn_chain(crew, folder, origin), _nginx_chain(crew, folder, origin)]
        names = _targets_owned(chains[0][1].port, chains[0][0].port)
        for number in range(options.rounds + 1):
            asked = [next(names) for _ in range(options.targets if number else 200)]
            for asking, owning in chains:
                ask_all(owning.port, map(request, asked), connections=CONNECTIONS)
                both = Cache(asking.name, asking.port, (*asking.processes, *owning.processes))
                value = cost(both, lambda cache, asked=asked: ask_all(cache.port, map(request, asked), connections=CONNECTIONS))
                if number:
                    figures.add(Figure("peer hop of 10 KiB", asking.name, number, value))
    return figures.finish(options)


def _nginx_chain(crew: Crew, folder: Path, origin_port: int) -> tuple[Cache, Cache]:
    owning = start_nginx(crew, folder, origin_port, "nginx-owning")
    return start_nginx(crew, folder, owning.port, "nginx-asking"), owning


def _minicdn_chain(crew: Crew, folder: Path, origin_port: int) -> tuple[Cache, Cache]:
    """Two peers of one manager, which keeps the log."""
    manager = start_minicdn(crew, folder, origin_port)
    peers = []
    for name, port in zip(("asking", "owning"), free_ports(2), strict=True):
        place = ["--host", HOST, "--port", str(port), "--cache-dir", str(folder / name)]
        words = [sys.executable, "-P", "-m", "minicdn", "peer", "--manager", peer_url(manager.port), *place]
        peers.append(Cache("minicdn", port, (crew.start(name, words),)))
    wait_for("the list of peers", lambda: all(_listed(each) == 2 for each in peers), crew.members)
    return peers[0], peers[1]


def _listed(peer: Cache) -> int:
    return len(ask_json(HOST, peer.port, "/_peers").get("peers", ()))


def _targets_owned(owning_port: int, other_port: int) -> Iterator[str]:
    urls = [peer_url(owning_port), peer_url(other_port)]
    members = [SimpleNamespace(id=url, url=url, weight=1.0) for url in urls]
    for number in range(10**9):
        target = f"/any/{SMALL}/{number}"
        if owners(target, members)[0].url == urls[0]:
            yield target
