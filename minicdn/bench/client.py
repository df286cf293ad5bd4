"""One of the clients that a load test plays: asks, waits for the answer, asks the next, and never two things at once.

A server that redirects a path to the same path elsewhere (a manager, which names a peer) is asked once by each client, which then stays
with whom it was sent to, as long as it is there; so clients spread as people do. Other redirects are followed each time.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Protocol

from minicdn.bench.aim import Target, redirected
from minicdn.bench.answers import Head, Heads
from minicdn.bench.figures import Figures
from minicdn.bench.line import Line
from minicdn.wire.tls import Contexts

CONNECT_SECONDS = 5.0
REDIRECTS = (301, 302, 303, 307, 308)
FOLLOWED_MAX = 5
LINES_MAX = 8
HOMES_MAX = 1000
PAUSE_SECONDS, PAUSE_SECONDS_MAX = 0.1, 2.0
"""After a failure, and after many: a server that is down is not hammered."""


class Load(Protocol):
    """What all clients of a run share. next: what to ask, None when it is over."""

    figures: Figures
    heads: Heads
    memory: bytearray
    contexts: Contexts

    def next(self) -> Target | None: ...
    def request(self, target: Target) -> bytes: ...
    def settled(self, reason: str | None) -> None: ...


class Client:
    def __init__(self, load: Load) -> None:
        self._load = load
        self._lines: dict[str, Line] = {}
        self._homes: dict[str, str] = {}
        self._wanted: Target | None = None
        self._hop: Target | None = None
        self._hops_count = 0
        self._asked_at = 0.0
        self._pause_seconds = 0.0
        self._over: asyncio.Future[None] | None = None

    async def run(self) -> None:
        """Until there is nothing more to ask. Connections are made here; what needs none goes on from answer to answer."""
        while self._hop is not None or self._take_next():
            line = await self._find_line()
            if line is None:
                await asyncio.sleep(self._pause_seconds)
                continue
            self._over = asyncio.get_running_loop().create_future()
            self._ask(line)
            await self._over
            if self._pause_seconds:
                await asyncio.sleep(self._pause_seconds)

    def look(self) -> None:
        """To be called once in the time that an answer may be silent for."""
        for line in list(self._lines.values()):
            if line.is_waiting and not line.has_heard:
                line.fail("silent for too long")
            line.has_heard = False

    def close(self) -> None:
        for line in self._lines.values():
            line.close()
        self._lines.clear()

    def _take_next(self) -> bool:
        self._wanted = target = self._load.next()
        if target is None:
            return False
        home = self._homes.get(target.origin)
        self._hop = target if home is None else Target(home, target.path)
        self._hops_count = 0
        self._asked_at = 0.0
        return True

    def _ask(self, line: Line) -> None:
        assert self._hop is not None
        if not self._hops_count:
            self._asked_at = time.perf_counter()
        line.has_heard = True  # a look that comes soon is none at this one
        line.ask(self._load.request(self._hop))

    async def _find_line(self) -> Line | None:
        """An open connection to whom is to be asked now; None where there can't be one."""
        assert self._hop is not None
        origin = self._hop.origin
        line = self._lines.get(origin)
        if line is not None and line.is_usable:
            return line
        if line is None and len(self._lines) >= LINES_MAX:
            self._lines.pop(next(iter(self._lines))).close()
        scheme, _, place = origin.partition("://")
        host, _, port = place.rpartition(":") if not place.endswith("]") and ":" in place else (place, "", "")
        number = int(port) if port else {"http": 80, "https": 443}[scheme]
        load = self._load
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, line = await asyncio.get_running_loop().create_connection(
                    lambda: Line(origin, self, load.figures, load.heads, load.memory),
                    host.strip("[]"),
                    number,
                    ssl=load.contexts.of(origin),
                )
        except (OSError, TimeoutError) as error:
            said = "no connection within the deadline" if isinstance(error, TimeoutError) else getattr(error, "strerror", None) or error
            self._failed(f"{origin}: {said}")
            return None
        self._lines[origin] = line
        return line

    # What a line tells

    def answered(self, line: Line, head: Head, size: int) -> None:
        target, load = self._hop, self._load
        assert target is not None
        if head.status in REDIRECTS and head.location is not None and self._hops_count < FOLLOWED_MAX:
            load.figures.bytes_count -= size  # of nothing that was asked for
            self._follow(target, head.location)
        else:
            load.figures.answered(line.origin, head.status, head.cache, head.source, size, time.perf_counter() - self._asked_at)
            self._hop, self._pause_seconds = None, 0.0
            load.settled(None)
        if self._hop is None and not self._take_next():
            self._end()
        elif self._hop is not None and self._hop.origin == line.origin and line.is_usable:
            self._ask(line)
        else:
            self._end()

    def lost(self, line: Line, reason: str) -> None:
        self._failed(f"{line.origin}: {reason}")
        self._end()

    def _follow(self, target: Target, location: bytes) -> None:
        self._load.figures.redirects_count += 1
        self._hops_count += 1
        found = redirected(target, location)
        if found is None:
            self._failed(f"{target.origin}: a redirect that can't be followed")
            return
        if self._wanted is not None and found.path == target.path == self._wanted.path and len(self._homes) < HOMES_MAX:
            self._homes[self._wanted.origin] = found.origin
        self._hop = found

    def _failed(self, reason: str) -> None:
        self._load.figures.failed(reason)
        self._hop = None
        self._pause_seconds = min(max(2 * self._pause_seconds, PAUSE_SECONDS), PAUSE_SECONDS_MAX)
        if self._wanted is not None:
            self._homes.pop(self._wanted.origin, None)
        self._load.settled(reason)

    def _end(self) -> None:
        if self._over is not None and not self._over.done():
            with suppress(asyncio.InvalidStateError):
                self._over.set_result(None)
