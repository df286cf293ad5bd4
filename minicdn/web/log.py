"""`GET /_log`: the last lines of the log, and with `follow` those that come, as JSON lines.

What is sent is bounded at every step: the tail is read block by block, a follower's queue is short, and a reader that takes
nothing for the stall time is cut off, as a download would be. A reader that was too slow finds a DROPPED line in the place of
what it missed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from minicdn.core.logline import dropped_json, encode_line
from minicdn.errors import ClientError
from minicdn.store.logfile import Follower, LogFile
from minicdn.store.logtail import Tail

NO_STORE = {"cache-control": "no-store"}
MEDIA_TYPE = "application/x-ndjson"
LINES_DEFAULT = 1000
LINES_MAX = 1_000_000


async def log_response(log: LogFile | None, request: Request, *, stall_seconds: float) -> Response:
    """ClientError: 404 where no log is kept, 400 for a wrong query, 503 when too many follow."""
    if log is None:
        raise ClientError(404, "this manager keeps no log; start it with --log FILE, or --log - for standard output")
    limit = parse_limit(request.query_params.get("limit"))
    follower = Follower() if parse_follow(request.query_params.get("follow")) else None
    if request.method == "HEAD":
        return Response(headers=NO_STORE, media_type=MEDIA_TYPE)
    try:
        tail = await asyncio.to_thread(log.tail, limit, follower)
    except BaseException:
        if follower is not None:
            log.unfollow(follower)
        raise
    return LogStream(log, tail, follower, stall_seconds)


def parse_limit(text: str | None) -> int:
    """How many lines; ClientError(400) where that is no number from 0 to LINES_MAX."""
    if text is None:
        return LINES_DEFAULT
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text) <= LINES_MAX):
        raise ClientError(400, f"limit is a number from 0 to {LINES_MAX}")
    return int(text)


def parse_follow(text: str | None) -> bool:
    if text not in (None, "", "0", "1"):
        raise ClientError(400, "follow is 0 or 1")
    return text == "1"


class LogStream(StreamingResponse):
    """Whatever ends it, the files are closed and the follower is gone."""

    def __init__(self, log: LogFile, tail: Tail, follower: Follower | None, stall_seconds: float) -> None:
        super().__init__(_lines(log, tail, follower), headers=NO_STORE, media_type=MEDIA_TYPE)
        self._log, self._tail, self._follower, self._stall_seconds = log, tail, follower, stall_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(self._stall_seconds):
                await send(message)

        try:
            await super().__call__(scope, receive, send_in_time)
        finally:
            self._tail.close()
            if self._follower is not None:
                self._log.unfollow(self._follower)


async def _lines(log: LogFile, tail: Tail, follower: Follower | None) -> AsyncGenerator[bytes, None]:
    while block := await asyncio.to_thread(next, tail, b""):
        yield block
    while follower is not None:
        lines, missed_count = await follower.wait_lines()
        if missed_count:
            yield encode_line(dropped_json(missed_count, log.url, int(time.time())))
        if not lines:
            return
        yield b"".join(lines)
