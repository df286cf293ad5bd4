"""What stands behind the httpx door: an httpx transport of our own, as small and quick as an exchange can be.

httpx's own costs about ten times the processor time (docs/measurements.md). The types stay httpx's, so any other transport can take this
one's place, and httpx's does where httptools is missing. Nothing is added to a message, decoded, followed or remembered.
A request that meets a connection which the other side had closed while it was idle is sent once more, on a new one, when it may be
(RFC 9112 §9.3.1). An upload goes on while its answer is read, unless that refuses it (§9.5).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx

from minicdn.core.headers import has
from minicdn.core.message import Fields, Inform
from minicdn.wire.connection import ClientConnection, Lost, Silent
from minicdn.wire.http import head_tail
from minicdn.wire.pool import Pool, Site
from minicdn.wire.tls import Contexts

REPEATABLE = frozenset(("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"))
ENCLOSING = frozenset(("POST", "PUT", "PATCH"))
"""Requests that enclose something, or say that they don't (RFC 9110 §8.6)."""
REFUSAL = 300
"""From this status on the rest of an upload is of no use to the other side."""


@dataclass(slots=True)
class Question:
    """A request as it goes out. head: request line and fields, with a short body behind them. content: a body that is streamed, whose
    framing the head names. on_connected: called for each new connection. on_interim: told of 1xx answers. unread_bytes_max: how much may
    be under way before the body is read; widen() ends that."""

    method: str
    head: bytes
    content: AsyncIterable[bytes] | None = None
    is_chunked: bool = False
    on_connected: Callable[[], None] | None = None
    on_interim: Inform | None = None
    unread_bytes_max: int | None = None


class LeanTransport(httpx.AsyncBaseTransport):
    """Asked with httpx's types it honours the request extensions `target` (bytes on the request line), `timeout` (connect, read, write,
    pool: seconds), and those named as Question's fields. The door (http.py) asks without them: to make them costs more than the rest."""

    def __init__(self, *, connections_max: int, keepalive_seconds: float, contexts: Contexts | None = None) -> None:
        self._pool = Pool(connections_max, keepalive_seconds, contexts)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        status, fields, stream = await self.exchange(_site(request), _question(request), request.extensions["timeout"])
        return httpx.Response(status, headers=fields, stream=stream)

    def ask(
        self,
        site: Site,
        method: str,
        target: bytes,
        fields: Fields,
        content: AsyncIterable[bytes] | bytes | None,
        waits: dict[str, float],
        **named: Any,
    ) -> Awaitable[Answered]:
        """The same without httpx's types. named: as Question's fields."""
        if content is None and method in ENCLOSING:
            fields = [*fields, (b"Content-Length", b"0")]
        if content is None or isinstance(content, bytes):
            question = Question(method, head_bytes(method, target, fields, content or b""), **named)
        else:
            question = Question(method, head_bytes(method, target, fields), content, has(fields, b"transfer-encoding"), **named)
        return self.exchange(site, question, waits)

    def begin(
        self,
        site: Site,
        method: str,
        head: bytes,
        waits: dict[str, float],
        came: Callable[[], None],
        on_interim: Inform | None,
        unread_bytes_max: int | None,
    ) -> Begun | None:
        """Ask by a connection that is there, for whom no task waits (HttpDoor.begin). head: as Question has it."""
        connection = self._pool.take_idle(site, is_narrow=unread_bytes_max is not None)
        if connection is None:
            return None
        try:
            connection.bound_unread(unread_bytes_max)
            connection.begin(method, head, on_interim=on_interim)
        except Lost:
            self._pool.give_back(site, connection)
            return None
        connection.tell(came, waits["read"])
        return Begun(self, self._pool, site, connection, Question(method, head, None, False, None, on_interim, unread_bytes_max), waits)

    async def exchange(self, site: Site, question: Question, waits: dict[str, float], begun: ClientConnection | None = None) -> Answered:
        """Status, fields, and what is still to be read and then closed. begun: by which it was sent. Raises httpx's errors."""
        try:
            connection, sending = await self._ask(site, question, waits, begun)
        except Lost as error:
            raise (httpx.RemoteProtocolError if error.is_answered else httpx.ReadError)(str(error)) from error
        return connection.status, connection.fields, AnswerStream(self._pool, site, connection, sending, waits["read"])

    async def _ask(
        self, site: Site, question: Question, waits: dict[str, float], begun: ClientConnection | None
    ) -> tuple[ClientConnection, asyncio.Task[None] | None]:
        """Send, and wait for the head. Twice at most; a stream that was begun can't be sent again."""
        is_repeatable = question.method in REPEATABLE and question.content is None
        is_new, is_narrow = False, question.unread_bytes_max is not None
        while True:
            connection = begun or await self._pool.take(site, waits, is_new=is_new, is_narrow=is_narrow)
            if not connection.exchanges_count and question.on_connected is not None:
                question.on_connected()
            try:
                return connection, await _send_and_wait(connection, question, waits, is_sent=begun is not None)
            except Lost as error:
                self._pool.give_back(site, connection)
                if error.is_answered or not is_repeatable or connection.exchanges_count <= 1:
                    raise
                is_new, begun = True, None
            except BaseException:
                connection.close()
                self._pool.give_back(site, connection)
                raise

    async def aclose(self) -> None:
        self._pool.close()


async def _send_and_wait(
    connection: ClientConnection, question: Question, waits: dict[str, float], *, is_sent: bool = False
) -> asyncio.Task[None] | None:
    """Until there is an answer. Returns what still sends the body, where the answer came before its end. is_sent: before."""
    if is_sent:
        return await _wait_head(connection, waits)
    connection.bound_unread(question.unread_bytes_max)
    if question.content is None:
        connection.begin(question.method, question.head, on_interim=question.on_interim)
        return await _wait_head(connection, waits)
    connection.begin(question.method, question.head, is_streaming=True, on_interim=question.on_interim)
    sending = asyncio.get_running_loop().create_task(_send_body(connection, question, waits["write"]))
    try:
        await _wait_answer(connection, sending, waits["read"])
        if connection.status < REFUSAL and not sending.done():
            return sending
    except BaseException:
        await _end(sending)
        raise
    await _end(sending)
    return None


async def _wait_head(connection: ClientConnection, waits: dict[str, float]) -> None:
    try:
        await connection.wait_head(waits["read"])
    except Silent as error:
        raise httpx.ReadTimeout(str(error)) from None


async def _wait_answer(connection: ClientConnection, sending: asyncio.Task[None], read_seconds: float) -> None:
    """Silence counts from the end of the sending on. Raises what ended the sending; where the connection did, the answer may be there."""
    answered = asyncio.get_running_loop().create_task(connection.wait_head())
    try:
        await asyncio.wait((sending, answered), return_when=asyncio.FIRST_COMPLETED)
        if not answered.done():
            error = sending.exception()
            if error is not None and not isinstance(error, Lost):
                raise error
        async with asyncio.timeout(read_seconds):
            await answered
    except TimeoutError:
        raise httpx.ReadTimeout(f"silent for {read_seconds:g} s") from None
    finally:
        await _end(answered)


async def _send_body(connection: ClientConnection, question: Question, write_seconds: float) -> None:
    assert question.content is not None
    async for chunk in question.content:
        if chunk:
            await _write(connection, b"%x\r\n%b\r\n" % (len(chunk), chunk) if question.is_chunked else chunk, write_seconds)
    if question.is_chunked:
        await _write(connection, b"0\r\n\r\n", write_seconds)
    connection.end_request()


async def _write(connection: ClientConnection, data: bytes, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await connection.write(data)
    except TimeoutError:
        raise httpx.WriteTimeout(f"took nothing for {seconds:g} s") from None


async def _end(task: asyncio.Task[None]) -> None:
    """Whatever becomes of it."""
    task.cancel()
    await asyncio.wait((task,))
    if not task.cancelled():
        task.exception()  # looked at, so that nobody calls it lost


class AnswerStream(httpx.AsyncByteStream):
    """A body that is still to be read. Close it, always."""

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
        while chunk := await self.next():
            yield chunk

    async def next(self) -> bytes:
        """Empty at the end."""
        try:
            return await self._connection.read(self._read_seconds)
        except Lost as error:
            raise httpx.RemoteProtocolError(str(error)) from error
        except Silent as error:
            raise httpx.ReadTimeout(str(error)) from None

    def take_whole(self) -> bytes | None:
        """The body, where all of it came with the head. It can't be read again."""
        return self._connection.take_whole() if self._sending is None else None

    def widen(self) -> None:
        """All of it is wanted."""
        self._connection.bound_unread(None)

    def narrow(self, bytes_max: int) -> int:
        return self._connection.narrow(bytes_max)

    def gather(self, batch_bytes: int, *, is_sure: bool) -> None:
        self._connection.gather(batch_bytes, is_sure=is_sure)

    async def aclose(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        try:
            if self._sending is not None:
                await _end(self._sending)
        finally:
            self._pool.give_back(self._site, self._connection)

    def end(self) -> None:
        """As aclose(), where no body is being sent: nothing has to be waited for."""
        if not self._is_closed:
            self._is_closed = True
            self._pool.give_back(self._site, self._connection)


class Begun(AnswerStream):
    """A question under way for which no task waits, and then its answer's body. When `came` was called: all() where has_all, else
    answered(), once."""

    def __init__(
        self, transport: LeanTransport, pool: Pool, site: Site, connection: ClientConnection, question: Question, waits: dict[str, float]
    ) -> None:
        self._pool, self._site, self._connection, self._sending = pool, site, connection, None
        self._read_seconds = waits["read"]
        self._is_closed = False
        self._transport, self._question, self._waits = transport, question, waits

    @property
    def has_all(self) -> bool:
        """Whether all of the answer is here."""
        return self._connection.has_all

    @property
    def status(self) -> int:
        return self._connection.status

    def all(self) -> Answered:
        return self._connection.status, self._connection.fields, self

    async def answered(self) -> Answered:
        """As LeanTransport.exchange() returns and raises it, which goes on from here."""
        return await self._transport.exchange(self._site, self._question, self._waits, self._connection)

    def cut(self) -> None:
        """Nobody wants to wait any longer: `came` is called soon, for there will be no answer."""
        self._connection.close()


Answered = tuple[int, list[tuple[bytes, bytes]], AnswerStream]


def head_bytes(method: str, target: bytes, fields: Fields, body: bytes = b"") -> bytes:
    return b"".join((method.encode("ascii"), b" ", target, head_tail(fields), body))


def _site(request: httpx.Request) -> Site:
    url = request.url
    return url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80)


def _question(request: httpx.Request) -> Question:
    stream, extensions = request.stream, request.extensions
    is_short = isinstance(stream, httpx.ByteStream)
    assert isinstance(stream, httpx.AsyncByteStream)
    return Question(
        request.method,
        head_bytes(request.method, extensions["target"], request.headers.raw, b"".join(stream) if is_short else b""),  # type: ignore[arg-type]
        None if is_short else stream,
        "transfer-encoding" in request.headers,
        extensions.get("on_connected"),
        extensions.get("on_interim"),
        extensions.get("unread_bytes_max"),
    )
