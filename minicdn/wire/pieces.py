"""Asking a peer for pieces of a large file, and its answer (docs/adr/0007-swarm.md).

One question names several pieces. The answer is a map, then for each piece that is *given*, in that order, its bytes as they arrive and
its SHA-256. Who is busy refers: for each piece it does not give it may name holders, and the digest, if it has it. Every answer tells what
its sender holds of the file, one bit a piece.

    pieces   what is given follows
    changed  the file is another one by now: nothing of the old can be had here
    failed   the upstream could not be asked, or said no
    refused  the question itself is wrong
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from minicdn.core.message import Fields
from minicdn.core.pieces import PIECE_BYTES_MAX, PIECE_BYTES_MIN, Pieces
from minicdn.errors import ClientError, PeerError
from minicdn.wire.codec import Taker
from minicdn.wire.fetch import FIELDS_MAX, KEY_LENGTH_MAX, fields_from_wire, fields_to_wire
from minicdn.wire.http import Exchange, ExchangeError

PIECES_TARGET = b"/_rpc/pieces"
KINDS = ("pieces", "changed", "failed", "refused")
ASKED_MAX = 64
PIECES_MAX = 1 << 20
DIGEST_BYTES = 32
HOLDERS_MAX = 16
URL_MAX = 512


@dataclass(frozen=True, slots=True)
class PieceRequest:
    """key, target, fields: as FetchRequest's. validator: strong, of the file meant; length, size: how it is cut. is_owners: what is not
    there is to be fetched, two at a time, and the digests are to be believed. hint: the peer that may have it, to be asked before the
    upstream. asker: the URL of who asks, as a holder for others; empty: nobody can be sent there. is_digests: no bytes, only digests."""

    key: str
    fields: Fields
    validator: bytes
    length: int
    size: int
    wanted: tuple[int, ...]
    is_owners: bool
    asker: str = ""
    target: str | None = None
    hint: str | None = None
    is_digests: bool = False

    def to_wire(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "fields": fields_to_wire(self.fields),
            "validator": self.validator,
            "length": self.length,
            "size": self.size,
            "wanted": list(self.wanted),
            "is_owners": self.is_owners,
            "asker": self.asker,
            "target": self.target,
            "hint": self.hint,
            "is_digests": self.is_digests,
        }

    @classmethod
    def from_wire(cls, found: Any) -> PieceRequest:
        """Raises ClientError(400)."""
        take = Taker(found)
        key = take.text("key", length_max=KEY_LENGTH_MAX)
        target = take.text("target", length_max=KEY_LENGTH_MAX, default=None)
        for path in (key, target):
            if path is not None and (not path.startswith("/") or path.startswith("/_") or not path.isascii()):
                raise ClientError(400, "that is nothing a peer can be asked for")
        length = take.integer("length", low=1)
        size = take.integer("size", low=PIECE_BYTES_MIN, high=PIECE_BYTES_MAX)
        count = Pieces(length, size).count
        if count > PIECES_MAX:
            raise ClientError(400, "more pieces than any file has")
        wanted = tuple(_index(item, count) for item in take.items("wanted", count_max=ASKED_MAX))
        return cls(
            key=key,
            fields=fields_from_wire(take.items("fields", count_max=FIELDS_MAX)),
            validator=take.octets("validator", length_max=1024),
            length=length,
            size=size,
            wanted=wanted,
            is_owners=take.flag("is_owners"),
            asker=take.text("asker", length_max=URL_MAX, default=""),
            target=target,
            hint=take.text("hint", length_max=URL_MAX, default=None),
            is_digests=take.flag("is_digests", default=False),
        )


def _index(item: Any, count: int) -> int:
    if type(item) is not int or not 0 <= item < count:
        raise ClientError(400, "no such piece")
    return item


@dataclass(frozen=True, slots=True)
class Referral:
    """A piece that is not given: who may have it, and its digest where that is known. is_absent: the sender hasn't got it, and does not
    fetch it."""

    index: int
    holders: tuple[str, ...] = ()
    digest: bytes | None = None
    is_absent: bool = False


@dataclass(frozen=True, slots=True)
class PieceAnswer:
    """have_mask: bit i is set where the sender holds piece i. is_thin: its uplink (core/uplink.py)."""

    kind: str
    given: tuple[int, ...] = ()
    referrals: tuple[Referral, ...] = ()
    have_mask: int = 0
    retry_after_seconds: float = 0.0
    detail: str = ""
    digests: tuple[tuple[int, bytes], ...] = field(default=())
    is_thin: bool = False

    def to_wire(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "given": list(self.given),
            "referrals": [[one.index, list(one.holders), one.digest, one.is_absent] for one in self.referrals],
            "have": self.have_mask.to_bytes(-(-self.have_mask.bit_length() // 8), "little"),
            "retry_after_seconds": self.retry_after_seconds,
            "detail": self.detail,
            "digests": [list(pair) for pair in self.digests],
            "is_thin": self.is_thin,
        }

    @classmethod
    def from_wire(cls, found: Any, asked: PieceRequest) -> PieceAnswer:
        """Raises ClientError(400), also for an answer to another question."""
        take = Taker(found)
        kind = take.text("kind", length_max=16)
        if kind not in KINDS:
            raise ClientError(400, f"an answer of the unknown kind {kind!r}")
        given = tuple(_asked(item, asked) for item in take.items("given", count_max=ASKED_MAX))
        if len(set(given)) != len(given):
            raise ClientError(400, "a piece given twice")
        return cls(
            kind=kind,
            given=given,
            referrals=tuple(_referral(item, asked) for item in take.items("referrals", count_max=ASKED_MAX)),
            have_mask=_mask(take.octets("have", length_max=PIECES_MAX // 8), asked),
            retry_after_seconds=take.number("retry_after_seconds", high=3600.0),
            detail=take.text("detail", length_max=4096),
            digests=tuple(_digest(item, asked) for item in take.items("digests", count_max=ASKED_MAX, default=())),
            is_thin=take.flag("is_thin", default=False),
        )


def _mask(octets: bytes, asked: PieceRequest) -> int:
    return int.from_bytes(octets, "little") & ((1 << Pieces(asked.length, asked.size).count) - 1)


def _asked(item: Any, asked: PieceRequest) -> int:
    if type(item) is not int or item not in asked.wanted:
        raise ClientError(400, "a piece that was not asked for")
    return item


def _referral(item: Any, asked: PieceRequest) -> Referral:
    if not isinstance(item, list) or len(item) != 4 or not isinstance(item[1], list) or len(item[1]) > HOLDERS_MAX:
        raise ClientError(400, "that is no referral")
    index, holders, digest, is_absent = item
    if not all(type(url) is str and len(url) <= URL_MAX for url in holders) or type(is_absent) is not bool:
        raise ClientError(400, "that is no referral")
    if digest is not None and (type(digest) is not bytes or len(digest) != DIGEST_BYTES):
        raise ClientError(400, "that is no digest")
    return Referral(_asked(index, asked), tuple(holders), digest, is_absent)


def _digest(item: Any, asked: PieceRequest) -> tuple[int, bytes]:
    if not isinstance(item, list) or len(item) != 2 or type(item[1]) is not bytes or len(item[1]) != DIGEST_BYTES:
        raise ClientError(400, "that is no digest")
    return _asked(item[0], asked), item[1]


@dataclass(slots=True)
class PieceStream:
    """An answer and the bytes that follow it. Close it, always."""

    answer: PieceAnswer
    pieces: Pieces
    _exchange: Exchange
    _chunks: AsyncIterator[bytes]
    _early: bytes

    async def parts(self) -> AsyncIterator[tuple[int, int, bytes]]:
        """(index, position in the file, bytes) as they come; after a piece's last byte (index, −1, its SHA-256). Raises PeerError where
        they end early."""
        chunk = self._early
        for index in self.answer.given:
            position, end = self.pieces.span(index)
            while position < end:
                chunk = chunk or await self._next()
                data = chunk if len(chunk) <= end - position else chunk[: end - position]
                chunk = chunk[len(data) :]
                yield index, position, data
                position += len(data)
            while len(chunk) < DIGEST_BYTES:
                begun = bytes(chunk)  # a view of what comes, which is good up to the next
                chunk = begun + await self._next()
            yield index, -1, bytes(chunk[:DIGEST_BYTES])
            chunk = chunk[DIGEST_BYTES:]

    async def _next(self) -> bytes:
        try:
            return await anext(self._chunks)
        except ExchangeError as error:
            raise PeerError(f"the peer broke off: {error}") from error
        except StopAsyncIteration:
            raise PeerError("the peer broke off") from None

    async def close(self) -> None:
        await self._chunks.aclose()  # type: ignore[attr-defined]
        await self._exchange.close()
