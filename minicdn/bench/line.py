"""One connection to a server: a request at a time, and when its answer is whole, the next, in the same turn of the event loop.

What a load test costs itself is what it can't measure, so nothing is copied or kept here but heads: bodies are counted where they lie.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from minicdn.bench.answers import Chunks, Head, Heads, NoHttp
from minicdn.bench.figures import Figures

HEAD_BYTES_MAX = 64 * 1024
HEAD_END = b"\r\n\r\n"


class Asker(Protocol):
    """Who asks on this connection. answered: may ask again at once."""

    def answered(self, line: Line, head: Head, size: int) -> None: ...
    def lost(self, line: Line, reason: str) -> None: ...


class Line(asyncio.BufferedProtocol):
    """origin: of the server. memory: where octets arrive; all connections share it, as each is done with them before the next."""

    def __init__(self, origin: str, asker: Asker, figures: Figures, heads: Heads, memory: bytearray) -> None:
        self.origin = origin
        self.is_waiting = False
        self.has_heard = False
        self._asker, self._figures, self._heads, self._memory = asker, figures, heads, memory
        self._early = b""
        self._head: Head | None = None
        self._chunks: Chunks | None = None
        self._left: int | None = 0
        self._size = 0
        self._transport: Any = None

    def ask(self, request: bytes) -> None:
        self.is_waiting, self._head, self._size = True, None, 0
        self._transport.write(request)

    @property
    def is_usable(self) -> bool:
        return not self.is_waiting and not self._transport.is_closing()

    def close(self) -> None:
        """Nobody wants to hear of it any more."""
        self.is_waiting = False
        self._transport.abort()

    def fail(self, reason: str) -> None:
        if self.is_waiting:
            self.is_waiting = False
            self._transport.abort()
            self._asker.lost(self, reason)

    # What the transport tells

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._memory

    def buffer_updated(self, count: int) -> None:
        self.has_heard = True
        if not self.is_waiting:  # what nobody asked for must never be the answer to the next question
            self._transport.abort()
            return
        try:
            if not self._take_plain(count):
                self._take(bytes(memoryview(self._memory)[:count]))
        except NoHttp as error:
            self.fail(str(error))

    def eof_received(self) -> bool:
        if self._head is not None and self._left is None and self._chunks is None:
            self._end(keeps_alive=False)
        else:
            self.fail("the connection ended before the answer did" if self._head is not None else "the connection was closed unanswered")
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.fail(f"the connection was lost: {error}" if error is not None else "the connection was closed")

    # The answer

    def _take_plain(self, count: int) -> bool:
        """The rest of a body of known length, or a head with none or some of it: nearly all that ever comes."""
        if self._head is None and not self._early:
            end = self._memory.find(HEAD_END, 0, count)
            head = self._heads.parse(bytes(memoryview(self._memory)[:end])) if end >= 0 else None
            if head is None or head.length is None or head.status < 200 or head.length < count - end - 4:
                return False
            self._head, self._left, self._chunks = head, head.length, None
            count -= end + 4
        elif self._head is None or self._left is None or self._left < count:
            return False
        self._left -= count
        self._size += count
        self._figures.bytes_count += count
        if not self._left:
            self._end(keeps_alive=self._head.keeps_alive)
        return True

    def _take(self, data: bytes) -> None:
        while data and self.is_waiting:
            data = self._take_head(data) if self._head is None else self._take_body(data)
            if self._head is not None and self._left == 0:
                self._end(keeps_alive=self._head.keeps_alive and not data)
                return

    def _take_head(self, data: bytes) -> bytes:
        if self._early:
            data, self._early = self._early + data, b""
        end = data.find(HEAD_END)
        if end < 0:
            if len(data) > HEAD_BYTES_MAX:
                raise NoHttp("a head that does not end")
            self._early = data
            return b""
        head = self._heads.parse(data[:end])
        if head.status >= 200:  # what comes before is interim
            self._head, self._left = head, head.length
            self._chunks = Chunks() if head.is_chunked else None
        return data[end + 4 :]

    def _take_body(self, data: bytes) -> bytes:
        if self._chunks is not None:
            size, end = self._chunks.feed(data)
            rest = b"" if end is None else data[end:]
            self._left = None if end is None else 0
        else:
            size = len(data) if self._left is None else min(self._left, len(data))
            rest = data[size:]
            self._left = None if self._left is None else self._left - size
        self._size += size
        self._figures.bytes_count += size
        return rest

    def _end(self, *, keeps_alive: bool) -> None:
        head = self._head
        assert head is not None
        self.is_waiting, self._head = False, None
        if not keeps_alive:
            self._transport.close()
        self._asker.answered(self, head, self._size)
