"""`/_play/PATH`: what is at /PATH, to be shown by a browser in place of being saved (core/playing.py).

The request goes on as one for /PATH, so that key, ranges, caching and the log are those of /PATH, and there is no second copy; only the
answer's head is another.
"""

from __future__ import annotations

from typing import Any

from minicdn.core.playing import PLAY, play_fields
from minicdn.web.protocol import decoded, path_of, target_of
from minicdn.web.watching import Scope, Send

PREFIX = PLAY + b"/"


def inside(scope: Scope) -> Scope:
    """The request for the path below /_play."""
    target = target_of(scope).removeprefix(PLAY)
    raw_path, query = path_of(target)
    return {**scope, "minicdn.target": target, "raw_path": raw_path, "query_string": query, "path": decoded(raw_path)}


def showing(send: Send, scope: Scope) -> Send:
    """Sends what answers `scope`, a request that came from `inside`."""

    async def send_shown(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": play_fields(message["status"], message["headers"], scope["raw_path"])}
        await send(message)

    return send_shown
