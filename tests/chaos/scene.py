"""One fault, and what clients see before, while and after it lasts: a site, a cluster, steady clients, and a table of figures."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.load import Figures, Files, Load, fetch
from tests.kit.cluster import Cluster
from tests.kit.nginx import Nginx
from tests.kit.program import Minicdn
from tests.kit.stage import Stage


@dataclass
class Report:
    """phases: by name. notes: what else was seen, in words. wrong: what must not have been."""

    name: str
    phases: dict[str, tuple[float, Figures]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        shown = [f"{phase:>7} {seconds:5.0f} s: {figures.line()}" for phase, (seconds, figures) in self.phases.items()]
        return [f"== {self.name}", *shown, *(f"        {note}" for note in self.notes), *(f"  BAD   {wrong}" for wrong in self.wrong)]

    def check(self, is_so: bool, what: str) -> None:
        if not is_so:
            self.wrong.append(what)


class Scene:
    """seconds: of the fault; before and after it as long, within reason. Where clients ask is `urls`."""

    def __init__(self, stage: Stage, name: str, *, seconds: float, clients: int = 8) -> None:
        self.stage, self.seconds, self._clients = stage, seconds, clients
        self.report = Report(name)
        self.urls: list[str] = []
        self.nginx: Nginx
        self.cluster: Cluster
        self.files: Files
        self._load: Load | None = None

    def open(self, *, peers: int = 3, **options: Any) -> Cluster:
        """A site and a cluster; everybody asks the peers themselves."""
        self.open_site()
        self.cluster = self.stage.cluster(self.nginx.url, peers=peers, small="256KiB", memory="64MiB", **options)
        self.urls = [peer.url for peer in self.cluster.peers]
        return self.cluster

    def open_site(self, **options: Any) -> None:
        self.nginx = self.stage.nginx(**options)
        self.files = Files(self.nginx, small_count=40, large_count=3)

    def warm(self, nodes: Sequence[Minicdn]) -> None:
        for node in nodes:
            for target, content in self.files.all():
                for version in range(self.files.versions_count):
                    assert not fetch(node.url, f"{target}?v={version}", content).wrong

    def run(self, begin: Callable[[], object], end: Callable[[], object], *, grows: bool = True) -> None:
        """The three phases. grows: there are new, cold files all the time."""
        around_seconds = min(self.seconds, 15.0)
        began_at = time.monotonic()

        def choose(dice: random.Random) -> str:
            if grows:
                self.files.versions_count = 3 + int((time.monotonic() - began_at) / 2)
            return dice.choice(self.urls)

        with Load(self.files, choose, clients=self._clients, pause_seconds=0.02) as self._load:
            self._phase("before", around_seconds, lambda: None)
            self._phase("during", self.seconds, begin)
            self._phase("after", around_seconds, end)

    def _phase(self, name: str, seconds: float, act: Callable[[], object]) -> None:
        assert self._load is not None
        from_at = time.monotonic()
        act()
        while (left := from_at + seconds - time.monotonic()) > 0:
            time.sleep(min(left, 0.5))
        self._spans = {**getattr(self, "_spans", {}), name: (from_at, time.monotonic())}

    def figures(self, urls: Sequence[str] | None = None) -> None:
        """Into the report, by when each request began."""
        assert self._load is not None
        for name, (from_at, until_at) in self._spans.items():
            self.report.phases[name] = (until_at - from_at, self._load.between(from_at, until_at, urls))

    def figures_at(self, phase: str, urls: Sequence[str]) -> Figures:
        assert self._load is not None
        return self._load.between(*self._spans[phase], urls)

    def expect_no_errors(self, *phases: str) -> None:
        for phase in phases or ("before", "during", "after"):
            figures = self.report.phases[phase][1]
            self.report.check(not figures.errors_count, f"{phase}: {dict(figures.errors)}")
            self.report.check(bool(figures.seen), f"{phase}: no requests")
        self.expect_alive()

    def expect_alive(self) -> None:
        for process in self.cluster.processes:
            self.report.check(process.is_running() and "Traceback" not in process.output, process.show()[-600:])
