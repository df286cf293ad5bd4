"""The next hop towards the truth. One request, one answer, nothing kept here."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable
from dataclasses import dataclass

from minicdn.core.headers import end_to_end, first, has
from minicdn.core.message import Fields, Head
from minicdn.errors import UpstreamError
from minicdn.wire.http import Exchange, ExchangeError, HttpDoor, TimedOut, host_field, parse_base

BODILESS = (204, 304)


@dataclass(slots=True)
class UpstreamAnswer:
    """head: without hop-by-hop fields. length: bytes of the body, None where not announced. The instants are wall seconds, around
    the wait for the head (RFC 9111 §4.2.3)."""

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
        self._host = host_field(self._base)
        self._prefix = url.split("://", 1)[1].partition("/")[2].rstrip("/").encode()
        self._prefix = b"/" + self._prefix if self._prefix else b""

    async def send(self, method: str, key: str, fields: Fields, content: AsyncIterable[bytes] | None = None) -> UpstreamAnswer:
        """fields: end-to-end ones; Host is set here. Raises UpstreamError."""
        lines = [(b"Host", self._host), *((name, value) for name, value in fields if name != b"host")]
        if content is not None and not has(fields, b"content-length"):
            lines.append((b"Transfer-Encoding", b"chunked"))
        request_at = self._wall()
        try:
            exchange = await self._door.send(method, self._base, self._prefix + key.encode("ascii"), lines, content)
        except ExchangeError as error:
            raise UpstreamError(f"the upstream {self.url} can't be asked: {error}", timed_out=isinstance(error, TimedOut)) from error
        head = Head(exchange.status, tuple(end_to_end(exchange.fields)))
        return UpstreamAnswer(head, _length(method, exchange), request_at, self._wall(), exchange)


def _length(method: str, exchange: Exchange) -> int | None:
    if method == "HEAD" or exchange.status in BODILESS:
        return 0
    announced = first(exchange.fields, b"content-length")
    if announced is None or has(exchange.fields, b"transfer-encoding") or not announced.isdigit():
        return None
    return int(announced)
