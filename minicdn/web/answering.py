"""A response on its way out, in the terms of uvicorn's cycle: its framing, its bytes, and its end if it has no good one."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from minicdn.core.headers import first
from minicdn.web.pages import send_file
from minicdn.web.protocol import UNENDING, Connection, response_head

BODILESS = (204, 304)
COPIED_BYTES_MAX = 64 * 1024
"""Up to this size what leaves in one write is joined before; above it a copy costs more than to write from several places."""
KNOCK_BYTES = 16 * 1024
"""Given to a full socket's transport: little, since they are copied."""


class ClientDisconnected(OSError):
    """To send is of no use. (ASGI wants an OSError here.)"""


class Answering:
    """What ContentCycle adds to uvicorn's RequestResponseCycle."""

    scope: dict[str, Any]
    transport: Any
    flow: Any
    logger: Any
    message_event: asyncio.Event
    on_response: Any
    receive: Any
    send_500_response: Any
    keep_alive: bool
    more_body: bool
    disconnected: bool
    response_started: bool
    response_complete: bool
    waiting_for_100_continue: bool
    chunked_encoding: bool | None
    expected_content_length: int

    _held: tuple[bytes, ...] = ()
    """What leaves with what follows."""
    _plain_fd = -1

    async def run_asgi(self, app: Any) -> None:
        try:
            await app(self.scope, self.receive, self.send)
            if not self.response_complete and not self.disconnected:
                self.logger.error("ASGI callable returned without completing response.")
                await self._give_up()
        except ClientDisconnected:
            pass
        except BaseException as error:
            self.logger.error("Exception in ASGI application\n", exc_info=error)
            await self._give_up()
        finally:
            self.on_response = lambda: None

    async def _give_up(self) -> None:
        if self.response_started or self.disconnected:
            Connection(self.transport, self).cut()
        else:
            await self.send_500_response()

    def disconnect(self) -> None:
        """Nobody waits for this answer any more."""
        self.disconnected = True
        self.message_event.set()

    async def send(self, message: Any) -> None:
        """Raises ClientDisconnected, so that nobody goes on to read and send for one who has left.

        A failed write closes the transport at once, but tells us only when the loop gets its turn, which an application that
        never waits would not give it.
        """
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected or self.transport.is_closing():
            raise ClientDisconnected
        if message["type"] == "http.response.start":
            self._start(message)
        else:
            is_followed = message.get("minicdn.is_followed", False)
            self._send_body(message.get("body", b""), is_last=not message.get("more_body", False), is_followed=is_followed)

    def _start(self, message: Any) -> None:
        if self.response_started:
            raise RuntimeError("a second response to one request")
        self.response_started = True
        if self.waiting_for_100_continue and self.more_body:
            self.keep_alive = False  # will the content come all the same? Only the client knows (RFC 9110 §10.1.1)
        self.waiting_for_100_continue = False
        status = message["status"]
        fields = message.get("headers", ())
        self._settle_framing(status, fields)
        head = response_head(status, fields, is_chunked=bool(self.chunked_encoding), keeps_alive=self.keep_alive)
        if message.get("minicdn.is_followed"):
            self._held = (head,)
        else:
            self.transport.write(head)

    def _settle_framing(self, status: int, fields: Any) -> None:
        """How the client will know the end of the body (RFC 9112 §6.3), in the terms of uvicorn's cycle."""
        length = first(fields, b"content-length")
        self.chunked_encoding = False
        self.expected_content_length = int(length) if length is not None else 0
        if b"close" in (first(fields, b"connection") or b"").lower():
            self.keep_alive = False
        if self.scope["method"] == "HEAD" or status in BODILESS or status < 200:
            self.expected_content_length = 0
        elif length is None and self.scope["http_version"] == "1.0":
            self.expected_content_length = UNENDING
            self.keep_alive = False
        elif length is None:
            self.chunked_encoding = True

    def _send_body(self, body: bytes, *, is_last: bool, is_followed: bool) -> None:
        if self.response_complete or not self.response_started:
            raise RuntimeError("a body without a response")
        if self.scope["method"] == "HEAD":
            body = b""
        if not self.chunked_encoding:
            self._count_down(len(body), is_last=is_last)
        if self.chunked_encoding:
            parts = [b"%x\r\n" % len(body), body, b"\r\n"] if body else []
            if is_last:
                parts.append(b"0\r\n\r\n")
            body = b"".join(parts)
        if is_followed and not is_last:
            self._held = (*self._held, body)
            return
        if self._held:
            self._write_all((*self._held, body))
            self._held = ()
        elif body:
            self.transport.write(body)
        if is_last:
            self._end()

    def _write_all(self, parts: tuple[bytes, ...]) -> None:
        if sum(map(len, parts)) < COPIED_BYTES_MAX:
            self.transport.write(b"".join(parts))
        else:
            self.transport.writelines(parts)

    def may_send_files(self, fd: int) -> bool:
        """In the middle of a body that is no chunks and has a place to go, without its transport's help. fd: pages.plain_socket()."""
        if fd >= 0 > self._plain_fd:
            self.transport.set_write_buffer_limits(high=0)  # a wait for the transport ends when all has left it
        self._plain_fd = fd
        is_body = self.response_started and not self.response_complete and self.scope["method"] != "HEAD"
        return fd >= 0 and is_body and not self.chunked_encoding

    async def send_file(self, file: int, offset: int, count: int, stall_seconds: float) -> int:
        """How many of these bytes were sent: fewer where the file is shorter. Raises TimeoutError where the client takes nothing for that
        long."""
        left = count
        while left:
            if self.flow.write_paused and not self.disconnected:
                async with asyncio.timeout(stall_seconds):
                    await self.flow.drain()
            if self.disconnected or self.transport.is_closing():
                raise ClientDisconnected
            sent = self._send_pages(file, offset, left)
            if not sent:
                break
            offset += sent
            left -= sent
        return count - left

    def _send_pages(self, file: int, offset: int, count: int) -> int:
        """What the socket takes of the file; where it is full, some bytes more go to the transport, whose buffer is empty again when the
        socket takes more. (To watch a duplicate of the descriptor took five system calls for each wait.)"""
        try:
            sent = send_file(self._plain_fd, file, offset, count)
            knock = os.pread(file, min(count - sent, KNOCK_BYTES), offset + sent) if sent < count else b""
        except OSError:
            self.transport.abort()
            raise ClientDisconnected from None
        self._count_down(sent + len(knock), is_last=False)
        if knock:
            self.transport.write(knock)
        return sent + len(knock)

    def _count_down(self, size: int, *, is_last: bool) -> None:
        """Before anything is written: what goes beyond its length would be read as the next answer."""
        left = self.expected_content_length - size
        if left < 0:
            raise RuntimeError("a body longer than its Content-Length")
        if is_last and 0 < left < UNENDING // 2:
            raise RuntimeError("a body shorter than its Content-Length")
        self.expected_content_length = left

    def _end(self) -> None:
        self.response_complete = True
        self.message_event.set()
        if self._plain_fd >= 0:
            self.transport.set_write_buffer_limits()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
