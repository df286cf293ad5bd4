"""Asks an ASGI application as a server would, piece by piece: httpx's own transport waits for whole bodies, and can't follow."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Answer:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def text(self) -> str:
        return self.body.decode("utf-8")


class Exchange:
    """One request under way. `hang_up` is the client's leaving."""

    def __init__(
        self,
        app: Any,
        method: str,
        target: str,
        *,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        client: tuple[str, int] = ("10.0.0.5", 50123),
        is_reading: bool = True,
    ) -> None:
        """`is_reading` False: a client that takes the head, and then nothing more."""
        path, _, query = target.partition("?")
        self.answer = Answer()
        self._body: bytes | None = body
        self._is_reading = is_reading
        self._gone = asyncio.Event()
        self._changed = asyncio.Event()
        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": path, "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in (headers or {}).items()],
            "client": client, "server": ("127.0.0.1", 11000),
        }  # fmt: skip
        self.task = asyncio.ensure_future(app(scope, self._receive, self._send))

    def hang_up(self) -> None:
        self._gone.set()

    async def wait_for(self, is_so: Any) -> Answer:
        """Until the answer so far is as wanted; AssertionError when it ends otherwise."""
        async with asyncio.timeout(10):
            while not is_so(self.answer):
                assert not self.task.done(), f"ended with {self.answer}"
                changed = asyncio.ensure_future(self._changed.wait())
                await asyncio.wait({changed, self.task}, return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
                self._changed.clear()
        return self.answer

    async def whole(self) -> Answer:
        await asyncio.wait_for(self.task, 10)
        return self.answer

    async def _receive(self) -> dict[str, Any]:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.answer.status = message["status"]
            self.answer.headers = {name.decode().lower(): value.decode() for name, value in message["headers"]}
        elif not self._is_reading:
            await asyncio.Event().wait()
        else:
            self.answer.body += message.get("body", b"")
        self._changed.set()


async def ask(app: Any, method: str, target: str, **more: Any) -> Answer:
    return await Exchange(app, method, target, **more).whole()
