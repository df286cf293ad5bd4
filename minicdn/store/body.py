"""A Body: bytes with a length (once known) and progress (the spans already there). Everything served is one.

One writer, the fill, adds spans; any number of readers follow, each at its own pace. A reader waits only for the bytes it wants,
so a body that is whole, one that is still coming and one filled out of order are all read alike.

Where the bytes lie is the storage's affair (memory.py, disk.py). Where nothing can be kept (a body too large for the budget, one
that may not be stored, a disk that refuses) the body *relays*: a short window of bytes is held until the slowest reader has
taken them, and the writer waits for room. That is the only case in which a reader can slow another.
"""

from __future__ import annotations

import asyncio
from collections import deque
from enum import Enum
from typing import Protocol

from minicdn.core.spans import SpanSet
from minicdn.errors import BrokenBody

RELAY_WINDOW_BYTES = 1024 * 1024
READ_BYTES_MAX = 256 * 1024


class Storage(Protocol):
    """Where a body's bytes lie. One implementation in memory, one on disk."""

    medium: str
    """`memory` or `disk`, for the log and the counters."""

    def write(self, offset: int, data: bytes) -> None:
        """Keep the bytes. Raises DiskError where they can't be kept."""

    def read(self, offset: int, size: int) -> bytes | None:
        """1 … `size` bytes from `offset`, all known to be there; None where that would have to wait for a disk."""

    async def read_waiting(self, offset: int, size: int) -> bytes:
        """The same, waiting for the disk off the event loop. Raises BrokenBody where the bytes are gone."""

    def seal(self, length: int) -> None:
        """The body is whole; nothing more is written."""

    def park(self) -> None:
        """Nobody reads or writes for now: let go of file handles."""

    def discard(self) -> None:
        """Never to be read again: delete. Idempotent."""


class Progress(Enum):
    FILLING = "filling"
    WHOLE = "whole"
    BROKEN = "broken"


class Relay:
    """The window of a body that is not kept: chunks [low, high), dropped from below as the slowest reader passes."""

    medium = "none"

    def __init__(self, saved: Storage | None, start: int) -> None:
        self._saved = saved
        self._start = start
        self._chunks: deque[tuple[int, bytes]] = deque()
        self.window_bytes = 0

    def write(self, offset: int, data: bytes) -> None:
        self._chunks.append((offset, data))
        self.window_bytes += len(data)

    def read(self, offset: int, size: int) -> bytes | None:
        if self._saved is not None and offset < self._start:
            return self._saved.read(offset, min(size, self._start - offset))
        for chunk_at, chunk in self._chunks:
            if chunk_at <= offset < chunk_at + len(chunk):
                skip = offset - chunk_at
                return chunk[skip : skip + size] if skip or size < len(chunk) else chunk
        raise BrokenBody("these bytes have passed: the body is not kept")

    async def read_waiting(self, offset: int, size: int) -> bytes:
        assert self._saved is not None
        return await self._saved.read_waiting(offset, min(size, self._start - offset))

    def drop_below(self, position: int) -> None:
        while self._chunks and self._chunks[0][0] + len(self._chunks[0][1]) <= position:
            self.window_bytes -= len(self._chunks.popleft()[1])

    def seal(self, length: int) -> None:
        """Nothing to do: what is in the window is still to be read."""

    def park(self) -> None:
        if self._saved is not None:
            self._saved.park()

    def discard(self) -> None:
        if self._saved is not None:
            self._saved.discard()


class Body:
    """Bytes with progress. Not thread-safe: all calls on the event loop."""

    __slots__ = ("_discarded", "_readers", "_relay", "_room", "_storage", "_waiters", "error", "have", "length", "progress")

    def __init__(self, storage: Storage | None, length: int | None = None) -> None:
        """storage None: the body relays from its first byte."""
        self._relay = Relay(None, 0) if storage is None else None
        self._storage: Storage = self._relay or storage  # type: ignore[assignment]
        self.length = length
        self.have = SpanSet()
        self.progress = Progress.FILLING
        self.error: str | None = None
        self._readers: set[Reader] = set()
        self._waiters: list[asyncio.Future[None]] = []
        self._room: asyncio.Future[None] | None = None
        self._discarded = False

    @classmethod
    def whole(cls, storage: Storage, length: int) -> Body:
        """A body that is already there, found on disk."""
        body = cls(storage, length)
        body.have.add(0, length)
        body.progress = Progress.WHOLE
        return body

    @property
    def is_whole(self) -> bool:
        return self.progress is Progress.WHOLE

    @property
    def is_filling(self) -> bool:
        return self.progress is Progress.FILLING

    @property
    def is_kept(self) -> bool:
        """Can be read from its start again and again."""
        return self._relay is None

    @property
    def medium(self) -> str:
        return self._storage.medium

    @property
    def storage(self) -> Storage:
        return self._storage

    @property
    def reader_count(self) -> int:
        return len(self._readers)

    # The writer's side

    def write(self, offset: int, data: bytes) -> None:
        """Take bytes in and wake who waits for them. Raises DiskError; nothing has changed then."""
        self._storage.write(offset, data)
        self.have.add(offset, offset + len(data))
        self._wake()

    def relay_from_here(self) -> None:
        """The disk refuses: what is on it stays readable for those who read now, the rest passes through a window."""
        if self._relay is None:
            self._relay = Relay(self._storage, self.have.reach(0))
            self._storage = self._relay

    async def wait_room(self) -> None:
        """Back-pressure: returns when a relayed body's window has room. Others always have."""
        while self._relay is not None and self._relay.window_bytes >= RELAY_WINDOW_BYTES:
            self._room = asyncio.get_running_loop().create_future()
            await self._room

    def finish(self) -> None:
        """All bytes are there; the length is what was written."""
        self.length = self.have.reach(0)
        self._storage.seal(self.length)
        self.progress = Progress.WHOLE
        self._wake()
        self._park()

    def fail(self, error: str) -> None:
        """No more bytes will come. Readers get BrokenBody where they would have waited."""
        if self.progress is Progress.FILLING:
            self.progress = Progress.BROKEN
            self.error = error
            self._wake()
            self.discard()

    def discard(self) -> None:
        """Delete the bytes as soon as nobody reads them (those who do may end in peace)."""
        self._discarded = True
        self._park()

    # The readers' side

    def open(self, start: int = 0, end: int | None = None) -> Reader:
        """A reader of [start, end), or to the end. Close it, always."""
        reader = Reader(self, start, end)
        self._readers.add(reader)
        return reader

    def read_whole(self) -> bytes | None:
        """All bytes at once where they lie in memory and are all there."""
        if self.is_whole and self._storage.medium == "memory":
            return self._storage.read(0, self.length or 0) if self.length else b""
        return None

    async def wait_reach(self, position: int) -> int:
        """How far one can read from `position`; equal to it at the body's end. Waits while the byte is still to come."""
        while True:
            reach = self.have.reach(position)
            if reach > position:
                return reach
            if self.progress is Progress.WHOLE:
                return position
            if self.progress is Progress.BROKEN:
                raise BrokenBody(self.error or "the body broke off")
            if self.length is not None and position >= self.length:
                return position
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter

    async def wait_end(self) -> None:
        """Returns when the body is whole; raises BrokenBody when it never will be."""
        while self.progress is Progress.FILLING:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter
        if self.progress is Progress.BROKEN:
            raise BrokenBody(self.error or "the body broke off")

    def _wake(self) -> None:
        if self._waiters:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def _moved(self) -> None:
        """A reader advanced or left: a relay may have room again."""
        if self._relay is not None:
            if self._readers:
                self._relay.drop_below(min(reader.position for reader in self._readers))
            if self._room is not None and not self._room.done() and self._relay.window_bytes < RELAY_WINDOW_BYTES:
                self._room.set_result(None)

    def _close(self, reader: Reader) -> None:
        self._readers.discard(reader)
        self._moved()
        self._park()

    def _park(self) -> None:
        if not self._readers and self.progress is not Progress.FILLING:
            self._storage.discard() if self._discarded else self._storage.park()


class Reader:
    """One reader's place in a body."""

    __slots__ = ("_body", "_end", "position")

    def __init__(self, body: Body, start: int, end: int | None) -> None:
        self._body = body
        self._end = end
        self.position = start

    async def next(self) -> bytes:
        """The next bytes, at most READ_BYTES_MAX; empty at the end. Raises BrokenBody where the end will never come."""
        body, position = self._body, self.position
        reach = await body.wait_reach(position)
        if self._end is not None:
            reach = min(reach, self._end)
        if reach <= position:
            return b""
        size = min(reach - position, READ_BYTES_MAX)
        data = body._storage.read(position, size)
        if data is None:
            data = await body._storage.read_waiting(position, size)
        self.position = position + len(data)
        if body._relay is not None:
            body._moved()
        return data

    def close(self) -> None:
        """Idempotent."""
        self._body._close(self)
