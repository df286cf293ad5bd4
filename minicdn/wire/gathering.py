"""How many bytes of a body are waited for before anybody is woken: a connection's side that takes blocks.

Where the system can count for us (SO_RCVLOWAT), this process sleeps until a block is there; elsewhere, in TLS, and where nobody knows
where the body ends, whoever reads it does. What is known to come quickly comes in blocks of one size; else they are as large as what comes
in a moment (core/blocks.py). Where the system counts, blocks lie in a buffer (buffered.py), and are good until the next one is read.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any

from minicdn.core.blocks import QUIET_SECONDS, Blocks
from minicdn.wire.buffered import BufferedBody

BUFFERED_BYTES_MIN = 64 * 1024
LITTLE_SECONDS = 0.5
SO_RCVLOWAT: int | None = socket.SO_RCVLOWAT if sys.platform == "linux" else None


class Gathering:
    """What a ClientConnection adds to this: the body's bytes, and who waits for them."""

    fields: list[tuple[bytes, bytes]]
    _transport: Any
    _is_lost: bool
    _is_whole: bool
    _is_wide: bool
    _is_chunked: bool
    _is_plain: bool
    _body_bytes: int
    _queued_bytes: int
    _unread_bytes_max: int | None
    _wakes_at = 1
    _batch_bytes = 0
    _announced_bytes = 0
    """Of a body whose end the system can count up to; else 0."""
    _blocks: Blocks | None = None
    _looking: asyncio.TimerHandle | None = None
    _socket: Any = None
    _buffer: BufferedBody | None = None
    _is_buffered = False
    """Whether this body's bytes fall into the buffer. It is kept for one more exchange, and for all that use it."""

    def _gather_nothing(self) -> None:
        """At the beginning of an exchange."""
        self._batch_bytes = self._announced_bytes = 0
        self._blocks = None
        if self._buffer is not None:
            self._buffer = self._buffer if self._is_buffered else None
            self._is_buffered = False

    def _stop_gathering(self) -> None:
        """In the middle of a body."""
        self._batch_bytes, self._blocks = 0, None
        self._wake_at(1)

    def gather(self, batch_bytes: int, *, is_sure: bool = True) -> None:
        """From now on the body comes in blocks of about so many bytes: to wake whoever reads for each packet costs more than the packet, as
        does to wake this process at all. Where the system can't count for us, blocks are gathered here, while they come soon one after the
        other. is_sure: it comes quickly; if not, blocks are as large as what comes in a moment."""
        self._is_plain = False
        length = next((value for name, value in self.fields if name.lower() == b"content-length"), None)
        if length is not None and not self._is_chunked and SO_RCVLOWAT is not None and not self._transport.get_extra_info("ssl_object"):
            self._announced_bytes = int(length)
        self._is_wide = self._is_wide or is_sure or bool(self._announced_bytes)
        if self.coming_bytes >= BUFFERED_BYTES_MIN and not self._is_whole and not self._transport.is_closing():
            self._buffer, self._is_buffered = self._buffer or BufferedBody(), True
            self._buffer.begin(self)
            self._transport.set_protocol(self._buffer)
        if is_sure:
            self._take_blocks(batch_bytes)
        else:
            self._blocks = Blocks(batch_bytes, asyncio.get_running_loop().time())

    @property
    def coming_bytes(self) -> int:
        """Of a body whose end is known: what is not here yet."""
        return self._announced_bytes - self._body_bytes

    @property
    def may_read(self) -> bool:
        """Whether there is room for what comes."""
        return not self._is_buffered or self._is_whole or self._buffer is None or self._buffer.has_room

    def _forget_buffer(self) -> None:
        """The connection is over. Its parser and it refer to each other, so that it stays until the collector comes."""
        if not self._queued_bytes:
            self._buffer, self._is_buffered = None, False

    def buffered(self, count: int) -> None:
        """So many bytes of the body fell into the buffer."""
        self._came(count)
        if self._body_bytes == self._announced_bytes:
            self._transport.set_protocol(self)
            self.on_message_complete()
        elif (self._unread_bytes_max or not self.may_read) and not self._transport.is_closing():
            self._transport.pause_reading()
        self._gathered(count)  # also at the end: what comes next is short

    def _take_blocks(self, batch_bytes: int) -> None:
        self._batch_bytes = batch_bytes
        if self._announced_bytes:
            self._wake_at(min(batch_bytes, self.coming_bytes))
        if self._looking is None and batch_bytes > 1:
            self._look_for_little(-1)

    def _gathered(self, came_bytes: int) -> None:
        """So many bytes were read, and what they are is known."""
        blocks = self._blocks
        if blocks is not None and not self._is_whole:
            before = blocks.bytes
            blocks.came(came_bytes, asyncio.get_running_loop().time())
            if blocks.bytes != before:
                self._take_blocks(blocks.bytes)
        if self._wakes_at > 1 and (left := self._announced_bytes - self._body_bytes) < self._wakes_at:
            self._wake_at(left)

    def _wake_at(self, count: int) -> None:
        """The system is to say nothing until so many bytes are there, or the end."""
        before, self._wakes_at = self._wakes_at, max(count, 1)
        if before == self._wakes_at or self._is_lost or self._transport.is_closing():
            return
        sock = self._socket = self._socket or self._transport.get_extra_info("socket")  # which makes a new object each time
        if sock is not None:
            try:
                sock.setsockopt(socket.SOL_SOCKET, SO_RCVLOWAT, self._wakes_at)
            except OSError:
                self._wakes_at = 1

    def _look_for_little(self, seen_bytes: int) -> None:
        """Where few bytes come in a long time, smaller blocks count."""
        blocks, loop = self._blocks, asyncio.get_running_loop()
        if self._body_bytes == seen_bytes and blocks is not None:
            blocks.quiet(loop.time())
            self._batch_bytes = blocks.bytes
            self._wake_at(1)
        elif self._wakes_at > 1 and self._body_bytes == seen_bytes:
            self._wake_at(self._wakes_at // 8)
        self._looking = None
        if max(self._wakes_at, blocks.bytes if blocks is not None else 1) > 1 and not self._is_lost:
            seconds = LITTLE_SECONDS if blocks is None else QUIET_SECONDS
            self._looking = loop.call_later(seconds, self._look_for_little, self._body_bytes)

    def _came(self, count: int) -> None:
        raise NotImplementedError

    def on_message_complete(self) -> None:
        raise NotImplementedError

    def _stop_looking(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
