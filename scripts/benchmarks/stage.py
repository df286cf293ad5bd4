"""Where a run takes place: the network, the folder, the file, and how things are started on a host and asked."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.benchmarks.asking import ask, ask_json, wait_for
from scripts.benchmarks.namespaces import Network
from scripts.benchmarks.processes import Crew, Started
from scripts.benchmarks.scenario import Scenario
from scripts.benchmarks.upstream import GRACEFUL, File, nginx_command

ROOT = Path(__file__).resolve().parents[2]
ORIGIN, MANAGER = "origin", "manager"
PORT = 8080


def clean_environment() -> dict[str, str]:
    """Without minicdn's own variables and proxies: the machine's settings must not change a measurement. And compiled files are kept, as
    they are wherever minicdn is installed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MINICDN_") and not name.lower().endswith("_proxy")}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
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
        return self.scenario.peer_names()

    @property
    def origin_url(self) -> str:
        return f"http://{self.network.address(ORIGIN)}:{PORT}"

    def start(self, host: str, words: Sequence[str], *, name: str = "", is_told: bool = False) -> Started:
        return self.crew.start(name or host, self.network.command(host, words), is_told=is_told)

    def start_origin(self) -> None:
        address = self.network.address(ORIGIN)
        self.start(ORIGIN, nginx_command(self.folder, self.file.path.parent, address, PORT))
        self.wait_for("the origin to answer", lambda: ask(address, PORT, "/", self.network.inside(ORIGIN)) is not None)

    def stop_origin(self) -> None:
        for member in self.crew.members:
            if member.name == ORIGIN:
                member.signal(GRACEFUL)
                member.wait(10)

    def ask_json(self, host: str, port: int, target: str) -> dict[str, Any]:
        """Asked on the host itself, so that no shaped link is used."""
        return ask_json(self.network.address(host), port, target, self.network.inside(host))

    def wait_for(self, what: str, is_so: Callable[[], bool]) -> None:
        wait_for(what, is_so, self.crew.members)
