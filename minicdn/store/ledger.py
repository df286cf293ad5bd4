"""What is known of each piece of a body: its digest, how far it is hashed, and what came of it that is not verified yet.

A piece is hashed as its bytes come, so that its digest is there with its last byte: OpenSSL's SHA-256 takes 0.65 ms for a MiB, and
reading back costs that again and a thread. Bytes nearly always come in order; those that leave a hole are not hashed then, and the
digest of such a piece is found by reading back what lies behind its hashed beginning.

*Unverified* bytes came from a holder that vouches for nothing. They have a hash of their own, which begins where the piece's own
has come to; so what is readable and what is not yet may share a piece. They never replace bytes that are there already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from hashlib import sha256

from minicdn.core.pieces import Pieces
from minicdn.core.spans import SpanSet

DIGEST_BYTES = 32
_NONE = bytes(DIGEST_BYTES)


class Hashed:
    """A running SHA-256 of a piece's bytes up to `until`, a position in the body."""

    __slots__ = ("_sha256", "until")

    def __init__(self, start: int) -> None:
        self._sha256 = sha256()
        self.until = start

    def copy(self) -> Hashed:
        twin = Hashed(self.until)
        twin._sha256 = self._sha256.copy()
        return twin

    def go_on(self, data: bytes) -> None:
        """With the bytes that follow."""
        self._sha256.update(data)
        self.until += len(data)

    def take(self, offset: int, data: memoryview | bytes) -> None:
        """Only what goes on from `until` counts."""
        skip = self.until - offset
        if 0 <= skip < len(data):
            self._sha256.update(memoryview(data)[skip:] if skip else data)
            self.until = offset + len(data)

    def digest(self) -> bytes:
        return self._sha256.digest()


class Unverified:
    """Bytes of one piece that are in the storage, but not readable. began: up to where it was readable then."""

    __slots__ = ("began", "hashed", "spans")

    def __init__(self, hashed: Hashed) -> None:
        self.hashed = hashed
        self.began = hashed.until
        self.spans = SpanSet()


class Ledger:
    """Digests take 32 bytes for each piece; all zero means unknown. version: grows with each that becomes known or unknown,
    and with what comes of a piece with holes: who records it finds out whether it is whole."""

    __slots__ = (
        "_digests",
        "_hashed",
        "_with_holes",
        "checking",
        "layout",
        "on_damaged_piece",
        "on_rejected",
        "rejected",
        "sha256",
        "unchecked",
        "unverified",
        "version",
    )

    def __init__(self, layout: Pieces, digests: bytes = b"", sha256: bytes | None = None) -> None:
        """digests: of the pieces in order, as `packed` gave them in an earlier run; those are unchecked. sha256: of the whole."""
        self.layout = layout
        self._digests = bytearray(digests or DIGEST_BYTES * layout.count)
        self._hashed: dict[int, Hashed] = {}
        self._with_holes: set[int] = set()
        self.unverified: dict[int, Unverified] = {}
        self.unchecked = SpanSet((index, index + 1) for index in range(layout.count) if digests and self.digest_of(index) is not None)
        self.checking: dict[int, asyncio.Future[None]] = {}
        self.on_damaged_piece: Callable[[int], object] | None = None
        self.on_rejected: Callable[[], None] | None = None
        self.rejected: list[int] = []
        """Pieces that could be read and turned out wrong, in the order in which they did."""
        self.sha256 = sha256
        self.version = 0

    @property
    def packed(self) -> bytes:
        return bytes(self._digests)

    @property
    def has_digests(self) -> bool:
        return any(self._digests)

    def digest_of(self, index: int) -> bytes | None:
        digest = bytes(self._digests[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES])
        return None if digest == _NONE else digest

    def know(self, index: int, digest: bytes) -> None:
        """The piece is whole, and this is its digest."""
        self._digests[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES] = digest
        self._hashed.pop(index, None)
        self._with_holes.discard(index)
        self.version += 1

    def forget(self, index: int) -> None:
        """The piece starts again from nothing; so the whole may become another one."""
        self.know(index, _NONE)
        self.unverified.pop(index, None)
        self.unchecked.remove(index, index + 1)
        self.sha256 = None

    def is_unchecked(self, index: int) -> bool:
        return self.unchecked.reach(index) > index

    def hashed(self, index: int) -> Hashed:
        """A copy, to go on with: what of the piece has been hashed."""
        hashed = self._hashed.get(index)
        return Hashed(self.layout.span(index)[0]) if hashed is None else hashed.copy()

    def took(self, offset: int, data: bytes) -> None:
        """Bytes have become readable."""
        for index, start, view in self._cut(offset, data):
            at = index * DIGEST_BYTES
            if self._digests[at : at + DIGEST_BYTES] == _NONE:
                self._took(index, start, view)

    def _took(self, index: int, offset: int, data: memoryview) -> None:
        begin, end = self.layout.span(index)
        hashed = self._hashed.get(index)
        if hashed is None:
            if offset != begin:
                self._leave_hole(index)
                return  # a hole: nothing is hashed before the beginning is there
            hashed = self._hashed[index] = Hashed(begin)
        if hashed.until == offset:
            hashed.go_on(data)
        else:
            hashed.take(offset, data)
        if hashed.until < offset + len(data) or index in self._with_holes:
            self._leave_hole(index)
        if hashed.until == end:
            self.know(index, hashed.digest())
            self.unverified.pop(index, None)

    def _leave_hole(self, index: int) -> None:
        self._with_holes.add(index)
        self.version += 1

    def took_unverified(self, offset: int, data: bytes, have: SpanSet) -> list[tuple[int, int]]:
        """Returns the spans to be written: what is neither readable nor there unverified. To be called before they are."""
        spans: list[tuple[int, int]] = []
        for index, start, view in self._cut(offset, data):
            pending = self.unverified.get(index)
            if pending is None:
                pending = self.unverified[index] = Unverified(self.hashed(index))
            fresh = [span for gap in have.gaps(start, start + len(view)) for span in pending.spans.gaps(*gap)]
            for span in fresh:
                pending.spans.add(*span)
            # What lies there already stays, and may be something else: then accept() hashes what is there, not what came.
            if sum(end - begin for begin, end in fresh) == start + len(view) - max(start, pending.hashed.until):
                pending.hashed.take(start, view)
            spans += fresh
        return spans

    def _cut(self, offset: int, data: bytes) -> Iterator[tuple[int, int, memoryview]]:
        """(piece, position, bytes) for each piece that the bytes touch."""
        view, end, size = memoryview(data), offset + len(data), self.layout.size
        for index in self.layout.touching(offset, end):
            start, stop = max(index * size, offset), min((index + 1) * size, end)
            yield index, start, view[start - offset : stop - offset]
