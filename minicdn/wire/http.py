"""The door to httpx: one exchange, head first, then the body as it arrives.

Driven at transport level, so that nothing is added to a message (no cookies, no redirects, no decoding) and the target goes out byte for
byte. Any transport of httpx's can stand behind the door; ours is asked without httpx's requests and responses, which cost more than
all the rest of a short exchange. httpx's errors end here; what leaves is one of these words: Unreachable (nothing was answered;
NotConnected: there was no connection either), NoneFree, TimedOut, Broken (cut in the middle).
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, Protocol

import httpx

from minicdn.core.message import Fields, Inform
from minicdn.errors import MinicdnError
from minicdn.wire.tls import Contexts, PinOf

KEEPALIVE_SECONDS = 4.0
"""How long an idle connection is kept for the next exchange: less than the 5 s after which common servers close theirs, so that
a request with a body, which can't be sent twice, seldom meets a connection that is just closing."""


class ExchangeError(MinicdnError):
    """Something went wrong between here and there; `str()` says what."""


class Unreachable(ExchangeError):
    """No connection, or it ended before an answer began."""


class NotConnected(Unreachable):
    """No connection could be made."""


class TimedOut(ExchangeError):
    """Silence for longer than the deadline."""


class NoneFree(ExchangeError):
    """This node has no connection left to ask with: that says nothing of the other side."""


class Broken(ExchangeError):
    """The answer ended before its end, or was no HTTP."""


class _Content(httpx.AsyncByteStream):
    def __init__(self, chunks: AsyncIterable[bytes]) -> None:
        self._chunks = chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._chunks:
            yield chunk


class Base:
    """Where to: scheme, host and port of an absolute URL. netloc: as the Host field says it, without the scheme's own port."""

    __slots__ = ("netloc", "port", "scheme", "site", "url")

    def __init__(self, url: httpx.URL) -> None:
        self.url = url.copy_with(raw_path=b"/")
        self.scheme, self.netloc = url.scheme, url.netloc
        self.site = url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80)


class Exchange:
    """A response whose body is still to be read. Close it, always."""

    __slots__ = ("_stream", "fields", "status")

    def __init__(self, status: int, fields: Fields, stream: Any) -> None:
        """stream: the body's bytes; those of our own transport can do more than httpx's."""
        self._stream = stream
        self.status = status
        self.fields = fields

    def take_whole(self) -> bytes | None:
        """The body, where all of it came with the head, and can be had without waiting. Then there is nothing left to read."""
        take_whole = getattr(self._stream, "take_whole", None)
        return take_whole() if take_whole is not None else None

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives. Raises Broken or TimedOut where it ends early."""
        stream = self._stream
        take = getattr(stream, "next", None)
        try:
            if take is not None:  # our own: a generator less for each chunk
                while chunk := await take():
                    yield chunk
                return
            async with aclosing(stream.__aiter__()) as parts:  # type: ignore[type-var]
                async for chunk in parts:
                    yield chunk
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise _translate(error, is_answered=True) from error

    def widen(self) -> None:
        """All of the body is wanted, as fast as it comes."""
        widen = getattr(self._stream, "widen", None)
        if widen is not None:
            widen()

    def narrow(self, bytes_max: int) -> int:
        """Soon no more of it is wanted: from now on so little is let come. Returns how much may be under way already."""
        narrow = getattr(self._stream, "narrow", None)
        return narrow(bytes_max) if narrow is not None else 0

    def gather(self, batch_bytes: int, *, is_sure: bool = True) -> None:
        """The rest of the body in blocks of about so many bytes; a twentieth of a second is waited for them at most. is_sure: it comes
        quickly; if not, in blocks of what comes in a moment."""
        gather = getattr(self._stream, "gather", None)
        if gather is not None:
            gather(batch_bytes, is_sure=is_sure)

    async def read(self, bytes_max: int) -> bytes:
        """The whole body, where it is known to be short. Raises Broken past `bytes_max`."""
        collected = bytearray()
        async for chunk in self.chunks():
            collected += chunk
            if len(collected) > bytes_max:
                raise Broken(f"an answer longer than {bytes_max} bytes")
        return bytes(collected)

    async def close(self) -> None:
        await self._stream.aclose()

    def end(self) -> None:
        """The same, after take_whole(): nothing has to be waited for."""
        self._stream.end()


class Begun(Protocol):
    """A question under way for which no task waits (HttpDoor.begin). When `came` was called, one of the three: all() where has_all,
    HttpDoor.go_on(), or end(), for nobody wants the answer."""

    @property
    def has_all(self) -> bool: ...

    @property
    def status(self) -> int:
        """Of the answer, as far as that has come."""

    def all(self) -> tuple[int, Fields, Any]:
        """What makes an Exchange."""

    async def answered(self) -> tuple[int, Fields, Any]:
        """The same, once it has come."""

    def cut(self) -> None:
        """Nobody wants to wait any longer: `came` is called soon, for there will be no answer."""

    def end(self) -> None: ...


class HttpDoor:
    """A pool of connections. One for the upstream, one for peers and manager."""

    def __init__(
        self,
        *,
        connections_max: int,
        connect_seconds: float,
        read_seconds: float,
        keepalive_seconds: float = KEEPALIVE_SECONDS,
        pin_of: PinOf | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """pin_of: the fingerprints of nodes that are known by theirs (tls.py). transport: for tests."""
        self._transport = transport or _transport(connections_max, keepalive_seconds, Contexts(pin_of))
        self._ask = getattr(self._transport, "ask", None)
        self._begin = getattr(self._transport, "begin", None)
        self._timeout = {"connect": connect_seconds, "read": read_seconds, "write": read_seconds, "pool": read_seconds}

    async def send(
        self,
        method: str,
        base: Base,
        target: bytes,
        fields: Fields,
        content: AsyncIterable[bytes] | bytes | None = None,
        *,
        on_connected: Callable[[], None] | None = None,
        on_interim: Inform | None = None,
        unread_bytes_max: int | None = None,
    ) -> Exchange:
        """Send a request and wait for the final response's head. unread_bytes_max: how much of the body may be under way before
        somebody wants it (Exchange.widen). on_connected: called where a new connection was made for it.
        on_interim: told of 1xx answers. Raises Unreachable, NoneFree, TimedOut or Broken."""
        named = {"on_connected": on_connected, "on_interim": on_interim, "unread_bytes_max": unread_bytes_max}
        try:
            if self._ask is not None:
                return Exchange(*await self._ask(base.site, method, target, fields, content, self._timeout, **named))
            stream = _Content(content) if content is not None and not isinstance(content, bytes) else None
            request = httpx.Request(
                method,
                base.url,
                headers=list(fields),
                content=content if isinstance(content, bytes) else None,
                stream=stream,
                extensions={"timeout": self._timeout, "target": target, **named},
            )
            response = await self._transport.handle_async_request(request)
            return Exchange(response.status_code, response.headers.raw, response.stream)
        except httpx.HTTPError as error:
            raise _translate(error, is_answered=False) from error

    def begin(
        self,
        method: str,
        base: Base,
        target: bytes,
        fields: Fields | bytes,
        content: bytes,
        came: Callable[[], None],
        *,
        on_interim: Inform | None = None,
        unread_bytes_max: int | None = None,
    ) -> Begun | None:
        """Send a request by a connection that is there, for whom no task waits: `came` is called once, not within this call, when all of
        the answer is here (has_all: then all() gives what makes an Exchange), or else soon after its head, or when there will be none (then
        go_on(), or send(), does). None, with nothing done, where there is no such connection or transport. fields: or what head_tail() made
        of them."""
        if self._begin is None:
            return None
        tail = fields if isinstance(fields, bytes) else head_tail(fields)
        head = b"".join((method.encode("ascii"), b" ", target, tail, content))
        return self._begin(base.site, method, head, self._timeout, came, on_interim, unread_bytes_max)

    async def go_on(self, begun: Begun) -> Exchange:
        """With what begin() has sent, once `came` was called, as send() would have done from the beginning."""
        try:
            return Exchange(*await begun.answered())
        except httpx.HTTPError as error:
            raise _translate(error, is_answered=False) from error

    async def close(self) -> None:
        await self._transport.aclose()


def head_tail(fields: Fields) -> bytes:
    """A request's head behind the target."""
    lines = [b" HTTP/1.1\r\n"]
    for name, value in fields:
        lines += (name, b": ", value, b"\r\n")
    lines.append(b"\r\n")
    return b"".join(lines)


def parse_base(url: str) -> Base:
    """Scheme, host and port of an absolute URL, for HttpDoor.send. Raises httpx.InvalidURL."""
    return Base(httpx.URL(url))


def host_field(base: Base) -> bytes:
    """The Host field's value: without the scheme's own port."""
    return base.netloc


def _transport(connections_max: int, keepalive_seconds: float, contexts: Contexts | None = None) -> httpx.AsyncBaseTransport:
    """Ours; httpx's own where httptools is missing, which knows no fingerprints."""
    try:
        from minicdn.wire.transport import LeanTransport
    except ImportError:
        limits = httpx.Limits(
            max_connections=connections_max, max_keepalive_connections=connections_max, keepalive_expiry=keepalive_seconds
        )
        return httpx.AsyncHTTPTransport(limits=limits, http2=False)
    return LeanTransport(connections_max=connections_max, keepalive_seconds=keepalive_seconds, contexts=contexts)


def _translate(error: Exception, *, is_answered: bool) -> ExchangeError:
    said = str(error) or type(error).__name__
    if isinstance(error, httpx.PoolTimeout):
        return NoneFree("this node has no connection left to ask with")
    if isinstance(error, httpx.ConnectTimeout):
        return NotConnected("no connection within the deadline")
    if isinstance(error, httpx.TimeoutException):
        return TimedOut("silent for too long")
    if isinstance(error, httpx.ConnectError):
        return NotConnected(said)
    if is_answered or (isinstance(error, httpx.RemoteProtocolError) and "without sending" not in said):
        return Broken(said)
    return Unreachable(said)
