"""The next hop towards the truth. One request, one answer, nothing kept here."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable
from dataclasses import dataclass
from urllib.parse import urljoin

import httpx

from minicdn.core.headers import end_to_end, first, has, without
from minicdn.core.message import Fields, Head, Inform
from minicdn.core.target import parse_target, split_absolute
from minicdn.errors import ClientError, NotReady, UpstreamError, UpstreamUnreachable
from minicdn.wire.http import (
    Base,
    Begun,
    Exchange,
    ExchangeError,
    HttpDoor,
    NoneFree,
    NotConnected,
    TimedOut,
    head_tail,
    host_field,
    parse_base,
)

BODILESS = (204, 304)
REDIRECTS = (301, 302, 303, 307, 308)
FOLLOWED_MAX = 5
CREDENTIALS = frozenset((b"authorization", b"cookie"))
"""Not for another host's eyes."""


@dataclass(slots=True)
class UpstreamAnswer:
    """head: without hop-by-hop fields. length: bytes of the body, None where not announced. The instants are wall seconds, around
    the wait for the head (RFC 9111 §4.2.3). exchange: what else the body can. Close it, always."""

    head: Head
    length: int | None
    request_at: float
    response_at: float
    exchange: Exchange

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives. Raises UpstreamError where it ends early."""
        try:
            async for chunk in self.exchange.chunks():
                yield chunk
        except ExchangeError as error:
            raise UpstreamError(f"the upstream broke off: {error}", timed_out=isinstance(error, TimedOut)) from error

    async def close(self) -> None:
        await self.exchange.close()


class Upstream:
    """The upstream's URL and the connections to it. url: absolute, may have a path, which goes before every target."""

    def __init__(self, url: str, door: HttpDoor, wall: Callable[[], float]) -> None:
        self.url = url
        self._door = door
        self._wall = wall
        self._base = parse_base(url)
        self._prefix = url.split("://", 1)[1].partition("/")[2].rstrip("/").encode()
        self._prefix = b"/" + self._prefix if self._prefix else b""

    async def send(
        self,
        method: str,
        key: str,
        fields: Fields,
        content: AsyncIterable[bytes] | None = None,
        *,
        follows: bool = False,
        on_connected: Callable[[], None] | None = None,
        on_interim: Inform | None = None,
        unread_bytes_max: int | None = None,
        begun: Begun | None = None,
        request_at: float | None = None,
    ) -> UpstreamAnswer:
        """fields: end-to-end ones; Host is set here. follows: GET and HEAD go after redirects, FOLLOWED_MAX of them, to wherever the
        upstream points. on_connected: called where a new connection to the upstream was made. on_interim: told of 1xx answers, their
        end-to-end fields. begun, request_at: what begin() sent, and when, is gone on with. Raises UpstreamError; UpstreamUnreachable
        where no connection could be made."""
        lines = [(name, value) for name, value in fields if name != b"host"]
        if content is not None and not has(fields, b"content-length"):
            lines.append((b"Transfer-Encoding", b"chunked"))
        request_at = self._wall() if request_at is None else request_at
        base, target = self._base, self._prefix + key.encode("ascii")
        try:
            exchange = await self._exchange(method, base, target, lines, content, on_connected, on_interim, unread_bytes_max, begun)
        except UpstreamError as error:
            if isinstance(error.__cause__, NotConnected):
                raise UpstreamUnreachable(str(error)) from error
            raise
        for _ in range(FOLLOWED_MAX if follows and method in ("GET", "HEAD") else 0):
            there = _redirected(exchange, base, target)
            if there is None:
                break
            await exchange.close()
            if there[0].netloc != base.netloc:
                lines = without(lines, CREDENTIALS)
            base, target = there
            exchange = await self._exchange(method, base, target, lines, None)
        return self._answer(method, exchange, request_at)

    def tail(self, fields: Fields) -> bytes:
        """What begin() wants to have behind the target. fields: as send() has them."""
        return head_tail([(b"Host", host_field(self._base)), *((name, value) for name, value in fields if name != b"host")])

    def begin(
        self, key: str, tail: bytes, came: Callable[[], None], *, on_interim: Inform | None, unread_bytes_max: int | None
    ) -> Begun | None:
        """A GET, sent as HttpDoor.begin() sends it: what that gives. all() or send() goes on with it once `came` was called."""
        target = self._prefix + key.encode("ascii")
        return self._door.begin("GET", self._base, target, tail, b"", came, on_interim=on_interim, unread_bytes_max=unread_bytes_max)

    def all(self, begun: Begun, request_at: float) -> UpstreamAnswer:
        """What begin() has brought, where it has all."""
        return self._answer("GET", Exchange(*begun.all()), request_at)

    def _answer(self, method: str, exchange: Exchange, request_at: float) -> UpstreamAnswer:
        head = Head(exchange.status, tuple(end_to_end(exchange.fields)))
        return UpstreamAnswer(head, _length(method, exchange), request_at, self._wall(), exchange)

    def now(self) -> float:
        """Wall clock."""
        return self._wall()

    async def _exchange(
        self,
        method: str,
        base: Base,
        target: bytes,
        lines: list[tuple[bytes, bytes]],
        content: AsyncIterable[bytes] | None,
        on_connected: Callable[[], None] | None = None,
        on_interim: Inform | None = None,
        unread_bytes_max: int | None = None,
        begun: Begun | None = None,
    ) -> Exchange:
        try:
            if begun is not None:
                return await self._door.go_on(begun)
            named = [(b"Host", host_field(base)), *lines]
            return await self._door.send(
                method,
                base,
                target,
                named,
                content,
                on_connected=on_connected,
                on_interim=on_interim,
                unread_bytes_max=unread_bytes_max,
            )
        except NoneFree as error:
            raise NotReady(f"the upstream {self.url} can't be asked: {error}") from error
        except ExchangeError as error:
            raise UpstreamError(f"the upstream {self.url} can't be asked: {error}", timed_out=isinstance(error, TimedOut)) from error


def _redirected(exchange: Exchange, base: Base, target: bytes) -> tuple[Base, bytes] | None:
    """Where a redirect leads: base and target; None where the answer is none that can be followed."""
    location = first(exchange.fields, b"location")
    if exchange.status not in REDIRECTS or location is None:
        return None
    try:
        absolute = urljoin(f"{base.scheme}://{base.netloc.decode()}{target.decode()}", location.decode("latin-1").strip()).partition("#")[0]
        parts = split_absolute(absolute.encode("latin-1"))
        if parts is None:
            return None
        return parse_base(f"{parts[0]}://{parts[1]}"), parse_target(parts[2]).encode("ascii")
    except (ClientError, httpx.InvalidURL, ValueError):
        return None


def _length(method: str, exchange: Exchange) -> int | None:
    if method == "HEAD" or exchange.status in BODILESS:
        return 0
    announced = first(exchange.fields, b"content-length")
    if announced is None or has(exchange.fields, b"transfer-encoding") or not announced.isdigit():
        return None
    return int(announced)
