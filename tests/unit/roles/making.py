"""A manager whose probes find what the test says, and whose watch the test moves."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from minicdn.roles.manager import Manager
from minicdn.settings import Settings
from minicdn.wire.messages import Join, JoinAnswer, LeaseAnswer, LeaseCall, Renew, RenewAnswer
from tests.unit.node.fakes import FakeClock

ADDRESS = "10.0.0.5"


class FakeProber:
    """Every node answers, but for the URLs in `reasons`. While `gate` is closed, probes take for ever."""

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}
        self.probed: list[tuple[str, str]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def probe(self, url: str, id: str, pin: str | None = None) -> str | None:
        self.probed.append((url, id))
        await self.gate.wait()
        return self.reasons.get(url)

    async def close(self) -> None:
        pass


class Desk:
    """A started manager, in a `with`."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        found = {"upstream": "http://127.0.0.1:9", "cache_dir": folder / "cache", "disk_bytes": 1 << 20, "renew_seconds": 0.05}
        self.clock = FakeClock()
        self.prober = FakeProber()
        self.said: list[str] = []
        self.manager = Manager(Settings(**{**found, **settings}), prober=self.prober, clock=self.clock, say=self.said.append)

    async def __aenter__(self) -> Desk:
        await self.manager.start()
        self.manager.listening(11000)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.manager.stop()

    async def join(self, id: str, *, port: int = 11001, advertise: str | None = None, address: str | None = ADDRESS) -> JoinAnswer:
        return await self.manager.handle_join(Join(id, port, advertise, "0.1.0"), address)

    async def renew(self, id: str, epoch: str = "", version: str = "", *, wait: float = 0.0, address: str = ADDRESS) -> RenewAnswer:
        return await self.manager.handle_renew(Renew(id, epoch, version, wait), address)

    async def lease(self, id: str, key: str = "/a", *, is_over: bool = False) -> LeaseAnswer:
        return await self.manager.handle_lease(LeaseCall(id, key, is_over))

    @property
    def ids(self) -> list[str]:
        return [peer["id"] for peer in self.manager.peers()["peers"]]

    async def settle(self) -> None:
        """Lets background tasks take their turn."""
        for _ in range(10):
            await asyncio.sleep(0)
