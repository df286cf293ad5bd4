"""A Body: bytes with a length (once known) and progress (the spans already there). Everything served is one.

One writer, the fill, adds spans; any number of readers follow, each at its own pace. A reader waits only for the bytes it wants,
so a body that is whole, one that is still coming and one filled out of order are all read alike.

Where the bytes lie is the storage's affair (memory.py, disk.py). Where nothing can be kept (a body too large for the budget, one
that may not be stored, a disk that refuses) the body *relays* (relay.py): a short window of bytes is held until the slowest
reader has taken them, and the writer waits for room. That is the only case in which a reader can slow another.

A *partial* body is filled span by span, each by a fill of its own: expect() announces a span, ended() says that no more of it comes.
Between fills it rests, with what it has.

A small cache is mostly bodies that nobody reads at the moment: what only readers and waiters need is made when the first comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum

from minicdn.core.pieces import Pieces
from minicdn.core.spans import SpanSet
from minicdn.errors import BrokenBody, CopyLost, DiskError
from minicdn.store.ledger import Ledger
from minicdn.store.memory import MemoryStorage
from minicdn.store.pieced import Pieced
from minicdn.store.reader import Reader
from minicdn.store.relay import Relay
from minicdn.store.storage import Storage
from minicdn.store.waiters import END, Waiters

RELAY_STALL_SECONDS = 900.0
"""Far beyond what a client may stall: then nobody at all moves, and the fill must not hang for ever."""


class Progress(Enum):
    FILLING = "filling"
    PARTIAL = "partial"
    WHOLE = "whole"
    BROKEN = "broken"


FILLING, PARTIAL, WHOLE, BROKEN = Progress.FILLING, Progress.PARTIAL, Progress.WHOLE, Progress.BROKEN
"""To look one up in its class takes ten times as long, and a body is asked a dozen times for each answer."""


class Body(Pieced):
    """Bytes with progress. Not thread-safe: all calls on the event loop."""

    __slots__ = (
        *("_coming", "_holds_count", "_is_discarded", "_ledger", "_readers", "_relay", "_room", "_storage", "_waiters"),
        *("error", "have", "is_refused", "is_unchecked", "length", "progress"),
    )

    def __init__(self, storage: Storage | None, length: int | None = None) -> None:
        """storage None: the body relays from its first byte."""
        self._relay: Relay | None = None
        if storage is None:
            storage = self._relay = Relay(None, 0)
        self._storage: Storage = storage
        self.length = length
        self.have = SpanSet()
        self.progress = FILLING
        self.error: str | None = None
        self._readers: set[Reader] | None = None
        self._waiters: Waiters | None = None
        self._room: asyncio.Future[None] | None = None
        self._is_discarded = False
        self._holds_count = 0
        self._coming: list[tuple[int, int]] | None = None
        self._ledger = Ledger(Pieces.of(length)) if length and storage.medium == "disk" else None
        self.is_unchecked = False
        self.is_refused = False

    @classmethod
    def of(cls, whole: bytes) -> Body:
        """All of it at once, in memory."""
        body = cls(MemoryStorage.of(whole), len(whole))
        if whole:
            body.have.add(0, len(whole))
        body.progress = WHOLE
        return body

    @classmethod
    def partial(cls, storage: Storage, length: int) -> Body:
        """A body of known length that is to be filled span by span."""
        body = cls(storage, length)
        body.rest_as_partial()
        return body

    @classmethod
    def found(cls, storage: Storage, length: int, digests: bytes = b"", *, is_whole: bool = True, sha256: bytes | None = None) -> Body:
        """A body that an earlier run left on disk: the whole, or the pieces whose digests are known."""
        body = cls(storage, length)
        ledger = body._ledger = Ledger(Pieces.of(length), digests, sha256)
        body.is_unchecked = bool(ledger.unchecked)
        if is_whole:
            body.have.add(0, length)
            body.progress = WHOLE
            return body
        for first, behind in ledger.unchecked:
            body.have.add(first * ledger.layout.size, min(behind * ledger.layout.size, length))
        body.rest_as_partial()
        return body

    @property
    def is_whole(self) -> bool:
        return self.progress is WHOLE

    @property
    def is_filling(self) -> bool:
        return self.progress is FILLING

    @property
    def is_partial(self) -> bool:
        """Filled span by span, and not whole yet."""
        return self._coming is not None and not self.is_whole

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
        return len(self._readers) if self._readers else 0

    @property
    def is_used(self) -> bool:
        """Somebody reads it, writes it, or is about to."""
        return bool(self._readers) or self.progress is FILLING or self._holds_count > 0

    def hold(self) -> None:
        """Somebody is about to read it, or to have more of it filled: until let_go() it is used."""
        self._holds_count += 1

    def let_go(self) -> None:
        self._holds_count -= 1
        self._settle()

    # For the writer

    def write(self, offset: int, data: bytes) -> None:
        """Take bytes in and wake who waits for them. Raises DiskError, or BrokenBody for more than was announced; nothing has
        changed then."""
        end = offset + len(data)
        if self.length is not None and end > self.length:
            raise BrokenBody("more bytes came than were announced")
        if self._coming and self._ledger is not None:
            self._agree(offset, data)
        self._put(offset, data)
        self.have.add(offset, end)
        if self._ledger is not None:
            self._ledger.took(offset, data)
        if self._waiters:
            self._waiters.wake(offset, end)

    def _put(self, offset: int, data: bytes) -> None:
        try:
            self._storage.write(offset, data)
        except DiskError:
            self.is_refused = True
            raise

    def relay_from_here(self, is_awaited: Callable[[], bool] | None = None) -> None:
        """The disk refuses: what is on it stays readable for those who read now, the rest passes through a window. is_awaited: whether
        others know of the body, and have not opened it yet; so long nothing passes."""
        if self._relay is None:
            self._relay = Relay(self._storage, self.have.reach(0))
            self._relay.is_awaited = is_awaited or self._relay.is_awaited
            self._storage = self._relay
            self._ledger = None

    async def wait_room(self) -> None:
        """Back-pressure: returns when a relayed body's window has room. Others always have. Raises BrokenBody where nobody takes
        anything for RELAY_STALL_SECONDS."""
        while self._relay is not None:
            self._pass_on()
            if not self._relay.is_full:
                return
            self._room = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(RELAY_STALL_SECONDS):
                    await self._room
            except TimeoutError:
                raise BrokenBody("its readers took nothing for too long") from None
            finally:
                self._room = None

    def rest_as_partial(self) -> None:
        """Nothing of it is on its way; who waited for more learns so."""
        self._coming, self.progress = [], PARTIAL
        self._wake_all()
        self._settle()

    def expect(self, start: int, end: int) -> None:
        """A fill of this span begins."""
        assert self._coming is not None
        self._coming.append((start, end))
        self.progress = FILLING

    def ended(self, start: int, end: int) -> None:
        """The fill of this span is over, however it ended; who waited for more of it learns so."""
        assert self._coming is not None
        self._coming.remove((start, end))
        if not self._coming and self.progress is FILLING:
            self.progress = PARTIAL
        self._wake_all()
        self._settle()

    def missing(self, start: int, end: int) -> list[tuple[int, int]]:
        """What of [start, end) of a partial body is neither there nor on its way."""
        covered = SpanSet([*self.have.gaps(start, end)])
        on_its_way = SpanSet(self._coming or ())
        return [gap for span in covered for gap in on_its_way.gaps(*span)]

    def _no_longer_whole(self) -> None:
        if self.progress is WHOLE:
            self._coming = self._coming or []
            self.progress = FILLING if self._coming else PARTIAL

    def finish(self) -> None:
        """No more bytes are coming; the length is what was written. Raises BrokenBody where that is not what was announced: a
        short body must not look whole."""
        end = self.have.reach(0)
        if end != self.have.total_bytes or (self.length is not None and end != self.length):
            raise BrokenBody("the body ended early")
        self.length = end
        try:
            self._storage.seal(end)
        except DiskError:
            self.relay_from_here()
        if self._ledger is None and end and self._storage.medium == "disk":
            self._ledger = Ledger(Pieces.of(end))
        self.progress = WHOLE
        if self._waiters is not None:
            self._wake_all()
        self._settle()

    def fail(self, error: str) -> None:
        """No more bytes will come. Readers get BrokenBody where they would have waited."""
        if self.progress in (FILLING, PARTIAL):
            self.progress = BROKEN
            self.error = error
            self._wake_all()
            self.discard()

    def discard(self) -> None:
        """Delete the bytes as soon as nobody writes or reads them (those who do may end in peace)."""
        self._is_discarded = True
        self._settle()

    # The readers' side

    def open(self, start: int = 0, end: int | None = None) -> Reader:
        """A reader of [start, end), or to the end. Close it, always."""
        reader = Reader(self, start, end)
        if self._readers is None:
            self._readers = set()
        self._readers.add(reader)
        return reader

    def read_whole(self) -> bytes | None:
        """All bytes at once where they lie in memory and are all there."""
        storage = self._storage
        if self.progress is not WHOLE or storage.medium != "memory":
            return None
        return storage.read(0, self.length) if self.length else b""

    async def wait_reach(self, position: int) -> int:
        """How far one can read from `position`; equal to it at the body's end. Waits while the byte is still to come."""
        while True:
            reach = self.have.reach(position)
            if reach > position or self.progress is WHOLE:
                if not self.is_unchecked or reach == position:
                    return reach
                reach = await self.check(position)
                if reach > position:
                    return reach
                continue
            self._raise_if_broken()
            if self.length is not None and position >= self.length:
                return position
            if self._coming is not None and not any(start <= position < end for start, end in self._coming):
                raise (CopyLost if self.is_refused else BrokenBody)("the rest of this part did not come")
            await self._wait(position)

    async def wait_end(self) -> None:
        """Returns when the body is whole; raises BrokenBody when it never will be."""
        while self.progress is FILLING:
            await self._wait(END)
        self._raise_if_broken()

    def _raise_if_broken(self) -> None:
        if self.progress is BROKEN:
            raise BrokenBody(self.error or "the body broke off")

    async def wait_news(self, position: int) -> None:
        """Until this byte comes, or something ends."""
        await self._wait(position)

    async def _wait(self, position: int) -> None:
        if self._waiters is None:
            self._waiters = Waiters()
        await self._waiters.wait(position)

    def _wake_all(self) -> None:
        if self._waiters is not None:
            self._waiters.wake_all()

    def _pass_on(self) -> None:
        """Let go of what all readers have passed. While one is on its way, all stays."""
        if self._relay is not None and self._readers and not self._relay.is_awaited():
            self._relay.drop_below(min(reader.position for reader in self._readers))

    def moved(self) -> None:
        """A reader advanced or left: a relay may have room again. For readers only."""
        if self._relay is not None:
            self._pass_on()
            if self._room is not None and not self._room.done() and not self._relay.is_full:
                self._room.set_result(None)

    def left(self, reader: Reader) -> None:
        """For readers only."""
        if self._readers:
            self._readers.discard(reader)
        self.moved()
        self._settle()

    def _settle(self) -> None:
        """Let go of the file where nobody writes or reads."""
        if self._readers or self.progress is FILLING or self._holds_count > 0:
            return
        if self._is_discarded:
            self._storage.discard()
        else:
            self._storage.park()
