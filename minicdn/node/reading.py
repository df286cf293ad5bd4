"""Reading along with a fill, and what a fill does with the bytes that a supplier sends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from minicdn.core.digests import Verifier, has_digests
from minicdn.errors import UpstreamError
from minicdn.node.supply import UNREAD_BYTES_MAX, Supply
from minicdn.store.body import Body
from minicdn.store.reader import Reader

PIECE_BLOCK_BYTES, BLOCK_BYTES = 64 * 1024, 256 * 1024
"""In which pieces come that others wait for, each at a share of the upstream's rate; and at most, what has all of that."""
WIDE_BYTES = 1024 * 1024
"""Above it an answer comes as fast as it can: what is lost, if it is left unread, hardly counts."""


def take_whole(supply: Supply, body: Body, *, is_get: bool) -> bool:
    """A small body that came with its head needs no reading, and who waits for it finds it whole. False where it has to be read. Raises
    UpstreamError where it is not what its head says."""
    if supply.end is not None or supply.offset or body.medium != "memory":
        return False
    whole = supply.arriving.take_whole()
    if whole is None:
        return False
    if whole:
        body.write(0, whole)
    if is_get:
        check(supply, whole)
    return True


def check(supply: Supply, whole: bytes) -> None:
    """Raises UpstreamError where the bytes are not those that their head names."""
    if not has_digests(supply.head.fields):
        return
    verifier = Verifier(supply.head.fields)
    verifier.update(whole)
    if not verifier.fits():
        raise UpstreamError("the body does not fit its digest")


def let_come(supply: Supply, left_bytes: int | None, *, is_piece: bool = False) -> None:
    """All that is left is wanted, as fast as it comes, and in blocks where it is much. is_piece: for a swarm."""
    if left_bytes is None or left_bytes > UNREAD_BYTES_MAX:
        supply.arriving.widen()
    if is_piece:
        supply.arriving.gather(PIECE_BLOCK_BYTES, is_sure=True)
    elif left_bytes is None or left_bytes > WIDE_BYTES:
        supply.arriving.gather(BLOCK_BYTES, is_sure=False)


async def skip(chunks: AsyncIterator[bytes], count: int) -> AsyncIterator[bytes]:
    """The chunks without their first `count` bytes."""
    async for chunk in chunks:
        if count >= len(chunk):
            count -= len(chunk)
            continue
        yield chunk[count:] if count else chunk
        count = 0


async def copy(body: Body, start: int, end: int, write: Callable[[int, bytes], None]) -> None:
    """Raises BrokenBody."""
    reader = body.open(start, end)
    try:
        while chunk := await reader.next():
            write(reader.position - len(chunk), chunk)
    finally:
        reader.close()


class FollowingReader:
    """A reader that tells the dock when it leaves, so that nobody fills for nobody."""

    __slots__ = ("_body", "_on_left", "_reader")

    def __init__(self, body: Body, reader: Reader, on_left: Callable[[Body], None]) -> None:
        self._body, self._reader, self._on_left = body, reader, on_left

    @property
    def position(self) -> int:
        return self._reader.position

    async def next(self) -> bytes:
        return await self._reader.next()

    def next_in_file(self) -> tuple[int, int] | None:
        return self._reader.next_in_file()

    def passed(self, count: int) -> None:
        self._reader.passed(count)

    def close(self) -> None:
        self._reader.close()
        self._on_left(self._body)
