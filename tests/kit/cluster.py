"""A manager and its peers on loopback, ready when all of them hold the same list."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from minicdn.core.roster import owners
from minicdn.options import options_of
from tests.kit.files import MIB
from tests.kit.program import Minicdn, members_of, start_manager
from tests.kit.rss import assert_peak_below
from tests.kit.waiting import eventually

RSS_OVER_BUDGET = 150 * MIB
"""What a process may take beyond its memory budget."""


class Cluster:
    """`with Cluster(folder, upstream, peers=3) as cluster`. Options go to every process that knows them."""

    def __init__(self, folder: Path, upstream: str, *, peers: int = 3, **options: Any) -> None:
        self.folder, self.upstream, self._options = folder, upstream, options
        self._peers_wanted = peers
        self.peers: list[Minicdn] = []

    def __enter__(self) -> Cluster:
        manager_options = {**self._options, "log": self.folder / "log.jsonl"}
        self.manager = start_manager(self.folder, self.upstream, **manager_options)
        self._manager_options = {**manager_options, "port": self.manager.port}
        try:
            for number in range(self._peers_wanted):
                self.start_peer(f"peer{number}")
            self.wait_agreed()
        except BaseException:
            self.__exit__(None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for process in self.processes:
            process.signal(signal.SIGCONT)
            process.kill()
        if kind:
            print("\n".join(process.show() for process in self.processes))

    @property
    def processes(self) -> list[Minicdn]:
        return [self.manager, *self.peers]

    @property
    def url(self) -> str:
        """Where a client asks."""
        return self.manager.url

    def start_peer(self, name: str, **options: Any) -> Minicdn:
        known = {option.name.replace("-", "_") for option in options_of("peer")}
        shared = {key: value for key, value in self._options.items() if key in known}
        peer = Minicdn("peer", name, self.folder, manager=self.manager.url, **{"is_forked": True, **shared, **options})
        self.peers.append(peer)
        return peer

    def restart_manager(self) -> Minicdn:
        """Start a manager on the port of the one that has ended, with its options and its cache folder."""
        assert not self.manager.is_running(), "it is still running"
        self.manager = start_manager(self.folder, self.upstream, name=self.manager.name + "-again", **self._restart_options())
        return self.manager

    def _restart_options(self) -> dict[str, Any]:
        return {**self._manager_options, "cache_dir": self.manager.cache_dir}

    def wait_agreed(self, peers: Sequence[Minicdn] | None = None, *, deadline_seconds: float = 30.0) -> None:
        """The manager and all the peers given (all, if None) list exactly those peers."""
        peers = list(self.peers if peers is None else peers)
        wanted = {peer.url for peer in peers}

        def is_agreed() -> bool:
            return all({member["url"] for member in members_of(node)} == wanted for node in [self.manager, *peers])

        eventually(is_agreed, f"all to list {sorted(wanted)}", deadline_seconds=deadline_seconds, show=self.show)

    def wait_listed(self, peers: Sequence[Minicdn], *, deadline_seconds: float = 30.0) -> None:
        """The manager lists exactly those peers, whatever the peers know."""
        wanted = {peer.url for peer in peers}
        eventually(
            lambda: {member["url"] for member in members_of(self.manager)} == wanted,
            f"the manager to list {sorted(wanted)}",
            deadline_seconds=deadline_seconds,
            show=self.show,
        )

    def owners_of(self, key: str) -> list[Minicdn]:
        """The peers in the key's order: owner, then its backups."""
        members = [SimpleNamespace(**{"weight": 1.0, **member}) for member in members_of(self.manager)]
        by_url = {peer.url: peer for peer in self.peers}
        return [by_url[member.url] for member in owners(key, members)]

    def owner_of(self, key: str) -> Minicdn:
        return self.owners_of(key)[0]

    def key_owned_by(self, peer: Minicdn, pattern: str = "/owned-{}.bin") -> str:
        """A path of that pattern whose owner is the given peer."""
        for number in range(1000):
            if self.owner_of(pattern.format(number)) is peer:
                return pattern.format(number)
        raise AssertionError(f"{peer.name} owns none of 1000 keys")

    def assert_memory_kept(self, budget_bytes: int) -> None:
        for process in self.processes:
            if process.is_running():
                assert_peak_below(process.pid, budget_bytes + RSS_OVER_BUDGET, process.name)

    def show(self) -> str:
        return "\n".join(process.show() for process in self.processes)
