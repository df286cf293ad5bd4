"""A run: so many clients at once, for so long or so many requests; what limits it; and an end that always comes.

The first client asks before the others come, so that a server that is not there costs one question and one line.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from minicdn.bench.aim import Target, request_tail
from minicdn.bench.answers import Heads
from minicdn.bench.client import Client
from minicdn.bench.figures import Figures
from minicdn.errors import COLD_EXIT_CODE, SourcesFailed
from minicdn.wire.tls import Contexts

MEMORY_BYTES = 1024 * 1024
PROGRESS_SECONDS = 1.0
FULL_SHARE = 0.85
"""Of a core, used by the clients: from here on it is they that limit the figures."""
TAILS_MAX = 10_000
Show = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Order:
    """seconds, count: whichever is first; None: no bound, though not for both. silence_seconds: of an answer under way, at most."""

    targets: Sequence[Target]
    connections: int
    seconds: float | None
    count: int | None
    silence_seconds: float
    fields: bytes = b""


class Run:
    """What its clients share (client.Load)."""

    def __init__(self, order: Order) -> None:
        self.figures = Figures()
        self.heads = Heads()
        self.memory = bytearray(MEMORY_BYTES)
        self.contexts = Contexts()
        self._order = order
        self._left = order.count
        self._turn = 0
        self._is_over = False
        self._tails: dict[str, bytes] = {}
        self._trouble: str | None = None
        self._first = asyncio.Event()
        self._error: str | None = None
        self._clients: list[Client] = []

    # For its clients

    def next(self) -> Target | None:
        if self._is_over or self._left == 0:
            return None
        if self._left is not None:
            self._left -= 1
        targets = self._order.targets
        target = targets[self._turn]
        self._turn = (self._turn + 1) % len(targets)
        return target

    def request(self, target: Target) -> bytes:
        tail = self._tails.get(target.origin)
        if tail is None:
            if len(self._tails) >= TAILS_MAX:
                self._tails.clear()
            tail = self._tails[target.origin] = request_tail(target.origin, self._order.fields)
        return b"GET " + target.path + tail

    def settled(self, reason: str | None) -> None:
        """A request is over; reason: why it failed."""
        if not self._first.is_set():
            self._trouble = reason
            self._first.set()

    # For who runs it

    async def go(self, show: Show | None = None) -> dict[str, Any]:
        """The report. show: told of the figures so far. Raises SourcesFailed where the first question finds nobody."""
        began_at, began_cpu = time.perf_counter(), time.process_time()
        is_stopped = False
        tasks: list[asyncio.Task[Any]] = []
        try:
            async with asyncio.timeout(self._order.seconds):
                await self._play(tasks, show, began_at)
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            is_stopped = True
        finally:
            self._is_over = True
            seconds, cpu = time.perf_counter() - began_at, time.process_time() - began_cpu
            for client in self._clients:
                client.close()
            for each in tasks:
                each.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
        for end in ends:
            if isinstance(end, Exception):  # a mistake of ours
                raise end
        if self._trouble is not None and not self.figures.requests_count:
            raise SourcesFailed(f"nothing can be measured: {self._trouble}")
        return self._report(seconds, cpu, is_stopped=is_stopped)

    async def _play(self, tasks: list[asyncio.Task[Any]], show: Show | None, began_at: float) -> None:
        if show is not None:
            tasks.append(asyncio.create_task(self._show(show, began_at)))
        looking = asyncio.create_task(self._look())
        first = asyncio.create_task(self._first.wait())
        running = [self._start()]
        tasks += [looking, first, *running]
        await asyncio.wait((first, looking), return_when=asyncio.FIRST_COMPLETED)
        if self._trouble is None and not looking.done():
            running += [self._start() for _ in range(self._order.connections - 1)]
            done = asyncio.create_task(_wait_all(running))
            tasks += [*running[1:], done]
            await asyncio.wait((done, looking), return_when=asyncio.FIRST_COMPLETED)

    def _start(self) -> asyncio.Task[None]:
        client = Client(self)
        self._clients.append(client)
        return asyncio.create_task(client.run())

    async def _look(self) -> None:
        """Ends where nobody answers any more."""
        seconds, before = self._order.silence_seconds, (-1, 0)
        while True:
            await asyncio.sleep(seconds)
            for client in self._clients:
                client.look()
            now = (self.figures.requests_count, self.figures.bytes_count)
            if now == before:
                self._error = f"nobody has answered for {seconds:g} s"
                return
            before = now

    async def _show(self, show: Show, began_at: float) -> None:
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            show(self.figures.as_json(time.perf_counter() - began_at))

    def _report(self, seconds: float, cpu: float, *, is_stopped: bool) -> dict[str, Any]:
        share = cpu / seconds if seconds else 0.0
        return {
            "url": self._order.targets[0].url,
            "urls_count": len(self._order.targets),
            "connections": self._order.connections,
            **self.figures.as_json(seconds),
            "client_processor_share": round(share, 2),
            "is_client_the_limit": share >= FULL_SHARE,
            "is_stopped": is_stopped,
            "error": self._error,
            "exit_code": COLD_EXIT_CODE if is_stopped else SourcesFailed.exit_code if self._error is not None else 0,
        }


async def run(order: Order, show: Show | None) -> dict[str, Any]:
    """The report, also where it is cancelled. show: told of the figures so far, once a second. Raises SourcesFailed where nobody
    answers."""
    return await Run(order).go(show)


async def _wait_all(tasks: Sequence[asyncio.Task[None]]) -> None:
    await asyncio.wait(tasks)
