"""A node of the simulation: the real role, node and web, behind a simulated socket; and what may happen to it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

import httpx
from uvicorn.server import ServerState

from minicdn.node.clock import Clock
from minicdn.roles.manager import Manager
from minicdn.roles.peer import Peer
from minicdn.roles.role import Role
from minicdn.server import LINGER_SECONDS, _config
from minicdn.settings import Settings
from minicdn.testing.disk import SimDisk
from minicdn.testing.network import Network, Server
from minicdn.testing.simloop import Process, SimLoop
from minicdn.web.app import build_app
from minicdn.web.protocol import protocol_class
from minicdn.wire.manager import ManagerClient
from minicdn.wire.prober import Prober
from minicdn.wire.transport import LeanTransport

T = TypeVar("T")
PORT = 11000
DRAIN_SECONDS = 10.0


class SimClock(Clock):
    """skew_seconds: by how much this machine's date is wrong."""

    def __init__(self, loop: SimLoop, wall_at: float, skew_seconds: float = 0.0) -> None:
        self._loop = loop
        self._wall_at = wall_at
        self.skew_seconds = skew_seconds

    def wall(self) -> float:
        return self._wall_at + self._loop.time() + self.skew_seconds

    def monotonic(self) -> float:
        return self._loop.time()


class InOrder(dict[Any, None]):
    """A set in the order in which things came: where they lie in memory must not decide what happens first."""

    def add(self, one: Any) -> None:
        self[one] = None

    def discard(self, one: Any) -> None:
        self.pop(one, None)


class PlainTransport(httpx.AsyncBaseTransport):
    """Our own transport, for what asks through httpx's client."""

    def __init__(self, keepalive_seconds: float = 2.0) -> None:
        self._lean = LeanTransport(connections_max=64, keepalive_seconds=keepalive_seconds)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions = {**request.extensions, "target": request.url.raw_path}
        found = await self._lean.handle_async_request(request)
        return httpx.Response(found.status_code, headers=found.headers, stream=_Closing(found.stream))

    async def aclose(self) -> None:
        await self._lean.aclose()


class _Closing(httpx.AsyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


class SimNode:
    """settings: role, host and port are filled in here. A restart gives it a new process and, as a real one, a new id."""

    def __init__(
        self, name: str, address: str, settings: Settings, *, loop: SimLoop, network: Network, disk: SimDisk, clock: SimClock, seed: int
    ) -> None:
        self.name, self.address, self.settings = name, address, settings
        self.url = f"http://{address}:{settings.port}"
        self.clock = clock
        self.said: list[str] = []
        self.role: Role | None = None
        self.process: Process | None = None
        self.dead: list[Process] = []
        self.on_started: Callable[[SimNode], None] = lambda node: None
        self.wrap: Callable[[Any], Any] = lambda app: app
        """What stands before its app."""
        self._disk, self._loop, self._network = disk, loop, network
        self._rng = random.Random(seed)
        self._server: Server | None = None
        self._state = ServerState()
        self._lives_count = 0

    @property
    def is_up(self) -> bool:
        return self.role is not None and self.process is not None and self.process.is_running

    # A life

    async def start(self) -> None:
        self._lives_count += 1
        self.process = Process(f"{self.name}.{self._lives_count}", self.address)
        await self._inside(self._start())

    async def _start(self) -> None:
        self.role = self._make()
        self.on_started(self)
        await self.role.start()
        protocol, self._state = protocol_class(), ServerState()
        self._state.connections = InOrder()  # type: ignore[assignment]
        config = _config(self.wrap(build_app(self.role, random.Random(self._rng.random()))), protocol, None)
        config.load()
        state = self._state
        self.role.connections_count = lambda: len(state.connections)
        host, port = self.settings.host, self.settings.port
        self._server = self._network.listen(lambda: protocol(config=config, server_state=state, app_state={}), host, port)
        self.role.listening(port)

    def _make(self) -> Role:
        named: dict[str, Any] = {
            "say": self._say,
            "clock": self.clock,
            "rng": random.Random(self._rng.random()),
            "node_id": f"{self._rng.getrandbits(64):016x}",
        }
        if self.settings.role == "manager":
            return Manager(self.settings, prober=Prober(self.settings.probe_seconds, transport=PlainTransport(0.0)), **named)
        manager = ManagerClient(self.settings.manager or "", self.settings, transport=PlainTransport())
        return Peer(self.settings, manager=manager, **named)

    def _say(self, text: str) -> None:
        self.said.append(f"{self._loop.time():.3f} {text}")

    async def stop(self) -> None:
        """A warm close, as the server's: off the list, a moment for those on their way, the downloads, the end."""
        assert self.role is not None
        await self._inside(self._stop(self.role))
        self.role = None

    async def stop_and_restart(self, seconds: float) -> None:
        await self.stop()
        await asyncio.sleep(seconds)
        await self.start()

    async def _stop(self, role: Role) -> None:
        await role.begin_drain()
        await asyncio.sleep(LINGER_SECONDS)
        if self._server is not None:
            self._server.close()
        until = self._loop.time() + DRAIN_SECONDS
        while self._state.connections and self._loop.time() < until:
            for connection in list(self._state.connections):
                connection.shutdown()
            await asyncio.sleep(0.05)
        for connection in list(self._state.connections):
            connection.transport.abort()  # type: ignore[union-attr]
        await role.stop()

    def kill(self, *, loses_power: bool = False) -> None:
        """At once: as kill -9, or as a machine whose plug is pulled, which tells nobody and loses what was not synced."""
        assert self.process is not None
        self.process.is_dead = True
        if loses_power:
            self._network.power_off(self.address)
        else:
            self._network.end_process(self.process)
        self.dead.append(self.process)
        self.settings = self._disk.survive(self.settings, loses_power=loses_power)
        self.role = None

    async def restart(self) -> None:
        self._network.power_on(self.address)
        for site in [(self.settings.host, self.settings.port)]:
            self._network.unlisten(site)
        await self.start()

    def freeze(self) -> None:
        assert self.process is not None
        self.process.is_frozen = True

    def thaw(self) -> None:
        assert self.process is not None
        self._loop.thaw(self.process)

    async def _inside(self, work: Coroutine[Any, Any, T]) -> T:
        assert self.process is not None
        return await self._loop.create_task(work, context=self.process.context)
