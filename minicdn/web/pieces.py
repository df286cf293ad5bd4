"""The door for swarms: pieces of a large file for another peer, while they arrive; or word of who else has them.

Bytes leave in steps of RELAY_BYTES, so that a piece that trickles in is not passed on in trickles to a dozen others. What the kernel
may hold unsent is bounded, so that a send waits when the uplink is full, and the node knows how full it is (core/uplink.py).
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any

from minicdn.core.message import Request
from minicdn.core.pieces import Pieces, piece_bytes
from minicdn.core.roster import owners
from minicdn.core.tracker import is_crowd, is_full, retry_seconds
from minicdn.core.via import has_passed
from minicdn.errors import BrokenBody, ClientError, MinicdnError, UpstreamError
from minicdn.node.node import Node
from minicdn.node.seeding import Changed, FileId, NoRoom, Seed
from minicdn.store.entry import Entry
from minicdn.web.protocol import Connection
from minicdn.web.rpc import REQUEST_BYTES_MAX, UNSENT_BYTES_MAX, _refuse, check_target, metered
from minicdn.web.watching import ClientGone, Receive, Scope, Send, read_message, watching
from minicdn.wire.codec import decode, encode
from minicdn.wire.pieces import DIGEST_BYTES, PieceAnswer, PieceRequest, Referral

RELAY_BYTES = 64 * 1024
SLOT_SECONDS = 60.0
"""A peer that takes nothing for so long loses its slot, and its answer."""

BELIEVED_MAX = 2
"""Owners of a file that may have been the first, by the list of who asks."""


@dataclass(slots=True)
class _Plan:
    given: list[tuple[int, Entry | None]] = field(default_factory=list)
    """With the entry where its bytes are or arrive; None: to be loaded first."""
    referrals: list[Referral] = field(default_factory=list)
    retry_seconds: float = 0.0


class PiecesDoor:
    def __init__(self, node: Node, rng: random.Random) -> None:
        self._node = node
        self._rng = rng
        self._name = f"minicdn-{node.id}"
        self._uploads_count = 0
        self._first_owners: tuple[str, object, frozenset[str]] = ("", None, frozenset())
        """The file asked for last, the list of peers then, and BELIEVED_MAX owners."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if scope["method"] != "POST":
                raise ClientError(405, "peers ask with POST")
            asked = PieceRequest.from_wire(decode(await read_message(scope, receive, REQUEST_BYTES_MAX)))
            if asked.size != piece_bytes(asked.length):
                raise ClientError(400, "files are not cut like that")
        except ClientError as error:
            await _refuse(send, error)
            return
        try:
            async with watching(receive):
                await self._answer(scope, send, asked)
        except ClientGone:
            pass

    async def _answer(self, scope: Scope, send: Send, asked: PieceRequest) -> None:
        node = self._node
        try:
            check_target(node, asked.key, asked.target)
        except ClientError as error:
            await self._send_only(send, PieceAnswer("refused", detail=error.reason))
            return
        request = Request("GET", (asked.target or asked.key).encode("ascii"), asked.key, asked.fields)
        seed = node.seeding.seed(FileId(asked.key, asked.validator, asked.length), request, Pieces(asked.length, asked.size))
        try:
            if has_passed(asked.fields, self._name):
                raise ClientError(508, "this request has been here before: the upstream leads back to this node")
            if asked.is_digests:
                await self._send_only(send, await self._digests(seed, asked))
                return
            plan = self._plan(seed, asked)
            await self._load(seed, asked, plan)
        except Changed as error:
            await self._send_only(send, PieceAnswer("changed", detail=str(error)))
        except ClientError as error:
            await self._send_only(send, PieceAnswer("refused", detail=error.reason))
        except NoRoom as error:
            await self._send_only(send, PieceAnswer("refused", detail=str(error)))
        except MinicdnError as error:
            await self._send_only(send, PieceAnswer("failed", detail=str(error)))
        else:
            await self._send_pieces(scope, send, seed, asked, plan)

    async def _load(self, seed: Seed, asked: PieceRequest, plan: _Plan) -> None:
        """What is not on its way yet. Where that fails, nobody is sent to the asker for any of it."""
        try:
            plan.given = [(index, entry or await seed.load(index, self._believed(asked))) for index, entry in plan.given]
        except BaseException:
            for index, _ in plan.given:
                seed.tracker.left(index, asked.asker)
            raise

    def _believed(self, asked: PieceRequest) -> str | None:
        """The hint, where it names an owner of the file, who is believed about it: what comes from there is checked against nothing."""
        members = self._node.peers.members
        key, known, urls = self._first_owners
        if key != asked.key or known is not members:
            urls = frozenset(member.url for member in owners(asked.key, members, BELIEVED_MAX))
            self._first_owners = asked.key, members, urls
        return asked.hint if asked.hint in urls else None

    def _plan(self, seed: Seed, asked: PieceRequest) -> _Plan:
        """What is given now, and who is named for the rest. Nothing is awaited: slots are taken and counted at once."""
        plan, entry, now = _Plan(), seed.entry(), self._node.clock.monotonic()
        in_crowd = is_crowd((member.share for member in self._node.peers.members), asked.size)
        for index in asked.wanted:
            is_here = entry is not None and (seed.has(entry, index) or seed.is_coming(index, is_owners=asked.is_owners))
            if not is_here and not asked.is_owners:
                plan.referrals.append(Referral(index, is_absent=True))
                continue
            if not asked.is_owners and entry is not None and self._node.swarms.streams.is_on(entry.body):
                plan.referrals.append(Referral(index))  # owners of pieces come first
                plan.retry_seconds = self._node.swarms.streams.left_seconds(entry.body)
                continue
            full = self._is_full(now, in_crowd=in_crowd)
            holders = seed.tracker.refer(index, asked.asker, self._rng) if full else []
            if holders or (full and in_crowd and not asked.is_owners):
                digest = entry.body.digest_of(index) if entry is not None and asked.is_owners else None
                plan.referrals.append(Referral(index, tuple(holders), digest))
                continue
            plan.given.append((index, entry if is_here else None))
            if asked.asker:
                seed.tracker.took(index, asked.asker)
        return plan

    def _is_full(self, now: float, *, in_crowd: bool) -> bool:
        uplink = self._node.uplink
        slots = self._node.settings.upload_slots_count
        if slots and uplink.waiting_count >= slots:
            return True
        if slots and in_crowd:
            return self._uploads_count >= slots
        return is_full(0 if slots else uplink.waiting_count, self._uploads_count, uplink.rate(now), in_crowd=in_crowd)

    async def _digests(self, seed: Seed, asked: PieceRequest) -> PieceAnswer:
        entry, found = seed.entry(), []
        for index in asked.wanted if entry is not None else ():
            digest = await entry.body.find_digest(index)
            if digest is not None:
                found.append((index, digest))
        return PieceAnswer("pieces", digests=tuple(found), have_mask=seed.have_mask())

    async def _send_only(self, send: Send, answer: PieceAnswer) -> None:
        await self._send_head(send, answer, 0)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_pieces(self, scope: Scope, send: Send, seed: Seed, asked: PieceRequest, plan: _Plan) -> None:
        uplink, now = self._node.uplink, self._node.clock.monotonic()
        answer = PieceAnswer(
            "pieces",
            given=tuple(index for index, _ in plan.given),
            referrals=tuple(plan.referrals),
            have_mask=seed.have_mask(),
            retry_after_seconds=plan.retry_seconds
            or (retry_seconds(uplink.rate(now), asked.size, uplink.waiting_count) if plan.referrals else 0.0),
            is_thin=seed.is_thin,
        )
        connection: Connection | None = scope.get("minicdn.connection")
        if connection is not None:
            connection.bound_unsent(UNSENT_BYTES_MAX)
        length = sum(end - start + 32 for start, end in (seed.pieces.span(index) for index in answer.given))
        self._uploads_count += 1
        left = [index for index, _ in plan.given]
        try:
            await self._send_head(send, answer, length, is_followed=_is_at_hand(seed, plan))
            for index, entry in plan.given:
                assert entry is not None
                await self._send_piece(scope, send, seed, index, entry)
                left.remove(index)
            message = {"type": "http.response.body", "body": b"", "more_body": False}
            await (self._send_metered(scope, send, DIGEST_BYTES, message) if plan.given else send(message))  # waits until all has left
        except (BrokenBody, TimeoutError, UpstreamError):
            scope["minicdn.connection"].cut()
        finally:
            self._uploads_count -= 1
            for index in left:
                seed.tracker.left(index, asked.asker)

    async def _send_piece(self, scope: Scope, send: Send, seed: Seed, index: int, entry: Entry) -> None:
        """Its last bytes leave with its digest: a packet of 32 bytes would wake the asker once more."""
        start, end = seed.pieces.span(index)
        body, chunk = entry.body, b""
        reader = self._node.cache.open(body, start, end)
        try:
            while reader.position < end:
                await self._send_chunk(scope, send, chunk)
                await body.wait_reach(min(reader.position + RELAY_BYTES, end) - 1)
                chunk = await reader.next()
        finally:
            reader.close()
        digest = await body.find_digest(index)
        if digest is None:
            raise BrokenBody("the piece turned out wrong")
        await self._send_chunk(scope, send, chunk, digest)

    async def _send_chunk(self, scope: Scope, send: Send, chunk: bytes, digest: bytes = b"") -> None:
        *parts, last = self._node.limits.up.parts(chunk)
        for part in parts:
            await self._send_part(scope, send, part)
        await self._send_part(scope, send, last, digest)

    async def _send_part(self, scope: Scope, send: Send, chunk: bytes, digest: bytes = b"") -> None:
        if not chunk:
            return
        await self._node.limits.wait_up(len(chunk) + len(digest))
        message = {"type": "http.response.body", "body": chunk, "more_body": True, "minicdn.is_followed": bool(digest)}
        await self._send_metered(scope, send, len(chunk), message)
        if digest:
            await send({"type": "http.response.body", "body": digest, "more_body": True})

    async def _send_metered(self, scope: Scope, send: Send, size: int, message: dict[str, Any]) -> None:
        connection = scope.get("minicdn.connection")
        with metered(self._node, size):
            if connection is not None and not connection.is_full:
                await send(message)
            else:
                async with asyncio.timeout(min(self._node.settings.client_stall_seconds, SLOT_SECONDS)):
                    await send(message)

    async def _send_head(self, send: Send, answer: PieceAnswer, length: int, *, is_followed: bool = False) -> None:
        """is_followed: by bytes that are at hand, and leave with it."""
        head = encode(answer.to_wire())
        fields = [
            (b"content-type", b"application/x-minicdn"),
            (b"x-minicdn-head", str(len(head)).encode()),
            (b"content-length", str(len(head) + length).encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": fields, "minicdn.is_followed": True})
        await send({"type": "http.response.body", "body": head, "more_body": True, "minicdn.is_followed": is_followed})


def _is_at_hand(seed: Seed, plan: _Plan) -> bool:
    """Whether bytes can leave at once."""
    if not plan.given:
        return False
    index, entry = plan.given[0]
    start, end = seed.pieces.span(index)
    return entry is not None and not entry.body.is_unchecked and entry.body.have.covers(start, min(start + RELAY_BYTES, end))
