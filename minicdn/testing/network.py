"""A network in memory: links between addresses, listening sockets, and what goes wrong with them.

Each direction of a connection has a window, a rate, a delay and its order (end.py). Between two addresses the network may be *blocked* (a
partition, a host without power): segments wait for it to end, new connections hang as they do while their first segment is sent again. A
connection whose other end is gone learns so when it sends. A reset comes behind the bytes before it; a transport that does not read does
not notice either.
"""

from __future__ import annotations

import asyncio
import errno
import os
import random
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any

from minicdn.testing.end import End
from minicdn.testing.simloop import HERE, Process, SimLoop

RESEND_SECONDS = 1.0
"""A first segment that got lost is sent again after this time."""
FIRST_PORT = 40_000


@dataclass(slots=True)
class Link:
    """One direction between two addresses."""

    delay_seconds: float
    bytes_per_second: float
    free_at: float = 0.0

    def set_rate(self, bytes_per_second: float, now: float) -> None:
        """What had to wait for the old rate no longer does."""
        self.bytes_per_second, self.free_at = bytes_per_second, now


@dataclass(slots=True)
class _Listener:
    factory: Callable[[], asyncio.BaseProtocol]
    process: Process | None


class Server(asyncio.AbstractServer):
    def __init__(self, network: Network, site: tuple[str, int]) -> None:
        self._network, self._site = network, site
        self.sockets: list[Any] = []

    def close(self) -> None:
        self._network.unlisten(self._site)

    async def wait_closed(self) -> None:
        pass

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._network.loop

    def is_serving(self) -> bool:
        return True

    async def start_serving(self) -> None:
        pass


class Network:
    """delay_seconds, bytes_per_second: ranges from which each link's are drawn."""

    def __init__(
        self,
        loop: SimLoop,
        rng: random.Random,
        *,
        delay_seconds: tuple[float, float] = (0.0002, 0.002),
        bytes_per_second: tuple[float, float] = (50e6, 120e6),
    ) -> None:
        self.loop = loop
        self.rng = rng
        self._delay_seconds = delay_seconds
        self._bytes_per_second = bytes_per_second
        self._links: dict[tuple[str, str], Link] = {}
        self._listeners: dict[tuple[str, int], _Listener] = {}
        self._blocks: dict[tuple[str, str], None] = {}
        self._down: dict[str, None] = {}
        self._ends: dict[End, None] = {}
        self._ports = FIRST_PORT
        self.context = copy_context()
        """Nobody's: what the network does goes on while processes are frozen."""
        self.on_write: Callable[[End, bytes], None] | None = None
        """Told of what a process gives to a connection, in that process's context."""
        loop.network = self

    # What happens to it

    def link(self, source: str, to: str) -> Link:
        found = self._links.get((source, to))
        if found is None:
            found = Link(self.rng.uniform(*self._delay_seconds), self.rng.uniform(*self._bytes_per_second))
            self._links[source, to] = found
        return found

    def links(self) -> list[Link]:
        return list(self._links.values())

    def block(self, one: str, other: str) -> None:
        """Nothing passes between the two, either way."""
        self._blocks[one, other] = self._blocks[other, one] = None

    def unblock(self, one: str, other: str) -> None:
        self._blocks.pop((one, other), None)
        self._blocks.pop((other, one), None)
        self._pump_all()

    def heal(self) -> None:
        """No partition is left; hosts without power stay so."""
        self._blocks.clear()
        self._pump_all()

    def power_off(self, address: str) -> None:
        """Its connections are gone, and nobody is told."""
        self._down[address] = None
        for end in [end for end in self._ends if end.own[0] == address]:
            end.vanish()

    def power_on(self, address: str) -> None:
        self._down.pop(address, None)
        self._pump_all()

    def cut(self, one: str, other: str) -> None:
        """Every connection between the two is reset, at both ends."""
        for end in self._between(one, other):
            end.reset()

    def end_process(self, process: Process) -> None:
        """The kernel closes what a killed process leaves."""
        for site in [site for site, listener in self._listeners.items() if listener.process is process]:
            self.unlisten(site)
        for end in [end for end in self._ends if end.process is process and not end.is_over]:
            end.abort()

    def is_blocked(self, one: str, other: str) -> bool:
        return (one, other) in self._blocks or one in self._down or other in self._down

    def connections_of(self, process: Process) -> list[End]:
        return [end for end in self._ends if end.process is process and not end.is_over]

    def _between(self, one: str, other: str) -> list[End]:
        return [end for end in self._ends if {end.own[0], end.peer[0]} == {one, other}]

    def _pump_all(self) -> None:
        for end in list(self._ends):
            end.pump()

    # What the loop asks

    def listen(self, factory: Callable[[], asyncio.BaseProtocol], host: str, port: int) -> Server:
        if (host, port) in self._listeners:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        self._listeners[host, port] = _Listener(factory, HERE.get())
        return Server(self, (host, port))

    def unlisten(self, site: tuple[str, int]) -> None:
        self._listeners.pop(site, None)

    async def connect(self, factory: Callable[[], asyncio.BaseProtocol], host: str, port: int) -> tuple[End, asyncio.BaseProtocol]:
        process = HERE.get()
        here = process.address if process is not None else "192.0.2.1"
        there, back = self.link(here, host), self.link(host, here)
        await asyncio.sleep(there.delay_seconds)
        while self.is_blocked(here, host):  # noqa: ASYNC110 — it is a sender that sends again
            await asyncio.sleep(RESEND_SECONDS)
        listener = self._listeners.get((host, port))
        if listener is None:
            await asyncio.sleep(back.delay_seconds)
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        self._ports += 1
        mine, theirs = (here, self._ports), (host, port)
        near, far = End(self, process, mine, theirs), End(self, listener.process, theirs, mine)
        near.other, far.other = far, near
        self._ends[near] = self._ends[far] = None
        far.begin_soon(listener.factory)
        try:
            await asyncio.sleep(back.delay_seconds)
        except BaseException:
            near.abort()
            raise
        return near, near.begin(factory)

    def forget(self, end: End) -> None:
        self._ends.pop(end, None)
