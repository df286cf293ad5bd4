"""Everything one test starts, ended with it, and shown when it fails."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.kit.cluster import Cluster
from tests.kit.nginx import Nginx, has_nginx
from tests.kit.origin import Origin
from tests.kit.program import Minicdn, start_manager


class Stage:
    """`folder` is the test's own, and goes with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ends = ExitStack()
        self._shown: list[Any] = []
        self._count = 0

    def _subfolder(self, name: str) -> Path:
        self._count += 1
        return self.folder / f"{name}-{self._count}"

    def nginx(self, **options: Any) -> Nginx:
        if not has_nginx():
            pytest.skip("nginx is not installed here")
        nginx = Nginx(self._subfolder("nginx"), **options)
        self._ends.callback(nginx.stop)
        self._shown.append(nginx)
        return nginx.start()

    def origin(self) -> Origin:
        return self._ends.enter_context(Origin())

    def cluster(self, upstream: str, *, peers: int = 3, **options: Any) -> Cluster:
        cluster = self._ends.enter_context(Cluster(self._subfolder("cluster"), upstream, peers=peers, **options))
        self._shown.append(cluster)
        return cluster

    def manager(self, upstream: str, **options: Any) -> Minicdn:
        """A ready manager alone: it serves by itself."""
        return self._keep(start_manager(self._subfolder("alone"), upstream, **options))

    def start(self, role: str, *, name: str | None = None, env: dict[str, str] | None = None, **options: Any) -> Minicdn:
        """A process that is not waited for."""
        return self._keep(Minicdn(role, name or role, self._subfolder(role), env=env, **options))

    def _keep(self, node: Minicdn) -> Minicdn:
        self._ends.callback(node.kill)
        self._shown.append(node)
        return node

    def callback(self, function: Any, *args: Any) -> None:
        self._ends.callback(function, *args)

    def show(self) -> str:
        return "\n".join(one.show() for one in self._shown)

    def close(self) -> None:
        self._ends.close()
