"""One node tells another of a purge. Whatever keeps an answer from coming is a PeerError: the other one learns of it when it renews."""

from __future__ import annotations

import asyncio

import httpx

from minicdn.errors import ClientError, PeerError
from minicdn.wire.codec import CONTENT_TYPE, decode, encode
from minicdn.wire.manager import KEEP_ALIVE_SECONDS, read_bounded
from minicdn.wire.purges import PurgeAnswer, PurgeCall

TELL_SECONDS = 2.0
CONNECTIONS_MAX = 128
ANSWER_BYTES_MAX = 64 * 1024


class PurgeClient:
    """From one node to others. `transport` is for tests."""

    def __init__(self, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._client = httpx.AsyncClient(
            headers={"content-type": CONTENT_TYPE, "accept-encoding": "identity"},
            limits=httpx.Limits(
                max_connections=CONNECTIONS_MAX, max_keepalive_connections=CONNECTIONS_MAX, keepalive_expiry=KEEP_ALIVE_SECONDS
            ),
            trust_env=False,
            follow_redirects=False,
            transport=transport,
        )

    async def tell(self, url: str, call: PurgeCall, seconds: float = TELL_SECONDS) -> PurgeAnswer:
        """Raises PeerError where no node answers there within the time."""
        try:
            async with asyncio.timeout(seconds):
                status, body = await self._exchange(url, encode(call.to_wire()), seconds)
            if status != 200:
                raise PeerError(f"{url} answered {status}")
            return PurgeAnswer.from_wire(decode(body, bytes_max=ANSWER_BYTES_MAX))
        except (TimeoutError, httpx.TimeoutException):
            raise PeerError(f"{url} did not answer within {seconds:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise PeerError(f"{url}: {str(error) or type(error).__name__}") from None
        except ClientError as error:
            raise PeerError(f"{url} does not speak like a minicdn node: {error.reason}") from None

    async def _exchange(self, url: str, content: bytes, seconds: float) -> tuple[int, bytes]:
        async with self._client.stream("POST", f"{url}/_rpc/purge", content=content, timeout=httpx.Timeout(seconds)) as response:
            return response.status_code, await read_bounded(response, ANSWER_BYTES_MAX)

    async def close(self) -> None:
        await self._client.aclose()
