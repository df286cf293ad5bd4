"""Two of three peers can't reach each other, while both reach the third, the manager and the upstream. Each is a network namespace; what
the two send each other is silently lost: the worst kind, since nobody is refused."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from scripts.benchmarks.namespaces import Link, Network
from scripts.benchmarks.refusal import CannotMeasure
from tests.chaos.load import Figures, Load
from tests.chaos.scene import Report, Scene
from tests.kit.program import Minicdn, members_of
from tests.kit.stage import Stage
from tests.kit.waiting import eventually

FAST = Link(125e6, 125e6)
PORT, SITE_PORT = 11_000, 8080
NOWHERE = "02:00:00:00:00:99"
NOTICED_SECONDS = 10.0
PEERS = ("one", "two", "three")


class Apart:
    """A cluster of which each node has a network of its own."""

    def __init__(self, stage: Stage, network: Network, scene: Scene) -> None:
        self._network = network
        site = network.address("site")
        with network.inside("site"):
            scene.open_site(extra=f"listen {site}:{SITE_PORT};")
            manager_url = f"http://{site}:{PORT}"
            options = {"small": "256KiB", "memory": "64MiB"}
            self.manager = self._start(stage, "manager", "site", upstream=f"http://{site}:{SITE_PORT}", **options)
        self.peers = {name: self._peer(stage, name, manager_url) for name in PEERS}
        eventually(lambda: all(self._count(name) == len(PEERS) for name in PEERS), "all to be listed", show=self.show)

    def _start(self, stage: Stage, role: str, host: str, **options: object) -> Minicdn:
        return stage.start(role, name=host, host="0.0.0.0", port=PORT, advertise=f"http://{self._network.address(host)}:{PORT}", **options)

    def _peer(self, stage: Stage, name: str, manager_url: str) -> Minicdn:
        with self._network.inside(name):
            return self._start(stage, "peer", name, manager=manager_url, memory="64MiB").wait_ready()

    def _count(self, name: str) -> int:
        with self._network.inside(name):
            return len(members_of(self.peers[name]))

    def stats(self, name: str) -> dict[str, int]:
        with self._network.inside(name):
            return self.peers[name].stats()

    def part(self, one: str, other: str) -> None:
        for here, there in ((one, other), (other, one)):
            self._neighbour(here, "replace", self._network.address(there), "lladdr", NOWHERE, "dev", "eth0")

    def join(self, one: str, other: str) -> None:
        for here, there in ((one, other), (other, one)):
            self._neighbour(here, "del", self._network.address(there), "dev", "eth0")

    def _neighbour(self, host: str, *words: str) -> None:
        subprocess.run(["ip", "-n", f"{self._network.prefix}-{host}", "neigh", *words], check=True, capture_output=True)

    def show(self) -> str:
        return "\n".join(node.show() for node in (self.manager, *self.peers.values()))


def partition(stage: Stage, seconds: float) -> Report:
    if os.name != "posix" or not hasattr(os, "geteuid") or os.geteuid() != 0 or not all(map(shutil.which, ("ip", "tc"))):
        pytest.skip("network namespaces need root, ip and tc")
    scene = Scene(stage, "two of three peers lose everything that they send each other; clients ask all three", seconds=seconds)
    with ExitStack() as ends:
        try:
            network = ends.enter_context(Network({name: FAST for name in ("site", *PEERS)}))
        except (CannotMeasure, OSError) as error:
            pytest.skip(f"no network namespaces here: {error}")
        apart = Apart(stage, network, scene)
        ends.callback(lambda: [node.kill() for node in (apart.manager, *apart.peers.values())])
        _tell(scene, network, apart)
    return scene.report


def _tell(scene: Scene, network: Network, apart: Apart) -> None:
    report, around_seconds, began_at = scene.report, min(scene.seconds, 15.0), time.monotonic()
    with ExitStack() as running:
        loads = [running.enter_context(_load(scene, network, name, began_at)) for name in PEERS]
        spans: dict[str, tuple[float, float]] = {}
        steps: list[tuple[str, float, Callable[[], None]]] = [
            ("before", around_seconds, lambda: None),
            ("during", scene.seconds, lambda: apart.part("one", "two")),
            ("after", around_seconds, lambda: apart.join("one", "two")),
        ]
        for phase, seconds, act in steps:
            from_at = time.monotonic()
            act()
            time.sleep(max(0.0, from_at + seconds - time.monotonic()))
            spans[phase] = (from_at, time.monotonic())
    for phase, span in spans.items():
        figures = Figures([one for load in loads for one in load.between(*span).seen])
        report.phases[phase] = (span[1] - span[0], figures)
        report.check(not figures.errors_count, f"{phase}: {dict(figures.errors)}")
        report.check(bool(figures.seen), f"{phase}: no requests")
    stats = [apart.stats(name) for name in PEERS]
    slow = [one for one in report.phases["during"][1].seen if one.seconds > 1.0]
    spared = sum(one["peers_spared_count"] for one in stats)
    report.notes.append(f"{len(slow)} requests took more than a second; {spared} questions went elsewhere at once")
    report.check(spared > 0 or scene.seconds < NOTICED_SECONDS, "nobody noticed")
    report.check("Traceback" not in apart.show(), apart.show()[-1000:])


def _load(scene: Scene, network: Network, name: str, began_at: float) -> Load:
    """The clients of one peer are on its own machine."""

    def choose(dice: random.Random) -> str:
        scene.files.versions_count = 3 + int((time.monotonic() - began_at) / 2)
        return f"http://127.0.0.1:{PORT}"

    stays: list[object] = []  # who lets go of the context comes home

    def enter() -> None:
        stays.append(network.inside(name))
        stays[-1].__enter__()  # type: ignore[attr-defined]

    return Load(scene.files, choose, clients=2, seed=PEERS.index(name), pause_seconds=0.02, enter=enter)
