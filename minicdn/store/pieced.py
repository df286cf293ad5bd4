"""A body's side that deals in pieces: whose digests are known, what may be read once it is verified, what turned out wrong.

Bytes from a piece's owner or the upstream are written as any body's are. Those from another holder are written *unverified*: they
are in the storage, nobody can read them, and accept() lets them be read when their digest is the one that the owner names.

Pieces that an earlier run wrote are *unchecked*: a disk may have changed them since. Each is read and hashed once, in a thread, before
the first of its bytes is given to anybody.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from minicdn.core.pieces import Pieces
from minicdn.errors import BrokenBody
from minicdn.store.disk import DiskStorage
from minicdn.store.ledger import Hashed, Ledger

if TYPE_CHECKING:
    from collections.abc import Callable

    from minicdn.core.spans import SpanSet
    from minicdn.store.storage import Storage
    from minicdn.store.waiters import Waiters

READ_BACK_BYTES = 1024 * 1024


class Pieced:
    """What a Body can do with pieces. Ledger None: nothing that is kept on disk under a known length."""

    __slots__ = ()

    _ledger: Ledger | None
    _storage: Storage
    _waiters: Waiters | None
    have: SpanSet
    is_unchecked: bool
    """Whether any piece is: reading from others must cost no more than this."""
    is_refused: bool
    """Whether there was no room for some of it: who waits for that in vain may have it from elsewhere."""
    length: int | None

    def _put(self, offset: int, data: bytes) -> None:
        """Into the storage. Raises DiskError."""
        raise NotImplementedError

    @property
    def pieces(self) -> Pieces | None:
        """How the body is cut; None where it is not: in memory, relayed, of unknown length, or no larger than one piece."""
        return self._ledger.layout if self._ledger is not None and self._ledger.layout.count > 1 else None

    def digest_of(self, index: int) -> bytes | None:
        """The SHA-256 of a whole piece. None where the piece is not whole, or came with holes: find_digest() tells."""
        return self._ledger.digest_of(index) if self._ledger is not None else None

    async def find_digest(self, index: int) -> bytes | None:
        """The same, reading back what was not hashed as it came. None where the piece is not whole. Raises BrokenBody."""
        ledger = self._ledger
        if ledger is None or ledger.digest_of(index) is not None:
            return self.digest_of(index)
        start, end = ledger.layout.span(index)
        hashed = ledger.hashed(index)
        if not self.have.covers(start, end):
            return None
        await self._disk.feed(hashed.go_on, hashed.until, end)
        if hashed.until != end:
            raise BrokenBody("the disk copy can't be read")
        if self.have.covers(start, end) and ledger.digest_of(index) is None:
            ledger.know(index, hashed.digest())
        return ledger.digest_of(index)

    @property
    def sha256(self) -> bytes | None:
        """Of the whole, where it is known."""
        return self._ledger.sha256 if self._ledger is not None and self.is_whole else None

    @property
    def ledger(self) -> Ledger | None:
        """What is known of its pieces; also of a body that is but one. For the store only."""
        return self._ledger

    @property
    def _disk(self) -> DiskStorage:
        assert isinstance(self._storage, DiskStorage)
        return self._storage

    def write_unverified(self, offset: int, data: bytes) -> None:
        """Take bytes in that nobody may read before accept(). Those of one piece should come in order. Raises DiskError, or
        BrokenBody for more than was announced."""
        ledger = self._ledger
        if ledger is None or offset + len(data) > ledger.layout.length:
            raise BrokenBody("more bytes came than were announced")
        for start, end in ledger.took_unverified(offset, data, self.have):
            self._put(start, data[start - offset : end - offset])

    def unverified_until(self, index: int) -> int:
        """The position in the body at which unverified bytes of this piece should go on."""
        assert self._ledger is not None
        pending = self._ledger.unverified.get(index)
        return (pending.hashed if pending is not None else self._ledger.hashed(index)).until

    def accept(self, index: int, digest: bytes) -> bool:
        """The piece's digest, from one who knows. True: the unverified bytes fit it, and can be read now. False: they are forgotten,
        and nothing has changed."""
        ledger = self._ledger
        assert ledger is not None
        start, end = ledger.layout.span(index)
        pending = ledger.unverified.pop(index, None)
        if pending is None or ledger.digest_of(index) is not None:
            return self._found_digest(index) == digest
        gaps = list(self.have.gaps(start, end))
        if all(pending.spans.covers(*gap) for gap in gaps):
            if end - start - sum(behind - first for first, behind in gaps) != pending.began - start:
                pending.hashed = Hashed(start)  # others wrote meanwhile: what was hashed is not what lies there
            self._read_back(pending.hashed, end)
        if pending.hashed.until != end or pending.hashed.digest() != digest:
            return False
        self.have.add(start, end)
        ledger.know(index, digest)
        if self._waiters:
            self._waiters.wake(start, end)
        return True

    def _found_digest(self, index: int) -> bytes | None:
        """Of a piece that came whole from others meanwhile, with holes perhaps: then nobody has hashed it yet."""
        ledger = self._ledger
        assert ledger is not None
        start, end = ledger.layout.span(index)
        if ledger.digest_of(index) is None and self.have.covers(start, end):
            hashed = ledger.hashed(index)
            self._read_back(hashed, end)
            if hashed.until == end:
                ledger.know(index, hashed.digest())
        return ledger.digest_of(index)

    def _agree(self, offset: int, data: bytes) -> None:
        """What is there already is what comes now, or it was wrong: a piece of which two writers say different things begins anew, and who
        has read what was there is cut off."""
        end = offset + len(data)
        gaps = [*self.have.gaps(offset, end), (end, end)]
        for (_, start), (stop, _) in zip([(offset, offset), *gaps], gaps, strict=False):
            if start < stop and self._disk.read_now(start, stop - start) != data[start - offset : stop - offset]:
                assert self._ledger is not None
                for index in self._ledger.layout.touching(start, stop):
                    self.reject(index)
                return

    def is_as_hashed(self, index: int) -> bool:
        """Whether what lies in the storage is what was hashed as it came: of two writers, the second may have brought other bytes."""
        assert self._ledger is not None
        start, end = self._ledger.layout.span(index)
        hashed = Hashed(start)
        self._read_back(hashed, end)
        return hashed.until == end and hashed.digest() == self._ledger.digest_of(index)

    def _read_back(self, hashed: Hashed, end: int) -> None:
        """What lies behind a hole that was filled since: rare, and just written, so it need not wait for the disk."""
        while hashed.until < end:
            data = self._disk.read_now(hashed.until, min(READ_BACK_BYTES, end - hashed.until))
            if not data:
                return
            hashed.take(hashed.until, data)

    def forget_unverified(self, index: int) -> None:
        """Given up half-way: what came of the piece unverified is worth nothing. Idempotent."""
        if self._ledger is not None:
            self._ledger.unverified.pop(index, None)

    def reject(self, index: int) -> None:
        """A piece that could be read turns out wrong: it is not there any more. A whole body is partial again, and who has read some of
        the piece gets BrokenBody."""
        assert self._ledger is not None
        self.have.remove(*self._ledger.layout.span(index))
        self._ledger.forget(index)
        self._ledger.rejected.append(index)
        self.is_unchecked = bool(self._ledger.unchecked)
        self._no_longer_whole()
        if self._ledger.on_rejected is not None:
            self._ledger.on_rejected()

    # What an earlier run wrote

    def on_damaged_piece(self, act: Callable[[int], object]) -> None:
        """To be called with the index of a piece that the disk has changed, when it is there no more. Where it calls expect() for the
        piece's span, readers wait; else they get BrokenBody."""
        if self._ledger is not None:
            self._ledger.on_damaged_piece = act

    async def check(self, position: int) -> int:
        """The piece at `position` is checked if it was not; how far the checked bytes reach then: `position` where it is damaged."""
        ledger = self._ledger
        assert ledger is not None
        index = position // ledger.layout.size
        if ledger.is_unchecked(index):
            checking = ledger.checking.get(index)
            if checking is None:
                checking = ledger.checking[index] = asyncio.get_running_loop().create_task(self._check(index))
                checking.add_done_callback(lambda done: done.cancelled() or done.exception())  # told to those who still wait
                checking.add_done_callback(lambda _: ledger.checking.pop(index))
            await asyncio.shield(checking)
        return min(self.have.reach(position), ledger.layout.span(index)[1])

    async def _check(self, index: int) -> None:
        ledger = self._ledger
        assert ledger is not None
        start, end = ledger.layout.span(index)
        hashed = Hashed(start)
        await self._disk.feed(hashed.go_on, start, end)
        if not ledger.is_unchecked(index):
            return
        if hashed.digest() == ledger.digest_of(index):
            ledger.unchecked.remove(index, index + 1)
            self.is_unchecked = bool(ledger.unchecked)
            return
        self.reject(index)
        if ledger.on_damaged_piece is not None:
            ledger.on_damaged_piece(index)

    def _no_longer_whole(self) -> None:
        raise NotImplementedError
