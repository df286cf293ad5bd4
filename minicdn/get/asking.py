"""One question to one source: its redirects followed, its refusals sorted, its errors in words."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

from minicdn import __version__
from minicdn.core.headers import first
from minicdn.core.target import split_absolute
from minicdn.errors import MinicdnError
from minicdn.get.facts import UNSATISFIED, Facts, facts_of, is_content, refusal
from minicdn.wire.http import Exchange, ExchangeError, HttpDoor, host_field, parse_base

CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 30.0
CONNECTIONS_MAX = 80
FOLLOWED_MAX = 5
REDIRECTS = (301, 302, 303, 307, 308)
ANSWER_BYTES_MAX = 8 * 1024 * 1024
_COMMON = (
    (b"User-Agent", f"minicdn/{__version__}".encode()),
    (b"Accept", b"*/*"),
    (b"Want-Repr-Digest", b"sha-256=10"),
)


class SourceFailed(MinicdnError):
    """Another source may do better, or this one later."""


class Changed(MinicdnError):
    """What the source has now is another file than the one of which some is here."""


@dataclass(slots=True)
class Answer:
    """A head that promises content, whose body is still to be read. Close it, always. url: who gave it in the end."""

    url: str
    facts: Facts
    exchange: Exchange

    async def chunks(self) -> AsyncIterator[bytes]:
        """Raises SourceFailed where it breaks off."""
        try:
            async for chunk in self.exchange.chunks():
                yield chunk
        except ExchangeError as error:
            raise SourceFailed(f"{origin_of(self.url)} broke off: {error}") from error

    async def close(self) -> None:
        await self.exchange.close()


class Asker:
    """pins: fingerprints of certificates by the node's URL, where they are known; more may be added until that node is asked."""

    def __init__(self, pins: dict[str, str] | None = None) -> None:
        self.pins = pins if pins is not None else {}
        self._door = HttpDoor(
            connections_max=CONNECTIONS_MAX, connect_seconds=CONNECT_SECONDS, read_seconds=SILENCE_SECONDS, pin_of=self.pins.get
        )

    async def ask(self, url: str, fields: Sequence[tuple[bytes, bytes]] = ()) -> Answer:
        """Raises SourceFailed; Changed where the range asked for is beyond the file; an OperatorError where the file is refused."""
        exchange, url = await self._follow(url, fields)
        try:
            refused = refusal(exchange.status, url)
            if refused is not None:
                raise refused
            if exchange.status == UNSATISFIED:
                raise Changed(f"{origin_of(url)} has a shorter file now")
            facts = facts_of(exchange.status, exchange.fields) if is_content(exchange.status) else None
            if facts is None:
                raise SourceFailed(f"{origin_of(url)} answers {exchange.status}")
        except BaseException:
            await exchange.close()
            raise
        return Answer(url, facts, exchange)

    async def json(self, url: str) -> dict[str, Any]:
        """A page of a node's about itself. Raises SourceFailed."""
        exchange, _ = await self._follow(url, ())
        try:
            found = json.loads(await exchange.read(ANSWER_BYTES_MAX))
        except (ExchangeError, ValueError, RecursionError):
            found = None
        finally:
            await exchange.close()
        if not isinstance(found, dict):
            raise SourceFailed(f"{origin_of(url)} answers, but not as a minicdn node")
        return found

    async def close(self) -> None:
        await self._door.close()

    async def _follow(self, url: str, fields: Sequence[tuple[bytes, bytes]]) -> tuple[Exchange, str]:
        for _ in range(FOLLOWED_MAX + 1):
            exchange = await self._send(url, fields)
            location = first(exchange.fields, b"location")
            if exchange.status not in REDIRECTS or location is None:
                return exchange, url
            await exchange.close()
            try:
                url = urljoin(url, location.decode("latin-1").strip()).partition("#")[0]
            except ValueError as error:
                raise SourceFailed(f"{url} answers with a redirect that leads nowhere: {error}") from None
        raise SourceFailed(f"more than {FOLLOWED_MAX} redirects, the last to {url}")

    async def _send(self, url: str, fields: Sequence[tuple[bytes, bytes]]) -> Exchange:
        parts = split_absolute(url.encode("latin-1", "replace"))
        if parts is None or not url.isascii():
            raise SourceFailed(f"a redirect leads to {url}, which can't be asked")
        base = parse_base(f"{parts[0]}://{parts[1]}")
        try:
            return await self._door.send("GET", base, parts[2], [(b"Host", host_field(base)), *_COMMON, *fields])
        except ExchangeError as error:
            raise SourceFailed(f"{origin_of(url)} can't be asked: {error}") from error


def origin_of(url: str) -> str:
    """Scheme, host and port."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0].partition('?')[0]}"
