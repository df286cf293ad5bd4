"""One client connection: HTTP/1.1 over asyncio, parsed by httptools.

The body's chunks wait in a short queue; when it is long the socket is not read (back-pressure), so a slow reader costs
READ_AHEAD_BYTES. Framing is strict where it matters (RFC 9112 §6.3): a body is whole when its last chunk or its last announced byte is
there, or, where neither was promised, when the connection ends. What comes after that is nobody's, and ends the connection.
The parser does not know which request it reads the answer to; what it takes for content of an answer to HEAD is such a surplus.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections import deque
from typing import Any

import httptools

from minicdn.core.message import Inform
from minicdn.wire.gathering import Gathering
from minicdn.wire.telling import Telling

READ_AHEAD_BYTES = 512 * 1024
HEAD_BYTES_MAX = 256 * 1024
"""Of a head with the interim answers before it, and of what is no content in a body: trailers, chunks' extensions."""
LONG_DIGITS = 6
"""Of the length of a body that won't come with its head."""
HEAD_END = b"\r\n\r\n"
BODILESS = (204, 304)
GATHER_SECONDS = 0.05
NARROW_BYTES_MAX = 1024 * 1024
RECEIVED_BYTES_WIDE = 128 * 1024
SO_BUF_LOCK = 72 if sys.platform == "linux" else None
"""Linux 5.14 and later: whether the system may change the size of a buffer that was set. A receive buffer of a given size is the only thing
that keeps the other side from sending: TCP_WINDOW_CLAMP on a connection that is there already did not (half a megabyte came unread)."""


class Lost(Exception):
    """The connection ended. `is_answered`: bytes of the response had arrived."""

    def __init__(self, reason: str, *, is_answered: bool) -> None:
        super().__init__(reason)
        self.is_answered = is_answered


class Silent(Exception):
    """Nothing came within the deadline."""


class ClientConnection(Gathering, Telling, asyncio.Protocol):
    """Exchanges one after the other: send(), wait_head(), read() until empty; then is_reusable tells whether there may be more."""

    def __init__(self) -> None:
        self.status = 0
        self.fields: list[tuple[bytes, bytes]] = []
        self.exchanges_count = 0
        self._is_wide = False
        self._body_bytes = 0
        self._unread_bytes_max: int | None = None
        self._on_interim: Inform | None = None
        self._transport: asyncio.Transport = None  # type: ignore[assignment]
        self._is_lost = False
        self._can_write = asyncio.Event()
        self._can_write.set()
        self._is_plain = False
        """This exchange's answer came whole, in one read, and nothing out of the ordinary was seen in it or done with it."""
        self._begin("")

    def _begin(self, method: str) -> None:
        self._is_wide, self._body_bytes = self.is_wide, 0
        self._parser = httptools.HttpResponseParser(self)
        self._method = method
        self._chunks: deque[bytes] = deque()
        self._queued_bytes = 0
        self._waiter: asyncio.Future[None] | None = None
        self._is_answered = self._is_silent = self._is_held = self._is_long = False
        self._has_head = False
        self._is_whole = not method
        self._is_bodiless = False
        self._is_chunked = False
        self._ends_with_connection = False
        self._keeps_alive = True
        self._is_sent = True
        self._quiet_bytes = 0
        self._gathering: asyncio.TimerHandle | None = None
        self._gather_nothing()
        self._error: str | None = None
        self.fields = []

    # What the exchange asks for

    @property
    def is_open(self) -> bool:
        return not self._is_lost and not self._transport.is_closing()

    @property
    def is_reusable(self) -> bool:
        """Whether another exchange may follow: all was said and heard of the last one."""
        is_over = self._is_whole and self._is_sent and not self._queued_bytes
        return is_over and self._keeps_alive and self._error is None and self.is_open

    def begin(self, method: str, head: bytes, *, is_streaming: bool = False, on_interim: Inform | None = None) -> None:
        """Send a request's head (and body, where it is short). is_streaming: write() sends the body, up to end_request(). on_interim: told
        of 1xx answers but 100, which nobody here asks for. Raises Lost."""
        if not self.is_open:
            raise Lost("the connection was closed while it was idle", is_answered=False)
        self.exchanges_count += 1
        if self._is_plain:  # then this is all that has changed, and the parser can go on
            self._is_plain = self._is_whole = self._has_head = self._is_answered = False
            self._queued_bytes = self._body_bytes = self._quiet_bytes = 0
            self._method, self.fields = method, []
        else:
            self._begin(method)
        self._is_sent = not is_streaming
        self._on_interim = on_interim
        self._transport.write(head)

    @property
    def is_wide(self) -> bool:
        """So much has come by it that the system has opened its window far: what it has offered it can't take back."""
        return self._is_wide or self._body_bytes > NARROW_BYTES_MAX

    def bound_unread(self, bytes_max: int | None) -> None:
        """How much the other side may send before it is read, from now on, where the system can say so. None: as the system likes it."""
        if bytes_max == self._unread_bytes_max:
            return
        self._unread_bytes_max = bytes_max
        sock = self._transport.get_extra_info("socket")
        if sock is not None and SO_BUF_LOCK is not None:
            try:
                sock.setsockopt(socket.SOL_SOCKET, SO_BUF_LOCK, 0)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, bytes_max // 2 if bytes_max else RECEIVED_BYTES_WIDE)
                if bytes_max is None:
                    sock.setsockopt(socket.SOL_SOCKET, SO_BUF_LOCK, 0)  # grows by itself again
            except OSError:
                pass  # then more of an answer that is left unread is lost, that is all
        if bytes_max is None and self.may_read:
            self._transport.resume_reading()

    def narrow(self, bytes_max: int) -> int:
        """As bound_unread(), in the middle of a body. Returns how much may be under way already, which can't be taken back. Nothing is
        gathered any more: a block would not fit what the other side may still send, so that each waited for its time to be over."""
        self._is_plain = False
        sock, offered_bytes = self._transport.get_extra_info("socket"), 0
        if sock is not None and self.is_open:
            offered_bytes = max(sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF), 0)
        self._stop_gathering()
        self.bound_unread(bytes_max)
        return offered_bytes + self._queued_bytes

    async def write(self, data: bytes) -> None:
        """More of the request's body; waits while the other side is slow. Raises Lost."""
        await self._can_write.wait()
        if not self.is_open:
            raise Lost(self._error or "the connection was closed", is_answered=self._is_answered)
        self._transport.write(data)

    def end_request(self) -> None:
        """The body was written. Without it the next request would be read as the rest of this one."""
        self._is_sent = True

    async def wait_head(self, seconds: float | None = None) -> None:
        """Until status and fields of the final response are there. Raises Lost; Silent after so many seconds."""
        while not self._has_head:
            if self._is_silent:
                raise Silent("silent for too long")
            await self._wait(seconds)

    @property
    def has_all(self) -> bool:
        """Whether all of the answer is here."""
        return self._is_whole and self._error is None

    def take_whole(self) -> bytes | None:
        """The body, where all of it is here already and none of it was read."""
        if not self._is_whole or self._error is not None:
            return None
        if self._is_plain:
            self._queued_bytes = 0
            return self._chunks.pop() if self._chunks else b""
        whole = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._queued_bytes = 0
        if self.is_open:
            self._transport.resume_reading()  # a long one may have stopped it, and the next answer must be read
        return whole

    async def read(self, seconds: float | None = None) -> bytes:
        """The next bytes of the body; empty at its end. Of a body that is gathered they are good until the next call. Raises Lost where it
        ends early; Silent after so many seconds."""
        self._is_plain = False
        while not self._chunks:
            if self._is_buffered and self._buffer is not None and (view := self._buffer.take()):
                self._chunks.append(view)
                break
            if self.is_open and (self._is_whole or self._unread_bytes_max or self._is_buffered or self._is_held):
                self._is_held = False
                self._transport.resume_reading()
            if self._is_whole:
                return b""
            await self._wait(seconds)
        if self._batch_bytes and len(self._chunks) > 1:
            chunk = b"".join(self._chunks)
            self._chunks.clear()
        else:
            chunk = self._chunks.popleft()
        self._queued_bytes -= len(chunk)
        if self._queued_bytes < READ_AHEAD_BYTES // 2 and not self._unread_bytes_max and self.may_read and self.is_open:
            self._transport.resume_reading()
        return chunk

    def close(self) -> None:
        """At once, whatever is under way; a body that would have ended with its connection is not whole by that."""
        self._error = self._error or "the connection was closed on this side"
        if self._transport is not None and not self._is_lost:
            self._transport.abort()

    async def _wait(self, seconds: float | None) -> None:
        if self._is_lost or self._error is not None:
            raise Lost(self._error or "the connection was closed", is_answered=self._is_answered)
        loop = asyncio.get_running_loop()
        waiter = self._waiter = loop.create_future()
        timer = None if seconds is None else loop.call_later(seconds, _end_wait, waiter, seconds)
        try:
            await waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def _wake(self) -> None:
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None
        if self._is_whole or self._is_lost:
            self._stop_looking()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # What the transport tells

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._is_whole:
            self._refuse_surplus()
            return
        is_first, self._is_answered = not self._is_answered, True
        self._quiet_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail("the answer switches protocols")
        except httptools.HttpParserError as error:
            if self._is_whole:
                self._refuse_surplus()
            else:
                self._fail(f"the answer is no HTTP: {error}")
        if self._blocks is not None or self._wakes_at > 1:
            self._gathered(len(data))
        if self._unread_bytes_max and self._chunks and not self._is_whole and self.is_open:
            self._transport.pause_reading()  # what is read here and then not wanted was sent in vain
        if self._is_bodiless and not HEAD_END.endswith(data[-len(HEAD_END) :]):
            self._refuse_surplus()
        if self._quiet_bytes > HEAD_BYTES_MAX and not self._is_whole:
            self._fail("the answer's head or its trailers are too long")
        if self._act is not None and self._has_head:
            if self._is_whole:
                # Trailers are fields to the parser, which it would still heed in the next answer.
                is_unusual = self._is_bodiless or self._is_chunked or self._ends_with_connection or self._is_wide
                is_usual = not is_unusual and len(self._chunks) <= 1
                self._is_plain = is_first and is_usual and self._keeps_alive and self._error is None
                self._call()
            else:  # the rest may have come by then, as it often was sent in a packet of its own
                if self._is_long:  # gather() has to come before it: what falls in here first costs half as much again
                    self._is_held = True
                    self._transport.pause_reading()
                self._call_soon()

    def _refuse_surplus(self) -> None:
        """Nobody asked: an answer to nothing must never become the answer to the next request."""
        self._keeps_alive = False
        self._transport.close()

    def _fail(self, reason: str) -> None:
        self._error = self._error or reason
        self._transport.abort()
        self._wake()

    def eof_received(self) -> bool:
        if self._ends_with_connection and self._error is None:
            self._is_whole = True
        self._end("the connection was closed")
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Without eof_received before it: reset, closed on this side, or cut inside TLS (RFC 9112 §9.8; asyncio's own loop can't tell)."""
        self._is_lost = True
        self._forget_buffer()
        self._can_write.set()
        self._end(f"the connection was lost: {error}" if error is not None else "the connection was closed")

    def _end(self, reason: str) -> None:
        if not self._is_whole:
            self._error = self._error or (reason if not self._has_head else f"{reason} before the end of the body")
        self._keeps_alive = False
        self._wake()
        self._tell_end()

    def pause_writing(self) -> None:
        self._can_write.clear()

    def resume_writing(self) -> None:
        self._can_write.set()

    # What the parser tells

    def on_message_begin(self) -> None:
        if self._is_whole:
            self._keeps_alive = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._has_head:
            self.fields.append((name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        if self._has_head:
            return
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            self._skip_interim(status)
            return
        self.status = status
        self._has_head = True
        self._keeps_alive = self._parser.should_keep_alive()
        self._is_chunked, is_delimited = self._framing()
        self._ends_with_connection = not is_delimited
        self._is_whole = self._is_bodiless = self._method == "HEAD" or status in BODILESS
        if self._act is None:
            self._wake()

    def _skip_interim(self, status: int) -> None:
        """The final answer follows (RFC 9110 §15.2). An interim one has no content, but the parser would believe its framing."""
        length = [value for name, value in self.fields if name.lower() == b"content-length"]
        if status == 101:
            self._fail("the answer switches protocols")
        elif self._framing()[0] or any(value != b"0" for value in length):
            self._fail("an interim answer with content")
        elif status != 100 and self._on_interim is not None:
            self._on_interim(status, self.fields)
        self.fields = []

    def _framing(self) -> tuple[bool, bool]:
        """Whether the body is chunked, and whether it says by itself where it ends."""
        self._is_long = is_chunked = is_coded = has_length = False
        for name, value in self.fields:
            if len(name) == 14:
                if name.lower() == b"content-length":
                    has_length, self._is_long = True, len(value) >= LONG_DIGITS
            elif len(name) == 17 and name.lower() == b"transfer-encoding":
                is_coded, is_chunked = True, value.lower().endswith(b"chunked")
        return is_chunked, is_chunked if is_coded else has_length

    def on_body(self, body: bytes) -> None:
        if self._is_whole:
            self._keeps_alive = False  # an answer without content has some
            return
        self._quiet_bytes = 0
        self._chunks.append(body)
        self._came(len(body))

    def _came(self, count: int) -> None:
        self._queued_bytes += count
        self._body_bytes += count
        if self._queued_bytes > READ_AHEAD_BYTES and self.is_open:
            self._transport.pause_reading()
        if self._act is not None:
            return
        if self._queued_bytes >= self._batch_bytes:
            self._wake()
        elif self._gathering is None:
            self._gathering = asyncio.get_running_loop().call_later(GATHER_SECONDS, self._wake)

    def on_message_complete(self) -> None:
        if not self._has_head or self._ends_with_connection:
            return
        if self._is_bodiless:
            if self._is_chunked and self.status not in BODILESS:  # which the parser knows: what was complete here are chunks
                self._keeps_alive = False
            return
        self._is_whole = True
        if self._act is None:
            self._wake()


def _end_wait(waiter: asyncio.Future[None], seconds: float) -> None:
    if not waiter.done():
        waiter.set_exception(Silent(f"silent for {seconds:g} s"))
