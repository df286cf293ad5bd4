"""Where a run takes place: the network, the folder, the file, and how things are started on a host and asked."""

from __future__ import annotations

import http.client
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.benchmarks.namespaces import Network
from scripts.benchmarks.processes import Crew, Started
from scripts.benchmarks.scenario import Scenario
from scripts.benchmarks.upstream import GRACEFUL, File, nginx_command

ROOT = Path(__file__).resolve().parents[2]
ORIGIN, MANAGER = "origin", "manager"
PORT = 8080


class RunFailed(Exception):
    """A run that did not come to its end, and why."""


def clean_environment() -> dict[str, str]:
    """Without minicdn's own variables and proxies: the machine's settings must not change a measurement."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MINICDN_") and not name.lower().endswith("_proxy")}
    return {**kept, "PYTHONPATH": str(ROOT)}


@dataclass
class Stage:
    scenario: Scenario
    network: Network
    crew: Crew
    folder: Path
    file: File

    @property
    def peers(self) -> list[str]:
        return peer_names(self.scenario)

    @property
    def origin_url(self) -> str:
        return f"http://{self.network.address(ORIGIN)}:{PORT}"

    def start(self, host: str, words: Sequence[str], *, name: str = "", is_told: bool = False) -> Started:
        return self.crew.start(name or host, self.network.command(host, words), is_told=is_told)

    def start_origin(self) -> Started:
        words = nginx_command(self.folder, self.file.path.parent, self.network.address(ORIGIN), PORT)
        origin = self.start(ORIGIN, words)
        self.wait_for("the origin to answer", lambda: self.ask(ORIGIN, PORT, "/") is not None, [origin])
        return origin

    def stop_origin(self) -> None:
        for member in self.crew.members:
            if member.name == ORIGIN:
                member.signal(GRACEFUL)
                member.wait(10)

    def ask(self, host: str, port: int, target: str) -> bytes | None:
        """The body of an answer to a GET made on that host, whatever its status; None where nobody answers."""
        connection = http.client.HTTPConnection(self.network.address(host), port, timeout=5)
        try:
            with self.network.inside(host):
                connection.connect()
            connection.request("GET", target)
            return connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def ask_json(self, host: str, port: int, target: str) -> dict[str, Any]:
        try:
            found = json.loads(self.ask(host, port, target) or b"{}")
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def wait_for(self, what: str, is_so: Callable[[], bool], by: Sequence[Started], *, deadline_seconds: float = 60.0) -> None:
        end_at = time.monotonic() + deadline_seconds
        while not is_so():
            for process in by:
                if not process.is_running():
                    raise RunFailed(f"{process.name} ended: {process.said()}")
            if time.monotonic() > end_at:
                raise RunFailed(f"waited {deadline_seconds:g} s for {what}")
            time.sleep(0.05)


def peer_names(scenario: Scenario) -> list[str]:
    return [f"peer{number}" for number in range(1, scenario.peers + 1)]
