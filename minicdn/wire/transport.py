"""What stands behind the httpx door: an httpx transport of our own, as small and quick as an exchange can be.

httpx's own costs about ten times the processor time (docs/measurements.md). The types stay httpx's, so any other transport can take this
one's place, and httpx's does where httptools is missing. Nothing is added to a message, decoded, followed or remembered.
A request that meets a connection which the other side had closed while it was idle is sent once more, when it may be
(RFC 9112 §9.3.1).
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator

import certifi
import httpx

from minicdn.wire.connection import ClientConnection, Lost

REPEATABLE = frozenset(("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"))


class LeanTransport(httpx.AsyncBaseTransport):
    """Honours the request extensions `target` (bytes on the request line) and `timeout` (connect, read, pool: seconds)."""

    def __init__(self, *, connections_max: int, keepalive_seconds: float) -> None:
        self._pool = Pool(connections_max, keepalive_seconds)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        waits = request.extensions["timeout"]
        head = _head(request)
        try:
            connection = await self._exchange(request, head, waits)
        except Lost as error:
            raise (httpx.RemoteProtocolError if error.is_answered else httpx.ConnectError)(str(error)) from error
        stream = _Stream(self._pool, _site(request), connection, waits["read"])
        return httpx.Response(connection.status, headers=connection.fields, stream=stream)

    async def _exchange(self, request: httpx.Request, head: bytes, waits: dict[str, float]) -> ClientConnection:
        """Send, and wait for the head. A stream that was begun can't be sent again."""
        site = _site(request)
        is_repeatable = request.method in REPEATABLE and isinstance(request.stream, httpx.ByteStream)
        while True:
            connection = await self._pool.take(site, waits)
            try:
                connection.begin(request.method, head)
                await _send_and_wait(connection, request, waits["read"])
                return connection
            except Lost as error:
                self._pool.give_back(site, connection)
                if error.is_answered or not is_repeatable or connection.exchanges_count <= 1:
                    raise
            except BaseException:
                connection.close()
                self._pool.give_back(site, connection)
                raise

    async def aclose(self) -> None:
        self._pool.close()


async def _send_and_wait(connection: ClientConnection, request: httpx.Request, read_seconds: float) -> None:
    """The body, if it streams, and at the same time the wait for an answer: an early one ends the sending (RFC 9112 §9.5)."""
    if isinstance(request.stream, httpx.ByteStream):
        await _in_time(connection.wait_head(), read_seconds)
        return
    sending = asyncio.get_running_loop().create_task(_send_body(connection, request))
    answered = asyncio.get_running_loop().create_task(connection.wait_head())
    try:
        await asyncio.wait((sending, answered), return_when=asyncio.FIRST_COMPLETED)
        if not answered.done():
            sending.result()
            await _in_time(answered, read_seconds)
        answered.result()
    finally:
        for task in (sending, answered):
            task.cancel()
        await asyncio.gather(sending, answered, return_exceptions=True)


async def _send_body(connection: ClientConnection, request: httpx.Request) -> None:
    is_chunked = "transfer-encoding" in request.headers
    assert isinstance(request.stream, httpx.AsyncByteStream)
    async for chunk in request.stream:
        if chunk:
            await connection.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if is_chunked else chunk)
    if is_chunked:
        await connection.write(b"0\r\n\r\n")


async def _in_time(awaitable, seconds: float) -> bytes | None:  # type: ignore[no-untyped-def]
    try:
        async with asyncio.timeout(seconds):
            return await awaitable
    except TimeoutError:
        raise httpx.ReadTimeout(f"silent for {seconds:g} s") from None


class _Stream(httpx.AsyncByteStream):
    def __init__(self, pool: Pool, site: tuple[str, str, int], connection: ClientConnection, read_seconds: float) -> None:
        self._pool, self._site, self._connection, self._read_seconds = pool, site, connection, read_seconds
        self._is_closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        read = self._connection.read
        try:
            while chunk := await _in_time(read(), self._read_seconds):
                yield chunk
        except Lost as error:
            raise httpx.RemoteProtocolError(str(error)) from error

    async def aclose(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._pool.give_back(self._site, self._connection)


class Pool:
    """Connections by site (scheme, host, port), at most `connections_max` in use or idle together."""

    def __init__(self, connections_max: int, keepalive_seconds: float) -> None:
        self._free = asyncio.Semaphore(connections_max)
        self._keepalive_seconds = keepalive_seconds
        self._idle: dict[tuple[str, str, int], deque[tuple[ClientConnection, asyncio.TimerHandle]]] = {}
        self._taken: set[ClientConnection] = set()
        self._context: ssl.SSLContext | None = None

    async def take(self, site: tuple[str, str, int], waits: dict[str, float]) -> ClientConnection:
        """An idle connection, else a new one. Raises httpx's errors."""
        try:
            async with asyncio.timeout(waits["pool"]):
                await self._free.acquire()
        except TimeoutError:
            raise httpx.PoolTimeout("no connection became free") from None
        try:
            connection = self._take_idle(site) or await self._connect(site, waits["connect"])
        except BaseException:
            self._free.release()
            raise
        self._taken.add(connection)
        return connection

    def give_back(self, site: tuple[str, str, int], connection: ClientConnection) -> None:
        """After an exchange, however it ended. Idempotent."""
        if connection not in self._taken:
            return
        self._taken.discard(connection)
        self._free.release()
        if not connection.is_reusable:
            connection.close()
            return
        timer = asyncio.get_running_loop().call_later(self._keepalive_seconds, connection.close)
        self._idle.setdefault(site, deque()).append((connection, timer))

    def close(self) -> None:
        for connections in self._idle.values():
            for connection, timer in connections:
                timer.cancel()
                connection.close()
        self._idle.clear()
        for connection in self._taken:
            connection.close()

    def _take_idle(self, site: tuple[str, str, int]) -> ClientConnection | None:
        connections = self._idle.get(site)
        while connections:
            connection, timer = connections.pop()
            timer.cancel()
            if connection.is_open:
                return connection
        self._idle.pop(site, None)
        return None

    async def _connect(self, site: tuple[str, str, int], connect_seconds: float) -> ClientConnection:
        scheme, host, port = site
        loop = asyncio.get_running_loop()
        if scheme == "https" and self._context is None:
            self._context = _trusting()
        try:
            async with asyncio.timeout(connect_seconds):
                _, connection = await loop.create_connection(
                    ClientConnection, host, port, ssl=self._context if scheme == "https" else None
                )
        except TimeoutError:
            raise httpx.ConnectTimeout(f"no connection within {connect_seconds:g} s") from None
        except OSError as error:
            raise httpx.ConnectError(error.strerror or str(error)) from error
        return connection


def _site(request: httpx.Request) -> tuple[str, str, int]:
    url = request.url
    return url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80)


def _head(request: httpx.Request) -> bytes:
    lines = [b"%b %b HTTP/1.1\r\n" % (request.method.encode("ascii"), request.extensions["target"])]
    for name, value in request.headers.raw:
        lines += (name, b": ", value, b"\r\n")
    lines.append(b"\r\n")
    if isinstance(request.stream, httpx.ByteStream):
        lines.extend(request.stream)
    return b"".join(lines)


def _trusting() -> ssl.SSLContext:
    """The system's certificate authorities; where it has none to show, certifi's."""
    context = ssl.create_default_context()
    paths = ssl.get_default_verify_paths()
    if not context.get_ca_certs() and not (paths.capath or paths.cafile):
        context.load_verify_locations(certifi.where())
    context.set_alpn_protocols(["http/1.1"])
    return context
