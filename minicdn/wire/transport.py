"""What stands behind the httpx door: an httpx transport of our own, as small and quick as an exchange can be.

httpx's own costs about ten times the processor time (docs/measurements.md). The types stay httpx's, so any other transport can take this
one's place, and httpx's does where httptools is missing. Nothing is added to a message, decoded, followed or remembered.
A request that meets a connection which the other side had closed while it was idle is sent once more, on a new one, when it may be
(RFC 9112 §9.3.1). An upload goes on while its answer is read, unless that refuses it (§9.5).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable

import httpx

from minicdn.wire.connection import ClientConnection, Lost
from minicdn.wire.pool import Pool, Site
from minicdn.wire.tls import Contexts

REPEATABLE = frozenset(("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"))
REFUSAL = 300
"""From this status on the rest of an upload is of no use to the other side."""


class LeanTransport(httpx.AsyncBaseTransport):
    """Honours the request extensions `target` (bytes on the request line), `timeout` (connect, read, write, pool: seconds),
    `on_connected` (called for each new connection), `on_interim` (told of 1xx answers) and `unread_bytes_max` (how much may be under way
    before the body is read; widen() ends that)."""

    def __init__(self, *, connections_max: int, keepalive_seconds: float, contexts: Contexts | None = None) -> None:
        self._pool = Pool(connections_max, keepalive_seconds, contexts)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        waits, site = request.extensions["timeout"], _site(request)
        try:
            connection, sending = await self._exchange(request, site, waits)
        except Lost as error:
            raise (httpx.RemoteProtocolError if error.is_answered else httpx.ReadError)(str(error)) from error
        stream = _Stream(self._pool, site, connection, sending, waits["read"])
        return httpx.Response(connection.status, headers=connection.fields, stream=stream)

    async def _exchange(
        self, request: httpx.Request, site: Site, waits: dict[str, float]
    ) -> tuple[ClientConnection, asyncio.Task[None] | None]:
        """Send, and wait for the head. Twice at most; a stream that was begun can't be sent again."""
        is_repeatable = request.method in REPEATABLE and isinstance(request.stream, httpx.ByteStream)
        on_connected = request.extensions.get("on_connected")
        is_new, is_narrow = False, request.extensions.get("unread_bytes_max") is not None
        while True:
            connection = await self._pool.take(site, waits, is_new=is_new, is_narrow=is_narrow)
            if not connection.exchanges_count and on_connected is not None:
                on_connected()
            try:
                return connection, await _send_and_wait(connection, request, waits)
            except Lost as error:
                self._pool.give_back(site, connection)
                if error.is_answered or not is_repeatable or connection.exchanges_count <= 1:
                    raise
                is_new = True
            except BaseException:
                connection.close()
                self._pool.give_back(site, connection)
                raise

    async def aclose(self) -> None:
        self._pool.close()


async def _send_and_wait(connection: ClientConnection, request: httpx.Request, waits: dict[str, float]) -> asyncio.Task[None] | None:
    """Until there is an answer. Returns what still sends the body, where the answer came before its end."""
    head, on_interim = _head(request), request.extensions.get("on_interim")
    connection.bound_unread(request.extensions.get("unread_bytes_max"))
    if isinstance(request.stream, httpx.ByteStream):
        connection.begin(request.method, head, on_interim=on_interim)
        await _in_time(connection.wait_head(), waits["read"])
        return None
    connection.begin(request.method, head, is_streaming=True, on_interim=on_interim)
    sending = asyncio.get_running_loop().create_task(_send_body(connection, request, waits["write"]))
    try:
        await _wait_answer(connection, sending, waits["read"])
        if connection.status < REFUSAL and not sending.done():
            return sending
    except BaseException:
        await _end(sending)
        raise
    await _end(sending)
    return None


async def _wait_answer(connection: ClientConnection, sending: asyncio.Task[None], read_seconds: float) -> None:
    """Silence counts from the end of the sending on. Raises what ended the sending; where the connection did, the answer may be there."""
    answered = asyncio.get_running_loop().create_task(connection.wait_head())
    try:
        await asyncio.wait((sending, answered), return_when=asyncio.FIRST_COMPLETED)
        if not answered.done():
            error = sending.exception()
            if error is not None and not isinstance(error, Lost):
                raise error
        await _in_time(answered, read_seconds)
    finally:
        await _end(answered)


async def _send_body(connection: ClientConnection, request: httpx.Request, write_seconds: float) -> None:
    is_chunked = "transfer-encoding" in request.headers
    assert isinstance(request.stream, httpx.AsyncByteStream)
    async for chunk in request.stream:
        if chunk:
            await _write(connection, b"%x\r\n%b\r\n" % (len(chunk), chunk) if is_chunked else chunk, write_seconds)
    if is_chunked:
        await _write(connection, b"0\r\n\r\n", write_seconds)
    connection.end_request()


async def _write(connection: ClientConnection, data: bytes, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await connection.write(data)
    except TimeoutError:
        raise httpx.WriteTimeout(f"took nothing for {seconds:g} s") from None


async def _in_time(awaitable: Awaitable[bytes | None], seconds: float) -> bytes | None:
    try:
        async with asyncio.timeout(seconds):
            return await awaitable
    except TimeoutError:
        raise httpx.ReadTimeout(f"silent for {seconds:g} s") from None


async def _end(task: asyncio.Task[None]) -> None:
    """Whatever becomes of it."""
    task.cancel()
    await asyncio.wait((task,))
    if not task.cancelled():
        task.exception()  # looked at, so that nobody calls it lost


class _Stream(httpx.AsyncByteStream):
    def __init__(
        self, pool: Pool, site: Site, connection: ClientConnection, sending: asyncio.Task[None] | None, read_seconds: float
    ) -> None:
        self._pool, self._site, self._connection, self._sending = pool, site, connection, sending
        self._read_seconds = read_seconds
        self._is_closed = False
        if sending is not None:
            sending.add_done_callback(self._stop_with)

    def _stop_with(self, sending: asyncio.Task[None]) -> None:
        """The upload broke off in the middle: what is answered to half of it is of no use."""
        if sending.cancelled() or sending.exception() is not None:
            self._connection.close()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        read = self._connection.read
        try:
            while chunk := await _in_time(read(), self._read_seconds):
                yield chunk
        except Lost as error:
            raise httpx.RemoteProtocolError(str(error)) from error

    def widen(self) -> None:
        """All of it is wanted."""
        self._connection.bound_unread(None)

    def gather(self, batch_bytes: int) -> None:
        self._connection.gather(batch_bytes)

    async def aclose(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        try:
            if self._sending is not None:
                await _end(self._sending)
        finally:
            self._pool.give_back(self._site, self._connection)


def _site(request: httpx.Request) -> Site:
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
