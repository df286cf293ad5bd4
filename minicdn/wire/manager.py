"""A peer's way to its manager: its calls, each with a deadline.

Whatever keeps an answer from coming is ManagerUnreachable, with a reason that a person can act upon: no connection, silence,
another program on that port. What the manager says is returned as a value, refusals included.
Proxies of the environment are ignored, since a cluster is a private network.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import httpx

from minicdn.core.signing import MANAGER
from minicdn.errors import ClientError, MinicdnError
from minicdn.settings import Settings
from minicdn.wire.codec import CONTENT_TYPE, decode, encode
from minicdn.wire.messages import ANSWER_BYTES_MAX, Accusation, Join, JoinAnswer, LeaseAnswer, LeaseCall, LogBatch, Renew, RenewAnswer
from minicdn.wire.purges import PurgeAnswer, PurgeCall
from minicdn.wire.signing import Signer
from minicdn.wire.tls import Contexts

T = TypeVar("T")
ANSWER_SECONDS = 3.0
"""Beyond what the manager was asked to wait: time for the answer itself. Short, as a silent manager has to be noticed."""
LEAVE_SECONDS = 3.0
PURGE_SECONDS = 6.0
"""The manager gives its peers two seconds each to answer, and five in all."""
LEASE_SECONDS = 1.0
"""A client waits meanwhile."""
KEEP_ALIVE_SECONDS = 2.0
"""Idle connections are not used again after this: a server closes them after 5 s, and a request must not meet the closing."""


class ManagerUnreachable(MinicdnError):
    """No answer, or none of a minicdn manager. Never reaches a client: the peer goes on with what it has."""


class ManagerRefused(MinicdnError):
    """The manager understood, and says that this message will never do (400 to 499)."""


class ManagerClient:
    """`transport` is for tests. signer: as PeerClient's. One client serves one peer: a held renew, a log batch and a goodbye may be
    under way at once."""

    def __init__(
        self, url: str, settings: Settings, *, signer: Signer | None = None, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self.url = url.rstrip("/")
        self._settings = settings
        self._signer = signer
        self._client = httpx.AsyncClient(
            base_url=self.url,
            headers={"content-type": CONTENT_TYPE, "accept": CONTENT_TYPE, "accept-encoding": "identity"},
            limits=httpx.Limits(max_connections=8, max_keepalive_connections=4, keepalive_expiry=KEEP_ALIVE_SECONDS),
            trust_env=False,
            follow_redirects=False,
            verify=Contexts(lambda url: settings.fingerprint).of(self.url) or False,
            transport=transport,
        )

    async def join(self, join: Join) -> JoinAnswer:
        """The answer may take as long as the manager's probe of this peer."""
        return await self._call("join", join.to_wire(), self._settings.probe_seconds + 2 * ANSWER_SECONDS, JoinAnswer.from_wire)

    async def renew(self, renew: Renew) -> RenewAnswer:
        return await self._call("renew", renew.to_wire(), renew.wait_seconds + ANSWER_SECONDS, RenewAnswer.from_wire)

    async def leave(self, id: str) -> None:
        await self._call("leave", {"id": id}, LEAVE_SECONDS, dict)

    async def purge(self, call: PurgeCall) -> PurgeAnswer:
        """Returns once the manager has told everybody whom it could reach."""
        return await self._call("purge", call.to_wire(), PURGE_SECONDS, PurgeAnswer.from_wire)

    async def lease(self, call: LeaseCall) -> LeaseAnswer:
        """Takes a lease, or gives it back."""
        return await self._call("lease", call.to_wire(), LEASE_SECONDS, LeaseAnswer.from_wire)

    async def accuse(self, accusation: Accusation) -> None:
        await self._call("accuse", accusation.to_wire(), ANSWER_SECONDS, dict)

    async def send_log(self, batch: LogBatch, *, seconds: float = 10.0) -> None:
        """Returns once the manager has taken the batch. ManagerRefused: it never will."""
        await self._call("log", batch.to_wire(), seconds, dict)

    async def close(self) -> None:
        await self._client.aclose()

    async def _call(self, name: str, message: Mapping[str, Any], seconds: float, parse: Callable[[Mapping[str, Any]], T]) -> T:
        try:
            async with asyncio.timeout(seconds):
                status, body = await self._exchange(f"/_rpc/{name}", encode(message), seconds)
        except TimeoutError:
            raise ManagerUnreachable(f"{self.url} did not answer {name} within {seconds:g} s") from None
        except httpx.TimeoutException:
            raise ManagerUnreachable(f"{self.url} can't be connected to") from None
        except httpx.HTTPError as error:
            raise ManagerUnreachable(f"{self.url}: {str(error) or type(error).__name__}") from None
        if status in (400, 401, 413):
            raise ManagerRefused(f"{self.url} refused {name}: {_first_line(body)}")
        if status != 200:
            raise ManagerUnreachable(f"{self.url} answered {name} with {status}: {_first_line(body)}")
        try:
            return parse(decode(body, bytes_max=ANSWER_BYTES_MAX))
        except ClientError as error:
            raise ManagerUnreachable(f"{self.url} does not speak like a minicdn manager: {error.reason}") from None

    async def _exchange(self, path: str, content: bytes, seconds: float) -> tuple[int, bytes]:
        timeout = httpx.Timeout(seconds, connect=min(seconds, self._settings.connect_seconds, ANSWER_SECONDS))
        signed = self._signer.sign(MANAGER, "POST", path.encode(), content) if self._signer is not None else None
        headers = {"authorization": signed.field.decode()} if signed is not None else {}
        async with self._client.stream("POST", path, content=content, headers=headers, timeout=timeout) as response:
            status, body = response.status_code, await read_bounded(response, ANSWER_BYTES_MAX)
        if status == 200 and signed is not None and not signed.is_mine(status, body, response.headers.raw):
            raise ManagerUnreachable(f"{self.url} does not sign with this peer's token: was it started without --token?")
        return status, body


async def read_bounded(response: httpx.Response, bytes_max: int) -> bytes:
    """The body as sent; httpx.DecodingError when it is longer than `bytes_max` (unpacked, a small answer could be a huge one)."""
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > bytes_max:
            raise httpx.DecodingError("the answer is too long")
    return bytes(body)


def _first_line(body: bytes) -> str:
    """What a person may want to see of an answer that is not ours: printable, and short."""
    line = body[:200].decode("utf-8", "replace").split("\n", 1)[0].strip()
    return "".join(char for char in line if char.isprintable()) or "no reason given"
