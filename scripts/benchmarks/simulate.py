"""A swarm's policy in a simulation, up to 1,000 peers, beside the ideal.

What decides in a node (the deal, the picker, referrals) decides here; links are fluid, time is simulated, nothing is sent. Each peer's time
counts from its own joining; the slowest of those that do not die, ÷ the ideal, and the origin's bytes ÷ the file, as `scripts/bench swarm`
measures with real processes.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from minicdn.core.pieces import Pieces
from minicdn.values import parse_size
from scripts.benchmarks.scenario import MBIT, show_size
from scripts.benchmarks.simulation import Host, Outcome, Simulation
from scripts.benchmarks.simulation_chart import draw

MIB = 1 << 20
BY_N = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000)
UPLINKS, SHARES = (20.0, 50.0, 100.0, 200.0), (10, 30, 40, 20)
"""Unequal links: Mbit/s, and of a hundred peers how many have that uplink. A downlink is never slower than 100 Mbit/s."""
BEGIN, END = "<!-- bench:simulate -->", "<!-- /bench:simulate -->"


@dataclass(frozen=True, slots=True)
class Case:
    """One swarm. time_max: in ideals; who has not finished by then never does. streamer: which of the hosts
    takes all from the origin in one answer, as the file's owner; None: each owner of pieces asks the origin."""

    name: str
    size_bytes: int
    hosts: tuple[Host, ...]
    origin_up: float = 100 * MBIT
    time_max: float = 6.0
    piece_bytes: int = 0
    streamer: int | None = None

    def ideal_seconds(self) -> float:
        """The least time within which all who stay could have the file, each from its joining: the origin sends it once, each peer takes
        it once, and whenever some are to be ready, what the origin and all uplinks could send until then is a copy for each of them at
        least. Without comers and goers that is max(F/u_origin, F/d_min, N·F/(u_origin + Σu_i)); the dying lend their uplinks until then."""
        stay = [host for host in self.hosts if host.dies_after is None]
        least = max(self.size_bytes / self.origin_up, self.size_bytes / min(host.down for host in stay))
        return max(least, *(self._copies_seconds(rank, host.joins_after) for rank, host in enumerate(sorted(stay, key=_joins_after), 1)))

    def _copies_seconds(self, count: int, joined: float) -> float:
        """From the joining of the last of `count` peers until so many copies could be sent."""
        low, high = 0.0, count * self.size_bytes / self.origin_up
        for _ in range(50):
            middle = (low + high) / 2
            sent = self.origin_up * (joined + middle) + sum(host.up * _active_seconds(host, joined + middle) for host in self.hosts)
            low, high = (low, middle) if sent >= count * self.size_bytes else (middle, high)
        return high


def _joins_after(host: Host) -> float:
    return host.joins_after


def _active_seconds(host: Host, until: float) -> float:
    return max(min(until, host.dies_after if host.dies_after is not None else until) - host.joins_after, 0.0)


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    peers: int
    size_bytes: int
    ideal_seconds: float
    slowest: float
    median: float
    unfinished: int
    origin_files: float
    questions_per_piece: float
    cpu_seconds: float


def peer(up: float = 100.0, **facts: object) -> Host:
    return Host(up * MBIT, max(up, 100.0) * MBIT, **facts)


def small_cases(size_bytes: int = 64 * MIB) -> list[Case]:
    """What `scripts/bench swarm` measures too, and two peers that do harm."""
    ideal = size_bytes / (100 * MBIT)
    slow, rest = (peer(20.0),) * 4, (peer(),) * 4
    cases = (
        ("equal links", (peer(),) * 8),
        ("equal links", (peer(),) * 16),
        ("4 uplinks 20 Mbit/s, unknown", slow + rest),
        ("4 uplinks 20 Mbit/s, known", tuple(replace(host, weight=host.up) for host in slow + rest)),
        ("2 killed at 0.4", (peer(dies_after=0.4 * ideal),) * 2 + (peer(),) * 6),
        ("1 accepts and sends nothing", (peer(is_mute=True), *(peer(),) * 7)),
        ("4 uplinks 20 Mbit/s, 1 holder sends wrong bytes", (*slow, peer(is_liar=True), *rest[1:])),
    )
    streamed = [replace(Case(f"{name}, in one answer", size_bytes, hosts), streamer=len(hosts) - 1) for name, hosts in cases[:5]]
    return [Case(name, size_bytes, hosts) for name, hosts in cases] + streamed


def unequal_case(count: int, size_bytes: int, seed: int) -> Case:
    """Unequal links, known to all; one in twenty joins late, one in twenty dies."""
    rng = random.Random(seed)
    seconds = size_bytes / (100 * MBIT)
    hosts = []
    for _ in range(count):
        up, fate = rng.choices(UPLINKS, SHARES)[0], rng.random() if count > 1 else 1.0
        late = rng.random() * 0.3 * seconds
        host = peer(up, weight=up)
        hosts.append(replace(host, joins_after=late) if fate < 0.05 else replace(host, dies_after=late) if fate < 0.1 else host)
    return Case("unequal links, churn", size_bytes, tuple(hosts))


def simulate(case: Case, seed: int) -> Row:
    began = time.process_time()
    pieces = Pieces(case.size_bytes, case.piece_bytes) if case.piece_bytes else None
    simulation = Simulation(case.size_bytes, case.origin_up, list(case.hosts), seed, pieces, case.streamer)
    outcome = simulation.run(case.time_max * case.ideal_seconds())
    return row_of(case, outcome, simulation.pieces.count, time.process_time() - began)


def row_of(case: Case, outcome: Outcome, pieces_count: int, cpu_seconds: float) -> Row:
    meant = [seconds for seconds, host in zip(outcome.finished, case.hosts, strict=True) if host.dies_after is None]
    done = sorted(seconds for seconds in meant if seconds is not None) or [float("inf")]
    ideal, unfinished = case.ideal_seconds(), sum(seconds is None for seconds in meant)
    return Row(
        name=case.name,
        peers=len(case.hosts),
        size_bytes=case.size_bytes,
        ideal_seconds=ideal,
        slowest=float("inf") if unfinished else done[-1] / ideal,
        median=done[len(done) // 2] / ideal,
        unfinished=unfinished,
        origin_files=outcome.origin_bytes / case.size_bytes,
        questions_per_piece=outcome.questions_count / pieces_count / len(case.hosts),
        cpu_seconds=cpu_seconds,
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--peers", type=int, default=8, metavar="N", help="with unequal links and churn; with --equal, equal links (default: 8)")
    add("--size", type=parse_size, default="64MiB", help="of the file (default: 64MiB)")
    add("--seed", type=int, default=1, metavar="N")
    add("--equal", action="store_true", help="links of 100 Mbit/s each way, and nobody comes or goes")
    add("--by-n", action="store_true", help="1, 2, 4 … 1000 peers, up to --peers, with equal and with unequal links")
    add("--all", action="store_true", help="the small cases, and by number of peers up to --peers")
    add("--json", type=Path, metavar="FILE", help="keep the rows here; what it has already is not run again")
    add("--svg", type=Path, metavar="FILE", help="draw the ratio by number of peers")
    add("--doc", type=Path, metavar="FILE", help=f"put the table between {BEGIN} and {END} in this file")


def chosen(options: argparse.Namespace) -> list[Case]:
    is_by_n = options.by_n or options.all
    counts = [count for count in BY_N if count <= options.peers] if is_by_n else [options.peers]
    cases = small_cases() if options.all else []
    if options.equal or is_by_n:
        cases += [Case("equal links", options.size, (peer(),) * count) for count in counts]
    if not options.equal:
        cases += [unequal_case(count, options.size, options.seed) for count in counts]
    return cases


def run(options: argparse.Namespace) -> int:
    if not 1 <= options.peers <= 1000:
        print("scripts/bench: between 1 and 1000 peers", file=sys.stderr)
        return 2
    known = _kept(options.json)
    rows: list[Row] = []
    for case in chosen(options):
        row = known.get((case.name, len(case.hosts), case.size_bytes)) or simulate(case, options.seed)
        rows.append(row)
        print(markdown_row(row), flush=True)
        if options.json:
            _keep(options.json, [*known.values(), *(row for row in rows if _which(row) not in known)])
    if options.svg:
        options.svg.write_text(draw(_series(rows, options.size)), "utf-8")
    if options.doc:
        put_in(options.doc, markdown_table(rows))
    return 0 if all(not row.unfinished for row in rows) else 1


def _which(row: Row) -> tuple[str, int, int]:
    return row.name, row.peers, row.size_bytes


def _kept(path: Path | None) -> dict[tuple[str, int, int], Row]:
    rows = [Row(**row) for row in json.loads(path.read_text("utf-8"))] if path is not None and path.exists() else []
    return {_which(row): row for row in rows}


def _keep(path: Path, rows: list[Row]) -> None:
    path.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", "utf-8")


def _series(rows: list[Row], size_bytes: int) -> dict[str, list[tuple[int, float]]]:
    """By kind of links, what grew with the number of peers."""
    series: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        if row.size_bytes == size_bytes:
            series.setdefault(row.name, []).append((row.peers, row.slowest))
    return {name: points for name, points in series.items() if len(points) > 2}


def markdown_row(row: Row) -> str:
    ratio = f"{row.slowest:.2f}" if not row.unfinished else f"{row.unfinished} not done"
    cells = (
        row.name,
        row.peers,
        show_size(row.size_bytes),
        f"{row.ideal_seconds:.1f}",
        ratio,
        f"{row.median:.2f}",
        f"{row.origin_files:.2f}",
    )
    return "| " + " | ".join(map(str, cells)) + f" | {row.questions_per_piece:.1f} |"


def markdown_table(rows: list[Row]) -> str:
    head = [
        "| links | peers | file | ideal, s | slowest ÷ ideal | median ÷ ideal | origin bytes ÷ file | questions per piece |",
        "|---" * 8 + "|",
    ]
    return "\n".join(head + [markdown_row(row) for row in rows])


def put_in(path: Path, table: str) -> None:
    before, begin, rest = path.read_text("utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path} has no {BEGIN} … {END}")
    path.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", "utf-8")
