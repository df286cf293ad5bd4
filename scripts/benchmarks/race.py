"""One run: cold hosts, one start, and when each client had the whole file.

Every client is curl, started beforehand and waiting for its configuration on standard input, so that the start of processes is not
timed. Telling all of them is the barrier. It writes a file, which is hashed when the race is over: all hosts share this machine's cores,
and a pipe and a hash would take more of them than the client itself. Traffic and processor time are taken just before the barrier and
when the last client has ended.
"""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

from scripts.benchmarks.asking import RunFailed
from scripts.benchmarks.namespaces import Link, Network, Traffic
from scripts.benchmarks.outcome import Outcome
from scripts.benchmarks.processes import Crew, Started, machine_cpu_seconds, wait_some
from scripts.benchmarks.scenario import Scenario
from scripts.benchmarks.stage import MANAGER, ORIGIN, Stage, clean_environment
from scripts.benchmarks.systems import System
from scripts.benchmarks.upstream import File, digest_of, read_log, summed

TICK_SECONDS = 0.25
_SETTLE_SECONDS = 0.5


def run_race(system: System, scenario: Scenario, file: File, folder: Path, *, number: int = 0) -> Outcome:
    """`number` of the run decides who is killed."""
    outcome = Outcome(system.name, scenario)
    with Network(links_of(scenario)) as network, Crew(folder, clean_environment()) as crew:
        stage = Stage(scenario, network, crew, folder, file)
        try:
            system.start(stage)
            race = _Race(stage, system, outcome, number)
            race.run()
            race.look_back()
        except RunFailed as error:
            outcome.failed["start"] = str(error)
    return outcome


def links_of(scenario: Scenario) -> dict[str, Link]:
    full = Link(scenario.rate, scenario.rate)
    peers = zip(scenario.peer_names(), scenario.uplinks(), strict=True)
    return {ORIGIN: full, MANAGER: full, **{name: Link(up, scenario.rate) for name, up in peers}}


class _Race:
    def __init__(self, stage: Stage, system: System, outcome: Outcome, number: int) -> None:
        self._stage, self._system, self._outcome = stage, system, outcome
        self._doomed = sorted(random.Random(number).sample(stage.peers, stage.scenario.kill_count))
        self._clients = {host: stage.start(host, ["curl", "-sS", "-K", "-"], name=f"client-{host}", is_told=True) for host in stage.peers}

    def run(self) -> None:
        time.sleep(_SETTLE_SECONDS)
        self._cpu, self._machine_cpu = self._stage.crew.cpu_seconds(), machine_cpu_seconds()
        self._traffic = self._stage.network.traffic()
        self._began_at = time.monotonic()
        for host, client in self._clients.items():
            client.tell(f'url = "{self._system.url(self._stage, host)}"\noutput = "{self._got(host)}"\nfail\nwrite-out = "%{{json}}"\n')
        self._wait_all()
        self._take_stock()

    def _wait_all(self) -> None:
        deadline = deadline_seconds(self._stage.scenario)
        running, doomed = dict(self._clients), bool(self._doomed)
        while running:
            if doomed and self._passed() >= self._stage.scenario.kill_after_seconds:
                self._kill(running)
                doomed = False
            if self._passed() > deadline:
                self._outcome.failed |= {host: f"not done after {deadline:g} s" for host in running}
                return
            if not wait_some(running.values(), self._next_look(doomed)):
                self._note_traffic()
            running = {host: client for host, client in running.items() if client.is_running()}

    def _got(self, host: str) -> Path:
        return self._stage.folder / f"got-{host}"

    def _passed(self) -> float:
        return time.monotonic() - self._began_at

    def _next_look(self, doomed: bool) -> float:
        until_kill = self._stage.scenario.kill_after_seconds - self._passed()
        return min(TICK_SECONDS, max(until_kill, 0)) if doomed else TICK_SECONDS

    def _kill(self, running: dict[str, Started]) -> None:
        """The peers and their clients, without a word."""
        for host in self._doomed:
            if running.pop(host, None) is not None:
                self._outcome.killed.append(host)
            for member in self._stage.crew.members:
                if member.name in (host, f"client-{host}"):
                    member.kill()

    def _note_traffic(self) -> None:
        passed, now = round(self._passed(), 3), self._stage.network.traffic()
        self._outcome.timeline.append({"at": passed, **{host: _as_map(now[host] - self._traffic[host]) for host in now}})

    def _take_stock(self) -> None:
        outcome, stage = self._outcome, self._stage
        outcome.wall_seconds = self._passed()
        now = stage.network.traffic()
        outcome.traffic = {host: _as_map(now[host] - self._traffic[host]) for host in now}
        outcome.origin_device_bytes = outcome.traffic[ORIGIN]["sent"]
        outcome.machine_cpu_seconds = machine_cpu_seconds() - self._machine_cpu
        outcome.cpu_seconds = {name: round(used - self._cpu.get(name, 0), 3) for name, used in stage.crew.cpu_seconds().items()}

    def look_back(self) -> None:
        """After the race, and untimed: who got what, what peers say of themselves, and the origin's log once it is complete."""
        for host, client in self._clients.items():
            if host not in self._outcome.killed and host not in self._outcome.failed:
                self._judge(host, client)
        alive = [host for host in self._stage.peers if host not in self._doomed]
        self._outcome.stats = {host: found for host in alive if (found := self._system.stats(self._stage, host))}
        for member in self._stage.crew.members:
            if member.name != ORIGIN:
                member.kill()
        self._stage.stop_origin()
        self._read_log()

    def _judge(self, host: str, client: Started) -> None:
        if not self._system.is_right(self._stage, host, digest_of(self._got(host))):
            self._outcome.failed[host] = f"not the file's bytes: {client.said()[:200]}"
            return
        assert client.ended_at is not None
        self._outcome.finish_seconds[host] = round(client.ended_at - self._began_at, 4)
        self._outcome.clients[host] = _curl_says(client.out.read_text())

    def _read_log(self) -> None:
        if (self._stage.folder / "access.log").exists():
            name = f"/{self._stage.file.path.name}"
            sent = summed([row for row in read_log(self._stage.folder) if row["uri"] == name])
            self._outcome.origin_requests, self._outcome.origin_log_bytes = sent.requests, sent.bytes


def deadline_seconds(scenario: Scenario) -> float:
    """As long as it takes if one slow host sends twice what all need."""
    return 30 + 2 * scenario.peers * scenario.size_bytes / min(scenario.uplinks())


def _curl_says(text: str) -> dict:
    try:
        said = json.loads(text)
    except ValueError:
        return {}
    return {key: said.get(key) for key in ("http_code", "size_download", "time_starttransfer", "time_total")}


def _as_map(traffic: Traffic) -> dict[str, int]:
    return {"sent": traffic.sent, "received": traffic.received}
