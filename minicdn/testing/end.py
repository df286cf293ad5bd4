"""One end of a simulated connection: an asyncio transport, and the kernel's part behind it.

A protocol sees what it would see of a socket. `pump` is the kernel that sends, `arrived` the one that receives: both go on while the
process is frozen, and after it has closed.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from minicdn.testing.simloop import Process

if TYPE_CHECKING:
    from minicdn.testing.network import Network

WINDOW_BYTES = 256 * 1024
SEGMENT_BYTES = 64 * 1024
HIGH_BYTES = 64 * 1024
LOW_BYTES = 16 * 1024
EOF = b""
KERNEL_BYTES = 128 * 1024
"""What the kernel takes of what can't be sent yet; a protocol sees what is beyond."""


class Socket:
    """What protocols ask of a transport's socket. The window is the only option with an effect; it has no descriptor to send pages to."""

    def __init__(self, end: End) -> None:
        self._end = end

    def fileno(self) -> int:
        return -1

    def getsockname(self) -> tuple[str, int]:
        return self._end.own

    def getpeername(self) -> tuple[str, int]:
        return self._end.peer

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        if level == socket.SOL_SOCKET and option == socket.SO_RCVBUF:
            self._end.other.narrow(2 * value)  # as Linux takes it


class End(asyncio.Transport):
    """One end of a connection."""

    def __init__(self, network: Network, process: Process | None, own: tuple[str, int], peer: tuple[str, int]) -> None:
        super().__init__({"peername": peer, "sockname": own, "socket": Socket(self)})
        self._network, self._loop, self.process = network, network.loop, process
        self.own, self.peer = own, peer
        self.other: End = None  # type: ignore[assignment]
        self._link = network.link(own[0], peer[0])
        self._context = process.context if process is not None else None
        self._protocol: Any = None
        self._out: deque[bytes] = deque()
        self._out_bytes = 0
        self._flying_bytes = 0
        self._window_bytes = WINDOW_BYTES
        self._flying: deque[bytes | None] = deque()
        self._arrives_at = 0.0
        self._in: deque[bytes | None] = deque()
        """What arrived: bytes, EOF, None for a reset."""
        self._is_reading = True
        self._is_delivering = False
        self._is_writing_paused = False
        self._has_eof_queued = False
        self._is_closing = False
        self._is_gone = False
        self._is_told = False

    # Beginning

    def begin(self, factory: Callable[[], asyncio.BaseProtocol]) -> asyncio.BaseProtocol:
        self._protocol = factory()
        if self._is_gone:  # reset on the way
            self._loop.call_soon(self._protocol.connection_made, self, context=self._context)
            self._loop.call_soon(self._protocol.connection_lost, _reset(), context=self._context)
            return self._protocol
        self._protocol.connection_made(self)
        self._deliver_soon()
        return self._protocol

    def begin_soon(self, factory: Callable[[], asyncio.BaseProtocol]) -> None:
        self._loop.call_soon(self._begin_unless_gone, factory, context=self._context)

    def _begin_unless_gone(self, factory: Callable[[], asyncio.BaseProtocol]) -> None:
        if not self._is_gone:
            self.begin(factory)

    # What protocols ask of a transport

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def is_closing(self) -> bool:
        return self._is_closing or self._is_gone

    def is_reading(self) -> bool:
        return self._is_reading and not self.is_closing()

    def pause_reading(self) -> None:
        self._is_reading = False

    def resume_reading(self) -> None:
        if not self._is_reading:
            self._is_reading = True
            self._deliver_soon()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return max(0, self._out_bytes - KERNEL_BYTES)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return LOW_BYTES, HIGH_BYTES

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if not self.is_closing() and not self._has_eof_queued:
            self._has_eof_queued = True
            self._out.append(EOF)
            self.pump()

    def write(self, data: Any) -> None:
        if self.is_closing() or self._has_eof_queued or not data:
            return
        if None in self._in:
            self._loop.call_soon(self._lose, _reset(), context=self._context)
            return
        if self._network.on_write is not None:
            self._network.on_write(self, data)
        self._out.append(bytes(data))
        self._out_bytes += len(data)
        self.pump()
        if self.get_write_buffer_size() > HIGH_BYTES and not self._is_writing_paused:
            self._is_writing_paused = True
            self._protocol.pause_writing()

    def writelines(self, parts: Any) -> None:
        self.write(b"".join(parts))

    def close(self) -> None:
        """What was written still goes out; nothing more is read. The connection is over when it is on its way."""
        if self.is_closing():
            return
        self._is_closing = True
        self._is_reading = False
        if not self._has_eof_queued:
            self._has_eof_queued = True
            self._out.append(EOF)
        if self._out:
            self.pump()
        else:
            self._finish_close()

    def abort(self) -> None:
        if self._is_gone:
            return
        self.vanish()
        if not self._network.is_blocked(self.own[0], self.peer[0]):
            self._fly(None)
        self._loop.call_soon(self._tell_lost, None, context=self._context)

    # What the network does to it

    def vanish(self) -> None:
        """No trace is left at this end; the other knows nothing."""
        self._is_gone = self._is_closing = True
        self._out.clear()
        self._out_bytes = 0
        self._in.clear()
        self._network.forget(self)

    def reset(self) -> None:
        """As if the other end, or a box between, had said so."""
        self.arrived(None)

    def pump(self) -> None:
        """Send what the window has room for."""
        while self._out and not self._is_gone and not self._network.is_blocked(self.own[0], self.peer[0]):
            if self.other.is_gone:
                self._be_refused()
                break
            if not self._out[0]:
                self._out.popleft()
                self._fly(EOF)
                if self._is_closing:
                    self._finish_close()
                return
            size = min(self._window_bytes - self._flying_bytes, SEGMENT_BYTES)
            if size <= 0:
                break
            data = self._out.popleft()
            if len(data) > size:
                self._out.appendleft(data[size:])
                data = data[:size]
            self._out_bytes -= len(data)
            self._flying_bytes += len(data)
            self._fly(data)
        if self._is_closing and not self.get_write_buffer_size():
            self._loop.call_soon(self._tell_lost, None, context=self._context)
        if self._is_writing_paused and self.get_write_buffer_size() <= LOW_BYTES and not self._is_gone:
            self._is_writing_paused = False
            self._loop.call_soon(self._protocol.resume_writing, context=self._context)

    @property
    def is_gone(self) -> bool:
        return self._is_gone

    @property
    def is_over(self) -> bool:
        """For its process; the kernel may still be sending."""
        return self._is_gone or self._is_told

    def _fly(self, data: bytes | None) -> None:
        link, now = self._link, self._loop.time()
        link.free_at = max(now, link.free_at) + len(data or b"") / link.bytes_per_second
        at = link.free_at + link.delay_seconds * self._network.rng.uniform(1.0, 1.5)
        self._arrives_at = max(self._arrives_at, at)
        self._flying.append(data)  # timers of one instant have no order
        self._loop.call_at(self._arrives_at, self._land, context=self._network.context)

    def _land(self) -> None:
        self.other.arrived(self._flying.popleft())

    def arrived(self, data: bytes | None) -> None:
        """Bytes, EOF or None, at this end's kernel."""
        if self._is_gone:
            if data:
                self.other.took(len(data))
                self.other._be_refused()
            return
        self._in.append(data)
        if data is None and self._is_closing:  # still sending what was left
            self._lose(_reset())
        elif self._protocol is not None:
            self._deliver_soon()

    def _be_refused(self) -> None:
        """Bytes of ours come where nobody is any more: a reset comes back, behind what had been sent before."""
        if not self._is_gone:
            back = self.other
            at = self._loop.time() + self._link.delay_seconds + back._link.delay_seconds
            self._loop.call_at(max(at, back._arrives_at), self.arrived, None, context=self._network.context)

    def _deliver_soon(self) -> None:
        if self._in:
            self._loop.call_soon(self._deliver, context=self._context)

    def _deliver(self) -> None:
        if self._is_delivering:
            return
        self._is_delivering = True
        try:
            while self._in and (self._is_reading or (self._is_closing and not self._is_gone)) and not self._is_gone:
                self._deliver_one(self._in.popleft())
        finally:
            self._is_delivering = False

    def _deliver_one(self, data: bytes | None) -> None:
        if data is None:
            self._lose(_reset())
            return
        self._loop.note(f"{self.own}{self.peer}", len(data))
        if data:
            self._hand_over(data)
        elif not self._is_closing and not self._protocol.eof_received():
            self.close()

    def _hand_over(self, data: bytes) -> None:
        """A protocol that has a buffer takes as much as there is room in it, and may pause or be replaced then."""
        while not self._is_closing and isinstance(self._protocol, asyncio.BufferedProtocol):
            buffer = self._protocol.get_buffer(-1)
            part, data = data[: len(buffer)], data[len(buffer) :]
            buffer[: len(part)] = part
            self.other.took(len(part))
            self._protocol.buffer_updated(len(part))
            if not data:
                return
            if not self._is_reading:
                self._in.appendleft(data)
                return
        self.other.took(len(data))
        if not self._is_closing:
            self._protocol.data_received(data)

    def narrow(self, bytes_max: int) -> None:
        """The other end takes no more than so much before it is read."""
        self._window_bytes = min(WINDOW_BYTES, bytes_max)
        self.pump()

    def took(self, size: int) -> None:
        self._flying_bytes -= size
        self.pump()

    # The end

    def _finish_close(self) -> None:
        self._is_gone = True
        self._network.forget(self)
        self._loop.call_soon(self._tell_lost, None, context=self._context)

    def _lose(self, error: Exception) -> None:
        if not self._is_gone:
            self.vanish()
            self._loop.call_soon(self._tell_lost, error, context=self._context)

    def _tell_lost(self, error: Exception | None) -> None:
        if self._protocol is not None and not self._is_told:
            self._is_told = True
            self._protocol.connection_lost(error)


def _reset() -> ConnectionResetError:
    return ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
