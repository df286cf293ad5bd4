"""Processor time per byte that one peer passes to another, on plain loopback.

A peer that owns the file's key loads it whole from nginx while it is alone; then a second peer with an empty cache joins, and a
client there asks for the file. What both peers spent meanwhile, and what the origin was still asked for, is the result. The client asks
once more, and what that costs is what the receiving peer spent on its client and not on the other peer.
"""

from __future__ import annotations

import socket
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from minicdn.core.roster import owners
from scripts.benchmarks.asking import RunFailed, ask, ask_json, wait_for
from scripts.benchmarks.processes import Crew, Started
from scripts.benchmarks.stage import clean_environment
from scripts.benchmarks.upstream import digest_of, make_file, nginx_command, read_log, summed

HOST = "127.0.0.1"
AIM = 500.0
"""MB per core-second."""
IDLE_AFTER_SECONDS, IDLE_SECONDS_MAX = 3.0, 60.0


@dataclass(frozen=True, slots=True)
class Passed:
    """MB are 10^6 bytes; seconds of processor time are user and system of each process."""

    size_bytes: int
    wall_seconds: float
    serving_cpu_seconds: float
    receiving_cpu_seconds: float
    giving_cpu_seconds: float
    origin_bytes: int
    is_right: bool

    @property
    def serving_rate(self) -> float:
        return self.size_bytes / 1e6 / max(self.serving_cpu_seconds, 0.001)

    @property
    def receiving_rate(self) -> float:
        return self.size_bytes / 1e6 / max(self.receiving_cpu_seconds, 0.001)

    @property
    def taking_rate(self) -> float:
        """Receiving, without what is spent on the client."""
        return self.size_bytes / 1e6 / max(self.receiving_cpu_seconds - self.giving_cpu_seconds, 0.001)

    def to_json(self) -> dict[str, Any]:
        rates = {"serving": self.serving_rate, "receiving": self.receiving_rate, "taking": self.taking_rate}
        return {**asdict(self), **{f"{name}_mb_per_core_second": rate for name, rate in rates.items()}}

    def told(self) -> str:
        wrong = "" if self.is_right else "  WRONG BYTES"
        return (
            f"serving {self.serving_rate:.0f} MB per core-second, receiving {self.receiving_rate:.0f} (aim: {AIM:.0f}), "
            f"{self.taking_rate:.0f} without what its client takes; "
            f"{self.wall_seconds:.2f} s, origin asked for {self.origin_bytes / self.size_bytes:.3f} of the file meanwhile{wrong}"
        )


def run_loopback(folder: Path, size_bytes: int) -> Passed:
    with Crew(folder, clean_environment()) as crew:
        return _Loopback(folder, crew, size_bytes).run()


class _Loopback:
    def __init__(self, folder: Path, crew: Crew, size_bytes: int) -> None:
        self._folder, self._crew = folder, crew
        self._origin, self._manager, self._serving, self._receiving = free_ports(4)
        name = name_owned_by(peer_url(self._serving), [peer_url(self._serving), peer_url(self._receiving)])
        self._file = make_file(folder / "www", size_bytes, name)

    def run(self) -> Passed:
        crew, file = self._crew, self._file
        crew.start("origin", nginx_command(self._folder, file.path.parent, HOST, self._origin))
        wait_for("nginx", lambda: ask(HOST, self._origin, "/") is not None, crew.members)
        self._start("manager", self._manager, "--upstream", peer_url(self._origin))
        serving = self._start_peer("serving", self._serving, 1)
        self._fetch(self._serving)
        receiving = self._start_peer("receiving", self._receiving, 2)
        sent, before, began_at = self._sent(), (serving.cpu_seconds(), receiving.cpu_seconds()), time.monotonic()
        got = self._fetch(self._receiving)
        wall_seconds = time.monotonic() - began_at
        sent = self._sent() - sent
        used = [now - then for now, then in zip((serving.cpu_seconds(), receiving.cpu_seconds()), before, strict=True)]
        _wait_idle(receiving)
        before_seconds = receiving.cpu_seconds()
        again = self._fetch(self._receiving, "again")
        used.append(receiving.cpu_seconds() - before_seconds)
        is_right = digest_of(got) == digest_of(again) == file.sha256
        return Passed(file.size_bytes, wall_seconds, *used, sent, is_right)

    def _start(self, name: str, port: int, *words: str) -> Started:
        role = "manager" if name == "manager" else "peer"
        place = ["--host", HOST, "--port", str(port), "--cache-dir", str(self._folder / f"cache-{name}")]
        return self._crew.start(name, [sys.executable, "-P", "-m", "minicdn", role, *words, *place])

    def _start_peer(self, name: str, port: int, count: int) -> Started:
        """Ready when every node lists so many peers."""
        peer = self._start(name, port, "--manager", peer_url(self._manager))
        ports = [self._manager, self._serving, port]
        nodes = [member for member in self._crew.members if member.is_running()]
        wait_for("the list of peers", lambda: all(_listed(node) == count for node in ports), nodes)
        return peer

    def _fetch(self, port: int, name: str = "client") -> Path:
        """The file as curl gets it there."""
        name, got = f"{name}-{port}", self._folder / f"got-{name}-{port}"
        client = self._crew.start(name, ["curl", "-sSf", "-o", str(got), f"{peer_url(port)}/{self._file.path.name}"])
        if not client.wait(600):
            raise RunFailed(f"{name} had no file after ten minutes")
        return got

    def _sent(self) -> int:
        return summed(read_log(self._folder)).bytes


def peer_url(port: int) -> str:
    return f"http://{HOST}:{port}"


def name_owned_by(url: str, urls: list[str]) -> str:
    """A file name whose key the peer of that URL owns."""
    members = [SimpleNamespace(id=each, url=each, weight=1.0) for each in urls]
    names = (f"file-{number}.bin" for number in range(1000))
    return next(name for name in names if owners(f"/{name}", members)[0].url == url)


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _wait_idle(process: Started) -> None:
    """Until nothing is left to be written and summed in the background, which begins some seconds after the file has come."""
    end_at, time_before = time.monotonic() + IDLE_SECONDS_MAX, -1.0
    time.sleep(IDLE_AFTER_SECONDS)
    while process.cpu_seconds() > time_before + 0.02 and time.monotonic() < end_at:
        time_before = process.cpu_seconds()
        time.sleep(1)


def _listed(port: int) -> int:
    return len(ask_json(HOST, port, "/_peers").get("peers", ()))
