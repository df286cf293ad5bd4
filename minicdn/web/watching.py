"""Who asked may leave, or never end what he says: what a door knows of that, in ASGI's terms."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from minicdn.errors import ClientError

MESSAGE_SECONDS = 10.0
"""How long a message may take to arrive."""
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class ClientGone(Exception):
    """Nobody is left to send to."""


class watching:
    """Within the block, a client that disconnects ends it with ClientGone: nobody waits or reads for one who has left."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._is_gone = False

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._is_gone = True
        self._task.cancel()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._watcher.cancel()
        if self._is_gone and kind is not None and issubclass(kind, asyncio.CancelledError):
            self._task.uncancel()
            raise ClientGone from None


async def read_message(scope: Scope, receive: Receive, bytes_max: int) -> bytes:
    """All of a request's body. One that is here already, as nearly all are, costs no timer. Raises ClientError."""
    connection = scope.get("minicdn.connection")
    if connection is not None and connection.has_all:
        return await _read(receive, bytes_max)
    try:
        async with asyncio.timeout(MESSAGE_SECONDS):
            return await _read(receive, bytes_max)
    except TimeoutError:
        raise ClientError(408, f"the message did not arrive within {MESSAGE_SECONDS:g} s") from None


async def _read(receive: Receive, bytes_max: int) -> bytes:
    collected = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientError(400, "the message broke off")
        collected += message.get("body", b"")
        if len(collected) > bytes_max:
            raise ClientError(413, f"a message has at most {bytes_max} bytes")
        if not message.get("more_body"):
            return bytes(collected)
