"""A node that lies: of pieces that it holds but does not own, a byte is wrong now and then. Digests of the owner are there for that."""

from __future__ import annotations

import random
from typing import Any

from minicdn.wire.codec import decode
from minicdn.wire.pieces import PieceRequest


class Liar:
    def __init__(self, app: Any, rng: random.Random) -> None:
        self._app, self._rng = app, rng
        self.express = app.express
        self.lies_count = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope.get("raw_path") != b"/_rpc/pieces" or self._rng.random() < 0.5:
            await self._app(scope, receive, send)
            return
        asked = bytearray()
        is_head, is_trusted = True, True

        async def receive_and_see() -> Any:
            message = await receive()
            asked.extend(message.get("body", b""))
            return message

        async def send_otherwise(message: Any) -> None:
            nonlocal is_head, is_trusted
            body = message.get("body", b"")
            if message["type"] == "http.response.body" and body:
                if is_head:
                    is_head, is_trusted = False, PieceRequest.from_wire(decode(bytes(asked))).is_owners
                elif not is_trusted and self._rng.random() < 0.5:
                    at = self._rng.randrange(len(body))
                    message = {**message, "body": body[:at] + bytes((body[at] ^ 255,)) + body[at + 1 :]}
                    self.lies_count += 1
            await send(message)

        await self._app(scope, receive_and_see, send_otherwise)
