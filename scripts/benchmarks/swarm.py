"""Cold downloads by many peers at once, over shaped links, beside the ideal.

Hosts are network namespaces with links of 100 Mbit/s each way; all peers start together and the slowest counts:
slowest ÷ max(F/u_origin, F/d_min, N·F/(u_origin + Σu_i)), and the origin's bytes ÷ F. With one peer, curl fetches the same
from the origin first, and its time is what counts. Needs root, iproute2, nginx and curl; with --loopback, only nginx and
curl, and what is measured is processor time per byte passed from one peer to another.

Columns: cpu is what the run's processes used of all cores, machine what everybody used: near 100 % it is the machine, and not
the links, that limits.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from scripts.benchmarks import charts, report
from scripts.benchmarks.loopback import run_loopback
from scripts.benchmarks.namespaces import run_prefix, sweep
from scripts.benchmarks.outcome import Outcome
from scripts.benchmarks.processes import wait_calm
from scripts.benchmarks.race import run_race
from scripts.benchmarks.refusal import CannotMeasure, found_program, require_namespaces
from scripts.benchmarks.scenario import BY_N, MIB, SCENARIOS, Scenario, parse_kill, parse_rate, parse_size, parse_slow
from scripts.benchmarks.systems import SYSTEM_NAMES, Plain, System, system_named
from scripts.benchmarks.upstream import File, make_file

LOOPBACK_BYTES = 512 * MIB
_NOT_KEPT = ("cache-*", "got-*", "www", "body", "proxy", "fastcgi", "uwsgi", "scgi", "nginx.pid")


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--system", action="append", choices=SYSTEM_NAMES, help="what is measured; may be given several times (default: minicdn)")
    add("--peers", type=int, default=8, metavar="N")
    add("--size", type=_checked(parse_size), help="of the file (default: 64MiB; 512MiB with --loopback)")
    add("--uplink", type=_checked(parse_rate), default="100mbit", metavar="RATE", help="of every link, each way (default: 100mbit)")
    add("--slow", type=_checked(parse_slow), metavar="N:RATE", help="that many peers with that uplink, for example 4:20mbit")
    add("--kill", type=_checked(parse_kill), metavar="N@SHARE", help="that many peers killed at that share of the ideal time: 2@0.4")
    add("--repeat", type=int, default=1, metavar="N")
    add("--all", action="store_true", help="the whole table, in place of one scenario")
    add("--by-n", action="store_true", help="1, 2, 4, 8 and 16 peers, for the chart")
    add("--loopback", action="store_true", help="processor time per byte between two peers, without shaping and without root")
    add("--json", type=Path, metavar="FILE", help="write everything that is known of each run")
    add("--svg", type=Path, metavar="FILE", help="draw time by number of peers beside the ideal")
    add("--doc", type=Path, metavar="FILE", help="refresh the section between <!-- bench:swarm --> and <!-- /bench:swarm --> of this file")
    add("--detail", action="store_true", help="after each run a line for each host: finish, processor time, bytes, use of the uplink")
    add("--keep-logs", type=Path, metavar="DIR", help="keep what each run's processes said, and the origin's log")
    add("--folder", type=Path, metavar="DIR", help="where caches and the file are (default: the temporary folder)")
    add("--calm", type=float, default=0, metavar="SECONDS", help="before each run wait so long at most for a machine that is mostly idle")
    add("--nice", type=int, metavar="N", help="priority of the run's processes, -20 to 19, where others use the machine too")
    add("--libtorrent-python", metavar="PYTHON", help="a Python that has libtorrent (or MINICDN_BENCH_LIBTORRENT)")


def run(options: argparse.Namespace) -> int:
    for name in ("nginx", "curl"):
        found_program(name)
    if options.loopback:
        return _run_loopback(options)
    scenarios = chosen_scenarios(options)
    require_namespaces()
    systems = [system_named(name, options.libtorrent_python) for name in options.system or ["minicdn"]]
    sweep(options.folder or Path(tempfile.gettempdir()))
    if options.nice is not None:
        os.setpriority(os.PRIO_PROCESS, 0, options.nice)
    with _run_folder(options) as folder:
        outcomes = _Session(options, Path(folder)).run(systems, scenarios)
    return 0 if all(outcome.is_whole for outcome in outcomes) else 1


def _run_loopback(options: argparse.Namespace) -> int:
    passed = []
    for _ in range(options.repeat):
        wait_calm(options.calm)
        with _run_folder(options) as folder:
            passed.append(run_loopback(Path(folder), options.size or LOOPBACK_BYTES))
        print(passed[-1].told(), flush=True)
    if options.json:
        options.json.write_text(json.dumps([each.to_json() for each in passed], indent=1) + "\n")
    return 0 if all(each.is_right for each in passed) else 1


def _run_folder(options: argparse.Namespace) -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix=f"{run_prefix()}-", dir=options.folder, ignore_cleanup_errors=True)


def chosen_scenarios(options: argparse.Namespace) -> list[Scenario]:
    size_bytes = options.size or 64 * MIB
    basis = Scenario(peers=options.peers, size_bytes=size_bytes, rate=options.uplink)
    if options.slow:
        basis = replace(basis, slow_count=options.slow[0], slow_rate=options.slow[1])
    if options.kill:
        basis = replace(basis, kill_count=options.kill[0], kill_at=options.kill[1])
    chosen = [replace(known, size_bytes=size_bytes, rate=options.uplink) for known in _listed(options)] or [basis]
    for scenario in chosen:
        try:
            scenario.check()
        except ValueError as error:
            raise CannotMeasure(str(error)) from None
    return chosen


def _listed(options: argparse.Namespace) -> list[Scenario]:
    return list(dict.fromkeys([*(SCENARIOS if options.all else ()), *(BY_N if options.by_n else ())]))


class _Session:
    """All runs of one call. What was measured so far is written even if it is stopped."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self._options, self._folder = options, folder
        self._outcomes: list[Outcome] = []
        self._files: dict[int, File] = {}

    def run(self, systems: list[System], scenarios: list[Scenario]) -> list[Outcome]:
        print(report.row(report.HEADINGS), flush=True)
        try:
            for scenario in scenarios:
                for number in range(1, self._options.repeat + 1):
                    for system in systems:
                        self._run_once(system, scenario, number)
        finally:
            self._write()
        return self._outcomes

    def _run_once(self, system: System, scenario: Scenario, number: int) -> None:
        curl_seconds = None
        if scenario.is_beside_curl and system.name != "plain":
            _progress(f"curl, {scenario.name}, run {number}")
            curl_seconds = self._race(Plain(), scenario, number).slowest_seconds or None
        _progress(f"{system.name}, {scenario.name}, run {number}")
        outcome = self._race(system, scenario, number)
        outcome.curl_seconds = curl_seconds
        self._outcomes.append(outcome)
        _progress("")
        print(report.row(report.outcome_cells(outcome, number)), flush=True)
        if self._options.detail:
            print(report.host_table(outcome), flush=True)

    def _race(self, system: System, scenario: Scenario, number: int) -> Outcome:
        folder, file = Path(tempfile.mkdtemp(dir=self._folder)), self._file(scenario.size_bytes)
        wait_calm(self._options.calm)
        try:
            return run_race(system, scenario, file, folder, number=number)
        finally:
            self._keep_logs(folder, f"{system.name}-{scenario.name}-{number}")
            shutil.rmtree(folder, ignore_errors=True)

    def _file(self, size_bytes: int) -> File:
        if size_bytes not in self._files:
            self._files[size_bytes] = make_file(self._folder / f"www-{size_bytes}", size_bytes)
        return self._files[size_bytes]

    def _keep_logs(self, folder: Path, name: str) -> None:
        if self._options.keep_logs:
            kept = self._options.keep_logs / name.replace(", ", "-").replace(" ", "")
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(folder, kept, ignore=shutil.ignore_patterns(*_NOT_KEPT))

    def _write(self) -> None:
        options, outcomes = self._options, self._outcomes
        if not outcomes:
            return
        if len(outcomes) > 1:
            print("\n" + report.markdown_table(outcomes))
        if options.json:
            report.write_json(options.json, outcomes)
        if options.svg:
            options.svg.write_text(charts.time_by_peers(outcomes))
        if options.doc:
            chart = os.path.relpath(options.svg, options.doc.parent) if options.svg else ""
            options.doc.write_text(report.replace_section(options.doc.read_text(), "swarm", report.section(outcomes, chart)))


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def _checked(parse):
    """For argparse: the reason of a ValueError is shown."""

    def checked(text: str):
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return checked
