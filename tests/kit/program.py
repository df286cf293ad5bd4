"""minicdn's own processes: managers and peers, alone or as a cluster, started as their users start them; but where a test waits for a node
to be ready, it is none of the start, and the node has its imports from the nursery (nursery.py)."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.kit.asking import Answer, ask
from tests.kit.ports import free_port
from tests.kit.process import Process
from tests.kit.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
EXIT_PORT_TAKEN = 3


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The runner's environment without minicdn's own variables, so that the machine's settings can't change a test."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MINICDN_")}
    path = [str(ROOT), *filter(None, [kept.get("PYTHONPATH")])]
    return {**kept, "PYTHONPATH": os.pathsep.join(path), **(extra or {})}


def command_line(role: str, *, module: str = "minicdn", **options: Any) -> list[str]:
    """`minicdn ROLE --option value …`; option names with underscores; None leaves the option out, True gives it bare. module: what runs
    instead, with minicdn in it."""
    words = [sys.executable, "-m", module, role]
    for name, value in options.items():
        if value is None:
            continue
        words.append("--" + name.replace("_", "-"))
        if value is not True:
            words.append(str(value))
    return words


class Minicdn(Process):
    """One manager or peer. Construction returns at once; `wait_ready` waits for its health to be good."""

    def __init__(
        self, role: str, name: str, folder: Path, *, env: Mapping[str, str] | None = None, is_forked: bool = False, **options: Any
    ) -> None:
        options.setdefault("host", "127.0.0.1")
        options.setdefault("port", 0)
        options.setdefault("cache_dir", folder / f"{name}-cache")
        self.role, self.options = role, options
        self.cache_dir = Path(options["cache_dir"])
        self._known_port: int | None = options["port"] or None
        folder.mkdir(parents=True, exist_ok=True)
        # The working folder is its own, so that no minicdn.toml of the runner's is read.
        super().__init__(name, command_line(role, **options), folder, env=environment(env), cwd=folder, is_forked=is_forked)

    @property
    def port(self) -> int:
        """The port that it listens on: the one given, or the one that its first lines name."""
        if self._known_port is None:
            self._known_port = eventually(self._printed_port, f"{self.name} to print its address", show=self.show)
        return self._known_port

    def _printed_port(self) -> int | None:
        others = {str(self.options.get(name, "")).rstrip("/") for name in ("upstream", "manager", "advertise")}
        for url, port in re.findall(rf"({self._scheme}://[\w.\-\[\]:]+?:(\d+))(?!\d)", self.output):
            if url not in others and int(port):
                return int(port)
        return None

    @property
    def _scheme(self) -> str:
        return "https" if self.options.get("tls_cert") else "http"

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}"

    def is_ready(self) -> bool:
        assert self.is_running(), self.show()
        return ask(self.url, "/_health", deadline_seconds=5).status == 200

    def wait_ready(self, *, deadline_seconds: float = 30.0) -> Minicdn:
        eventually(
            lambda: not self.is_running() or self.is_ready(), f"{self.name} to be ready", deadline_seconds=deadline_seconds, show=self.show
        )
        assert self.is_running(), f"{self.name} ended instead of getting ready\n{self.show()}"
        return self

    def ask(self, target: bytes | str, **options: Any) -> Answer:
        """The answer of this node itself; a manager's redirect is not followed."""
        return ask(self.url, target, **options)

    def json(self, target: str) -> Any:
        return json.loads(self.ask(target).body)

    def stats(self) -> dict[str, Any]:
        return self.json("/_stats")

    def memory_in_use(self) -> int:
        """Bytes of bodies that it holds in memory, as it says itself."""
        stats = self.stats()
        return stats["memory_main_bytes"] + stats["memory_hot_bytes"] + stats["memory_filling_bytes"]

    def disk_in_use(self) -> int:
        return self.stats()["disk_used_bytes"]

    def interrupt(self) -> None:
        """A Ctrl-C."""
        self.signal(signal.SIGINT)


def start_manager(folder: Path, upstream: str, *, name: str = "manager", **options: Any) -> Minicdn:
    """A ready manager on a port that it can come back to."""
    for _ in range(5):
        port = options.pop("port", None) or free_port()
        manager = Minicdn("manager", name, folder, upstream=upstream, port=port, is_forked=True, **options)
        try:
            return manager.wait_ready()
        except AssertionError:
            manager.kill()
            if manager.wait() != EXIT_PORT_TAKEN:
                raise
    raise AssertionError("five free ports were all taken by others")


def members_of(node: Minicdn) -> list[dict[str, Any]]:
    """The list as a node sees it: dictionaries with `id`, `url` and more."""
    return node.json("/_peers")["peers"]
