"""Nodes to count in: one alone, and a manager with two peers; all on one event loop, with real sockets between them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from minicdn.core.roster import owners
from minicdn.roles.manager import Manager
from minicdn.roles.peer import Peer
from minicdn.roles.role import Role
from minicdn.settings import MIB, Settings
from tests.conformance.kit_stage import Served
from tests.unit.web.lanes import Upstream, Watch

HOST = "127.0.0.1"
TARGET = "/joined"
"""16,000 bytes, however it goes on."""


class Nodes:
    """alone: with its log in a file. peers: of a manager that keeps none."""

    alone: Served
    peers: list[Served]

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: list[Served] = []

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Nodes]:
        watch = Watch()
        watch.at = time.time()  # what it sends is fresh
        upstream = await asyncio.start_server(Upstream(watch).serve, HOST, 0)
        url = f"http://{HOST}:{upstream.sockets[0].getsockname()[1]}"
        try:
            self.alone = await self._serve(Manager, upstream=url, log=str(self._folder / "log.jsonl"))
            manager = await self._serve(Manager, upstream=url)
            managed = f"http://{HOST}:{manager.address[1]}"
            self.peers = [await self._serve(Peer, manager=managed) for _ in range(2)]
            async with asyncio.timeout(20):
                while not all(len(peer.node.peers.members) == 2 for peer in self.peers):  # noqa: ASYNC110 — there is no event for it
                    await asyncio.sleep(0.01)
            yield self
        finally:
            for served in reversed(self._running):
                await served.stop()
            upstream.close()

    def owned(self, number: int) -> str:
        """A target that the second peer owns, and no other number gives."""
        members = self.peers[0].node.peers.members
        names = (f"{TARGET}/{number}-{attempt}" for attempt in range(10_000))
        return next(name for name in names if owners(name, members)[0].id == self.peers[1].node.id)

    async def _serve(self, role: Callable[..., Role], **settings: str | None) -> Served:
        listener = socket.create_server((HOST, 0))
        kept = self._folder / f"node-{len(self._running)}"
        made = Settings(host=HOST, port=listener.getsockname()[1], cache_dir=kept, memory_bytes=64 * MIB, **settings)  # type: ignore[arg-type]
        served = Served(role(made, say=lambda text: None), listener)
        self._running.append(served)
        await served.start()
        return served


class Client:
    """A kept connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def to(cls, served: Served) -> Client:
        return cls(*await asyncio.open_connection(*served.address))

    async def get(self, target: str) -> None:
        self._writer.write(f"GET {target} HTTP/1.1\r\nHost: h\r\nUser-Agent: x\r\n\r\n".encode())
        head = await self._reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await self._reader.readexactly(int(length.partition(b":")[2]))

    def close(self) -> None:
        self._writer.close()
