"""The three ways by which a client's request can meet its file: the tests of HTTP behaviour hold at each of them alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.kit.asking import Answer, Open, ask, open_answer
from tests.kit.cluster import Cluster
from tests.kit.origin import Origin, Script
from tests.kit.program import Minicdn
from tests.kit.stage import Stage

WAYS = ("manager alone", "at the owner", "at another peer")
KEPT = ("Cache-Control", "max-age=3600")
"""The field by which an origin says: keep it."""


@dataclass
class Houses:
    """One origin behind a lone manager and behind a cluster."""

    origin: Origin
    alone: Minicdn
    cluster: Cluster


def open_houses(stage: Stage, **options: Any) -> Iterator[Houses]:
    origin = stage.origin()
    yield Houses(origin, stage.manager(origin.url, **options), stage.cluster(origin.url, peers=2, **options))


@dataclass
class Door:
    """`path` makes this test's own path, so that tests that share processes don't share files."""

    way: str
    houses: Houses
    test: str

    @property
    def origin(self) -> Origin:
        return self.houses.origin

    def path(self, name: str = "file.bin") -> str:
        return f"/{self.test}/{WAYS.index(self.way)}/{name}"

    def on(self, script: Script, name: str = "file.bin") -> str:
        return self.origin.on(self.path(name), script)

    def node(self, path: str) -> Minicdn:
        """Whom the client asks for that path (the key's owner depends on the query too)."""
        if self.way == "manager alone":
            return self.houses.alone
        owner, other = self.houses.cluster.owners_of(path)
        return owner if self.way == "at the owner" else other

    def ask(self, path: str, **options: Any) -> Answer:
        return ask(self.node(path).url, path, **options)

    def open(self, path: str, **options: Any) -> Open:
        return open_answer(self.node(path).url, path, **options)

    def asked(self, path: str) -> int:
        """How often the origin was asked."""
        return len(self.origin.asked(path))
