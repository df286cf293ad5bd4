"""One message from a node to another, and its answer: for what is said seldom (purges, preheats). Whatever keeps an answer from coming is a
PeerError."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx

from minicdn.errors import ClientError, PeerError, PeerRefused
from minicdn.wire.codec import CONTENT_TYPE, decode, encode
from minicdn.wire.http import ExchangeError, HttpDoor, host_field, parse_base
from minicdn.wire.signing import Signer
from minicdn.wire.tls import PinOf

CONNECT_SECONDS = 2.0
CONNECTIONS_MAX = 128
KEEP_ALIVE_SECONDS = 2.0
ANSWER_BYTES_MAX = 64 * 1024


class Caller:
    """From one node to others. read_seconds: the longest silence of an answer. signer: as PeerClient's. pin_of: as HttpDoor's. `transport`
    is for tests."""

    def __init__(
        self,
        *,
        read_seconds: float,
        signer: Signer | None = None,
        pin_of: PinOf | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._signer = signer
        self._door = HttpDoor(
            connections_max=CONNECTIONS_MAX,
            connect_seconds=CONNECT_SECONDS,
            read_seconds=read_seconds,
            keepalive_seconds=KEEP_ALIVE_SECONDS,
            pin_of=pin_of,
            transport=transport,
        )

    async def call(self, url: str, target: bytes, message: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """The answer's map. Raises PeerError where no node answers there within the time."""
        try:
            async with asyncio.timeout(seconds):
                return decode(await self._exchange(url, target, encode(message)), bytes_max=ANSWER_BYTES_MAX)
        except TimeoutError:
            raise PeerError(f"{url} did not answer within {seconds:g} s") from None
        except ExchangeError as error:
            raise PeerError(f"{url}: {error}") from None
        except ClientError as error:
            raise not_a_node(url, error) from None

    async def _exchange(self, url: str, target: bytes, content: bytes) -> bytes:
        base = parse_base(url)
        fields = [(b"Host", host_field(base)), (b"Content-Type", CONTENT_TYPE.encode()), (b"Content-Length", b"%d" % len(content))]
        signed = self._signer.sign(url, "POST", target, content) if self._signer is not None else None
        if signed is not None:
            fields.append((b"Authorization", signed.field))
        exchange = await self._door.send("POST", base, target, fields, content)
        try:
            body = await exchange.read(ANSWER_BYTES_MAX)
        finally:
            await exchange.close()
        if exchange.status != 200:
            raise PeerRefused(f"{url} answered {exchange.status}", exchange.status)
        if signed is not None and not signed.is_mine(200, body, exchange.fields):
            raise PeerError(f"{url}: its answer is not signed with this cluster's token")
        return body

    async def close(self) -> None:
        await self._door.close()


def not_a_node(url: str, error: ClientError) -> PeerError:
    return PeerError(f"{url} does not speak like a minicdn node: {error.reason}")
