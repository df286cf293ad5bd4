"""The systems that are compared. Each brings its hosts to the point where one request at each peer host starts the race.

A system says what the client on a host asks for, and how it is known that the host has got the file. The client is always curl,
on the host itself.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Protocol

from scripts.benchmarks.refusal import CannotMeasure
from scripts.benchmarks.stage import MANAGER, ORIGIN, Stage
from scripts.benchmarks.upstream import digest_of

MANAGER_PORT, PEER_PORT = 11000, 11001


class System(Protocol):
    name: str

    def start(self, stage: Stage) -> None: ...
    def url(self, stage: Stage, host: str) -> str: ...
    def is_right(self, stage: Stage, host: str, sha256: str) -> bool: ...
    def stats(self, stage: Stage, host: str) -> dict[str, Any]: ...


class Plain:
    """Everybody asks the origin."""

    name = "plain"

    def start(self, stage: Stage) -> None:
        stage.start_origin()

    def url(self, stage: Stage, host: str) -> str:
        return f"{stage.origin_url}/{stage.file.path.name}"

    def is_right(self, stage: Stage, host: str, sha256: str) -> bool:
        return sha256 == stage.file.sha256

    def stats(self, stage: Stage, host: str) -> dict[str, Any]:
        return {}


class Minicdn(Plain):
    """A manager on a host of its own, and on each peer host a peer with an empty cache, which the client there asks."""

    name = "minicdn"

    def start(self, stage: Stage) -> None:
        stage.start_origin()
        self._start(stage, MANAGER, MANAGER_PORT, "--upstream", stage.origin_url)
        stage.wait_for("the manager to answer", lambda: bool(stage.ask_json(MANAGER, MANAGER_PORT, "/_health")))
        manager_url = f"http://{stage.network.address(MANAGER)}:{MANAGER_PORT}"
        for host in stage.peers:
            self._start(stage, host, PEER_PORT, "--manager", manager_url)
        stage.wait_for("all to hold the same list of peers", lambda: self._is_agreed(stage))

    def _start(self, stage: Stage, host: str, port: int, *words: str) -> None:
        role = "manager" if host == MANAGER else "peer"
        place = ["--host", stage.network.address(host), "--port", str(port), "--cache-dir", str(stage.folder / f"cache-{host}")]
        stage.start(host, [sys.executable, "-P", "-m", "minicdn", role, *words, *place])

    def _is_agreed(self, stage: Stage) -> bool:
        wanted = {f"http://{stage.network.address(host)}:{PEER_PORT}" for host in stage.peers}
        listed = ({member["url"] for member in self._list(stage, host)} for host in [MANAGER, *stage.peers])
        return all(urls == wanted for urls in listed)

    def _list(self, stage: Stage, host: str) -> list[dict[str, Any]]:
        port = MANAGER_PORT if host == MANAGER else PEER_PORT
        return stage.ask_json(host, port, "/_peers").get("peers", [])

    def url(self, stage: Stage, host: str) -> str:
        return f"http://{stage.network.address(host)}:{PEER_PORT}/{stage.file.path.name}"

    def stats(self, stage: Stage, host: str) -> dict[str, Any]:
        return stage.ask_json(host, PEER_PORT, "/_stats")


class Libtorrent(Plain):
    """libtorrent with its settings opened for a fast local swarm, and every peer told of every other: no tracker, no DHT.

    The origin is a seed. torrent_host.py answers the client when the file is whole and checked; the file is then hashed here.
    """

    name = "libtorrent"
    has_web_seed = False

    def __init__(self, python: str | None) -> None:
        self._python = python or os.environ.get("MINICDN_BENCH_LIBTORRENT") or sys.executable
        ran = subprocess.run([self._python, "-c", "import libtorrent"], capture_output=True, check=False)
        if ran.returncode:
            raise CannotMeasure("this Python has no libtorrent; name one that has (pip install libtorrent) with --libtorrent-python")

    def start(self, stage: Stage) -> None:
        torrent = stage.folder / "file.torrent"
        web_seed = [f"{stage.origin_url}/"] if self.has_web_seed else []
        making = [self._python, "-W", "ignore", _TORRENT_HOST, "make", torrent, stage.file.path, *web_seed]
        subprocess.run(making, check=True, start_new_session=True)
        if self.has_web_seed:
            stage.start_origin()
        else:
            self._start(stage, ORIGIN, torrent, stage.file.path.parent)
        for host in stage.peers:
            self._start(stage, host, torrent, self._folder(stage, host))
        hosts = stage.peers if self.has_web_seed else [ORIGIN, *stage.peers]
        for host in hosts:
            stage.wait_for(f"{host} to answer", lambda host=host: bool(self.stats(stage, host)))

    def _start(self, stage: Stage, host: str, torrent: Path, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        role = "seed" if host == ORIGIN else "peer"
        others = [stage.network.address(other) for other in self._sources(stage) if other != host]
        stage.start(host, [self._python, str(_TORRENT_HOST), role, str(torrent), str(folder), stage.network.address(host), *others])

    def _sources(self, stage: Stage) -> list[str]:
        return stage.peers if self.has_web_seed else [ORIGIN, *stage.peers]

    def _folder(self, stage: Stage, host: str) -> Path:
        return stage.folder / f"cache-{host}"

    def url(self, stage: Stage, host: str) -> str:
        return f"http://{stage.network.address(host)}:{PEER_PORT}/wait"

    def is_right(self, stage: Stage, host: str, sha256: str) -> bool:
        return digest_of(self._folder(stage, host) / stage.file.path.name) == stage.file.sha256

    def stats(self, stage: Stage, host: str) -> dict[str, Any]:
        return stage.ask_json(host, PEER_PORT, "/_stats")


class LibtorrentWebSeed(Libtorrent):
    """The origin is the same nginx as for the others, which the torrent names as its web seed."""

    name = "libtorrent-webseed"
    has_web_seed = True


_TORRENT_HOST = Path(__file__).with_name("torrent_host.py")
SYSTEM_NAMES = ("minicdn", "plain", "libtorrent", "libtorrent-webseed")


def system_named(name: str, libtorrent_python: str | None) -> System:
    if name == "libtorrent":
        return Libtorrent(libtorrent_python)
    if name == "libtorrent-webseed":
        return LibtorrentWebSeed(libtorrent_python)
    return Plain() if name == "plain" else Minicdn()
