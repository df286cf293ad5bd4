"""A peer that turned bad: minicdn itself, except that bytes of pieces leave it changed. LYING=owner: those that it owns too, else only
others'.

The digests that it sends are the right ones: it lies about bytes, as a broken disk would, or somebody who hopes that nobody looks.
"""

from __future__ import annotations

import os
from typing import Any

from minicdn.__main__ import main
from minicdn.web import pieces

_send_pieces = pieces.PiecesDoor._send_pieces


async def _send_pieces_of(self: Any, scope: Any, send: Any, seed: Any, asked: Any, plan: Any) -> None:
    is_bad = os.environ.get("LYING") == "owner" or not asked.is_owners

    async def send_changed(message: Any) -> None:
        data = message.get("body", b"")
        # Neither the head nor the digests.
        if is_bad and len(data) > 32 and not scope.pop("lying.head", False):
            message = {**message, "body": bytes([data[0] ^ 1]) + data[1:]}
        await send(message)

    scope["lying.head"] = True
    await _send_pieces(self, scope, send_changed, seed, asked, plan)


pieces.PiecesDoor._send_pieces = _send_pieces_of  # type: ignore[method-assign]
main()
