"""kill -9 at random moments, under load: peers, and now and then the manager, die and come back on their ports and folders.

What the killed one was sending is lost, and who asks it is refused. Everything else must be right: no wrong byte anywhere, no error at
those that live, and afterwards every file from every peer, with nothing left under way.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.load import WRONG, Figures, Files, Load, Seen, fetch
from tests.kit.cluster import Cluster
from tests.kit.files import MIB
from tests.kit.nginx import Nginx
from tests.kit.program import Minicdn
from tests.kit.rss import rss_bytes
from tests.kit.waiting import eventually

PAUSES_SECONDS = (0.5, 4.0)
AWAY_SECONDS = (0.2, 6.0)
MANAGER_SHARE = 0.15
MANAGER_ASKED_SHARE = 0.2
ALIVE_MIN = 2


@dataclass
class Away:
    """From before a kill to when it was ready again."""

    url: str
    from_at: float
    until_at: float = float("inf")


@dataclass
class Outcome:
    seconds: float
    kills_count: int
    figures: Figures
    excused_count: int
    bad: list[Seen]
    after: list[Seen] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        return not self.bad and not any(one.wrong for one in self.after)

    def lines(self) -> list[str]:
        return [
            f"{self.seconds:.0f} s, {self.kills_count} kills: {self.figures.line()}",
            f"of these errors, {self.excused_count} at nodes that were killed meanwhile; {len(self.bad)} elsewhere",
            *(f"  BAD {one}" for one in self.bad[:20]),
            f"afterwards: {len(self.after)} requests, {sum(1 for one in self.after if one.wrong)} errors",
        ]


class Storm:
    def __init__(self, cluster: Cluster, rng: random.Random) -> None:
        self._cluster, self._rng = cluster, rng
        self._places = [(peer.name, peer.port, peer.cache_dir) for peer in cluster.peers]
        self.away: list[Away] = []
        self.kills_count = 0
        self._returning: list[tuple[float, Callable[[], Minicdn], Away]] = []

    def blow(self, seconds: float) -> None:
        ends_at = time.monotonic() + seconds
        strike_at = time.monotonic() + 0.5
        while time.monotonic() < ends_at:
            self._bring_back()
            if time.monotonic() >= strike_at:
                self._strike()
                strike_at = time.monotonic() + self._rng.uniform(*PAUSES_SECONDS)
            time.sleep(0.02)
        eventually(lambda: self._bring_back() or not self._returning, "all to be back", deadline_seconds=60, show=self._cluster.show)

    def is_excused(self, one: Seen) -> bool:
        if one.wrong.startswith(WRONG):
            return False
        return any(away.url == one.url and one.began_at <= away.until_at and away.from_at <= one.ended_at for away in self.away)

    def _strike(self) -> None:
        manager = self._cluster.manager
        is_managers = self._rng.random() < MANAGER_SHARE and manager.is_running()
        alive = [peer for peer in self._cluster.peers if peer.is_running()]
        if not is_managers and len(alive) <= ALIVE_MIN:
            return
        victim = manager if is_managers else self._rng.choice(alive)
        away = Away(victim.url, time.monotonic())
        self.away.append(away)
        victim.kill()
        self.kills_count += 1
        back_at = time.monotonic() + self._rng.uniform(*AWAY_SECONDS)
        self._returning.append((back_at, self._manager_again if is_managers else lambda: self._again(victim), away))

    def _manager_again(self) -> Minicdn:
        return self._cluster.restart_manager()

    def _again(self, victim: Minicdn) -> Minicdn:
        self._cluster.peers.remove(victim)
        return self._cluster.start_peer(f"{victim.name.split('~')[0]}~{self.kills_count}", port=victim.port, cache_dir=victim.cache_dir)

    def _bring_back(self) -> None:
        now = time.monotonic()
        for entry in [entry for entry in self._returning if entry[0] <= now]:
            self._returning.remove(entry)
            entry[1]()
            entry[2].until_at = float("inf")
        for away in self.away:
            if away.until_at == float("inf") and not any(entry[2] is away for entry in self._returning) and self._is_back(away.url):
                away.until_at = time.monotonic()

    def _is_back(self, url: str) -> bool:
        try:
            return any(node.url == url and node.is_running() and node.is_ready() for node in self._cluster.processes)
        except (OSError, AssertionError):
            return False


def storm(folder: Path, nginx: Nginx, *, seconds: float, peers: int, clients: int, seed: int, small: str = "256KiB") -> Outcome:
    files, rng = Files(nginx), random.Random(seed)
    with Cluster(folder, nginx.url, peers=peers, small=small, memory="64MiB", disk="192MiB", window="5s", renew="1s") as cluster:
        blowing, began_at = Storm(cluster, rng), time.monotonic()
        urls = [peer.url for peer in cluster.peers]

        def choose(dice: random.Random) -> str:
            files.versions_count = 3 + int(time.monotonic() - began_at)
            return cluster.url if dice.random() < MANAGER_ASKED_SHARE else dice.choice(urls)

        with Load(files, choose, clients=clients, seed=seed) as load:
            blowing.blow(seconds)
        figures = load.between(0, float("inf"))
        wrong = [one for one in figures.seen if one.wrong]
        bad = [one for one in wrong if not blowing.is_excused(one)]
        outcome = Outcome(time.monotonic() - began_at, blowing.kills_count, figures, len(wrong) - len(bad), bad)
        cluster.wait_agreed(deadline_seconds=40)
        outcome.after = [fetch(url, target, content) for target, content in files.all() for url in urls]
        for process in cluster.processes:
            eventually(lambda process=process: process.stats()["fills_count"] == 0, f"{process.name} to be quiet", show=cluster.show)
            assert rss_bytes(process.pid) < (64 + 150) * MIB, f"{process.name} takes {rss_bytes(process.pid) / MIB:.0f} MiB"
            assert "Traceback" not in process.output, process.show()
        return outcome
