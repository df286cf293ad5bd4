"""Connections, kept for the next exchange. At most `connections_max` are open: those in use, being made, or idle, to all sites together."""

from __future__ import annotations

import asyncio
import errno
import ssl
from collections import deque

import httpx

from minicdn.core.nodeurl import node_url
from minicdn.wire.connection import ClientConnection
from minicdn.wire.telling import EARLY_SECONDS
from minicdn.wire.tls import Contexts, WrongCertificate

Site = tuple[str, str, int]
"""Scheme, host, port."""
NONE_LEFT = (errno.EMFILE, errno.ENFILE)
"""This node has no descriptor left: it says nothing of the other side."""
_Idle = deque[tuple[ClientConnection, float]]
"""With the instants at which their time ends, on the loop's clock."""


class Pool:
    """take(), one exchange, give_back(): always, however it ended."""

    def __init__(self, connections_max: int, keepalive_seconds: float, contexts: Contexts | None = None) -> None:
        self._connections_max = connections_max
        self._free_count = connections_max
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._keepalive_seconds = keepalive_seconds
        self._idle: dict[Site, _Idle] = {}
        self._timers: dict[Site, asyncio.TimerHandle] = {}
        self._idle_count = 0
        self._taken: set[ClientConnection] = set()
        self._contexts = contexts or Contexts()
        self._is_closed = False

    async def take(self, site: Site, waits: dict[str, float], *, is_new: bool = False, is_narrow: bool = False) -> ClientConnection:
        """An idle connection, else (or with is_new) a new one. is_narrow: one by which not much comes before it is read. Raises
        httpx's errors."""
        if not self._take_place():
            await self._wait_place(waits["pool"])
        try:
            connection = None if is_new else self._take_idle(site, is_narrow)
            if connection is None:
                connection = await self._connect(site, waits["connect"])
        except BaseException:
            self._free_place()
            raise
        self._taken.add(connection)
        return connection

    def take_idle(self, site: Site, *, is_narrow: bool) -> ClientConnection | None:
        """As take(), where there is one; else None. While anybody waits, none is free."""
        if not self._free_count:
            return None
        connection = self._take_idle(site, is_narrow)
        if connection is not None:
            self._free_count -= 1
            self._taken.add(connection)
        return connection

    def _take_place(self) -> bool:
        if not self._free_count:
            return False
        self._free_count -= 1
        return True

    def _free_place(self) -> None:
        """For who has waited longest."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():  # else its task is about to learn that it was cancelled
                turn.set_result(None)
                return
        self._free_count += 1

    async def _wait_place(self, seconds: float) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(seconds):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():  # it came in the moment in which it was given up
                self._free_place()
            elif turn in self._waiting:
                self._waiting.remove(turn)
            if isinstance(error, TimeoutError):
                raise httpx.PoolTimeout("no connection became free") from None
            raise

    def give_back(self, site: Site, connection: ClientConnection) -> None:
        """After an exchange. Idempotent."""
        if connection not in self._taken:
            return
        self._taken.discard(connection)
        self._free_place()
        if not connection.is_reusable or self._is_closed:
            connection.close()
            return
        loop = asyncio.get_running_loop()
        close_at = loop.time() + self._keepalive_seconds
        self._idle.setdefault(site, deque()).append((connection, close_at))
        self._idle_count += 1
        if site not in self._timers:
            self._timers[site] = loop.call_at(close_at, self._close_overdue, site, loop)

    def close(self) -> None:
        """Ends what is under way, too."""
        self._is_closed = True
        for site in list(self._idle):
            while site in self._idle:
                self._close_oldest(site)
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for connection in self._taken:
            connection.close()

    def statistics(self) -> dict[str, int]:
        """How many connections are in use, and how many are idle."""
        return {"taken_count": len(self._taken), "idle_count": self._idle_count}

    def _take_idle(self, site: Site, is_narrow: bool) -> ClientConnection | None:
        """The one that was used last: the others may then grow old."""
        idle = self._idle.get(site, ())
        if idle and idle[-1][0].is_open and not (is_narrow and idle[-1][0].is_wide):
            self._idle_count -= 1
            connection, _ = idle.pop()  # type: ignore[union-attr]
            if not idle:
                del self._idle[site]
            return connection
        for place in range(len(idle) - 1, -1, -1):
            connection, _ = idle[place]
            if connection.is_open and is_narrow and connection.is_wide:
                continue
            del idle[place]  # type: ignore[union-attr]
            self._forget_one(site, idle)  # type: ignore[arg-type]
            if connection.is_open:
                return connection
        return None

    def _close_oldest(self, site: Site) -> None:
        """Those of a site become idle in the order in which they stand, and so does their time end."""
        idle = self._idle[site]
        connection, _ = idle.popleft()
        self._forget_one(site, idle)
        connection.close()

    def _close_overdue(self, site: Site, loop: asyncio.AbstractEventLoop) -> None:
        """One timer for all of a site: it was set for the oldest of then, and is set for the oldest of now."""
        del self._timers[site]
        while idle := self._idle.get(site):
            close_at = idle[0][1]
            if close_at > loop.time() + EARLY_SECONDS:
                self._timers[site] = loop.call_at(close_at, self._close_overdue, site, loop)
                return
            self._close_oldest(site)

    def _forget_one(self, site: Site, idle: _Idle) -> None:
        self._idle_count -= 1
        if not idle:
            del self._idle[site]

    async def _connect(self, site: Site, connect_seconds: float) -> ClientConnection:
        if self._is_closed:
            raise httpx.CloseError("this node is stopping")
        while self._idle and len(self._taken) + self._idle_count >= self._connections_max:
            self._close_oldest(next(iter(self._idle)))
        try:
            async with asyncio.timeout(connect_seconds):
                connection = await self._open(*site)
        except TimeoutError:
            raise httpx.ConnectTimeout(f"no connection within {connect_seconds:g} s") from None
        except (OSError, UnicodeError) as error:
            if getattr(error, "errno", None) in NONE_LEFT:
                raise httpx.PoolTimeout("no connection became free") from error
            raise httpx.ConnectError(_in_words(error)) from error
        if self._is_closed:
            connection.close()
            raise httpx.CloseError("this node is stopping")
        return connection

    async def _open(self, scheme: str, host: str, port: int) -> ClientConnection:
        context = self._contexts.of(node_url(scheme, host, port))
        _, connection = await asyncio.get_running_loop().create_connection(ClientConnection, host, port, ssl=context)
        return connection


def _in_words(error: OSError | UnicodeError) -> str:
    """One line, for whoever has to do something about it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not to be trusted: {error.verify_message.rstrip('.')}"
    if isinstance(error, ssl.SSLError) and not isinstance(error, WrongCertificate):
        return f"no TLS connection: {(error.reason or str(error)).replace('_', ' ').lower()}"
    if isinstance(error, UnicodeError):
        return "that is no host name"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
