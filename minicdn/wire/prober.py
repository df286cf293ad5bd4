"""The manager's look at a peer, from where it stands: is there, at this URL, the node that says so?

A peer behind a firewall joins easily and can be reached by nobody; handed out, it would fail every client sent there. So a
peer is listed only after its own `/_health` has answered at its URL with its own id. Another program on that port, or
another peer behind the same address, answers too, but not with that id.
"""

from __future__ import annotations

import asyncio
import json

import httpx

from minicdn.wire.manager import read_bounded
from minicdn.wire.tls import pinned

HEALTH_BYTES_MAX = 64 * 1024
HEADERS = {"accept-encoding": "identity"}
PROBES_MAX = 128
"""Probes at once. The others wait their turn before their own time begins, or a crowd would make honest peers look dead."""


class Prober:
    """`probe` returns a value in all cases; each probe uses a connection of its own, as only a new one proves anything."""

    def __init__(self, seconds: float, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._seconds = seconds
        self._turns = asyncio.Semaphore(PROBES_MAX)
        limits = httpx.Limits(max_connections=PROBES_MAX, max_keepalive_connections=0)
        self._client = httpx.AsyncClient(headers=HEADERS, limits=limits, trust_env=False, follow_redirects=False, transport=transport)

    async def probe(self, url: str, id: str, pin: str | None = None) -> str | None:
        """None when the node `id` answers at `url`; otherwise the reason why not, for a person. pin: its certificate's fingerprint."""
        try:
            async with self._turns, asyncio.timeout(self._seconds):
                found = await self._health_id(url) if pin is None else await self._pinned_id(url, pin)
        except (TimeoutError, httpx.TimeoutException):
            return f"no answer within {self._seconds:g} s"
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            return str(error) or type(error).__name__
        if found is None:
            return "another program answers there"
        return None if found == id else "another minicdn node answers there"

    async def close(self) -> None:
        await self._client.aclose()

    async def _pinned_id(self, url: str, pin: str) -> str | None:
        async with httpx.AsyncClient(headers=HEADERS, trust_env=False, follow_redirects=False, verify=pinned(pin)) as client:
            return await self._health_id(url, client)

    async def _health_id(self, url: str, client: httpx.AsyncClient | None = None) -> str | None:
        async with (client or self._client).stream("GET", f"{url}/_health", timeout=httpx.Timeout(self._seconds)) as response:
            if response.status_code not in (200, 503):
                return None
            body = await read_bounded(response, HEALTH_BYTES_MAX)
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            return None
        id = found.get("id") if isinstance(found, dict) else None
        return id if isinstance(id, str) else None
