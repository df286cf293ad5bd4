"""Where a fill's bytes may come from, in the same words: an owner of the key, or the upstream.

A supplier is asked once for a head; what it answers is a Supply: facts, and the bytes as they arrive. Whether to ask another one is
the fill's affair. Only a transport failure (PeerError) may move it on; an answer, of whatever status, is final.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from enum import Enum

from minicdn.core.conditional import strip_conditionals, strong_validator, validation_fields
from minicdn.core.counters import Counters
from minicdn.core.freshness import NotStored, Policy, Stored, from_wire, rebase, storable
from minicdn.core.headers import end_to_end, first, without
from minicdn.core.message import Fields, Head, Request
from minicdn.core.ranges import parse_content_range
from minicdn.core.via import add_via
from minicdn.errors import ClientError, PeerError, UpstreamError
from minicdn.store.entry import Entry
from minicdn.wire.fetch import FetchAnswer, FetchRequest
from minicdn.wire.peers import PeerAnswer, PeerClient
from minicdn.wire.upstream import Upstream, UpstreamAnswer

NOT_PASSED = frozenset((b"host", b"expect"))
NOT_FILLED_WITH = frozenset((b"range", b"content-length"))


class Kind(Enum):
    FOUND = "found"
    UNCHANGED = "unchanged"
    PASS = "pass"


@dataclass(slots=True)
class Supply:
    """head, stored: of the answer; stored None for PASS. length: of the whole body, None when unknown. offset: where `chunks` begin.
    source: `peer` or `upstream`. Close it, always."""

    kind: Kind
    head: Head
    stored: Stored | None
    length: int | None
    offset: int
    source: str
    chunks: AsyncIterator[bytes]
    close: Callable[[], Awaitable[None]]
    detail: str = ""
    request_at: float = 0.0
    response_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Continuation:
    """Go on with the body of this strong validator from this byte."""

    offset: int
    validator: bytes


def held_tag(stored: Stored | None) -> bytes | None:
    """What tells one body of a key from another, for a copy's validation: its entity tag, else its date."""
    if stored is None:
        return None
    return first(stored.head.fields, b"etag") or first(stored.head.fields, b"last-modified")


def passed_fields(fields: Fields) -> list[tuple[bytes, bytes]]:
    """A client's fields as they go on to the upstream: end-to-end, without what is meant for the next hop or for us."""
    kept = end_to_end(fields)
    return [(name, value) for name, value in kept if name not in NOT_PASSED and not name.startswith(b"x-minicdn-")]


def forwarded_fields(fields: Fields) -> list[tuple[bytes, bytes]]:
    """The same as a fill carries them: for the whole body, and without conditions."""
    return without(strip_conditionals(passed_fields(fields)), NOT_FILLED_WITH)


class UpstreamSupplier:
    def __init__(self, upstream: Upstream, *, node_id: str, counters: Counters, policy: Callable[[], Policy]) -> None:
        self._upstream = upstream
        self._node_id = node_id
        self._counters = counters
        self._policy = policy

    async def ask(self, request: Request, held: Entry | None, go_on: Continuation | None = None) -> Supply:
        """Raises UpstreamError."""
        fields = add_via(forwarded_fields(request.fields), f"minicdn-{self._node_id}")
        if go_on is not None:
            fields += [(b"range", b"bytes=%d-" % go_on.offset), (b"if-range", go_on.validator)]
        elif held is not None and held.stored is not None:
            fields += validation_fields(held.stored.head)
        self._counters.add("upstream_requests_count")
        try:
            answer = await self._upstream.send(request.method, request.key, fields)
        except UpstreamError:
            self._counters.add("upstream_errors_count")
            raise
        return self._supply(request, answer, held, go_on)

    def _supply(self, request: Request, answer: UpstreamAnswer, held: Entry | None, go_on: Continuation | None) -> Supply:
        head = answer.head
        offset, length = 0, answer.length
        if head.status == 206 and go_on is not None:
            offset, length = _continued(head, go_on)
        stored = storable(request, head, answer.request_at, answer.response_at, self._policy())
        kind = Kind.PASS if isinstance(stored, NotStored) else Kind.FOUND
        if head.status == 304 and held is not None:
            kind = Kind.UNCHANGED
        return Supply(
            kind=kind,
            head=head,
            stored=None if isinstance(stored, NotStored) else stored,
            length=length,
            offset=offset,
            source="upstream",
            chunks=self._counted(answer),
            close=answer.close,
            detail=stored.reason if isinstance(stored, NotStored) and kind is Kind.PASS else "",
            request_at=answer.request_at,
            response_at=answer.response_at,
        )

    async def _counted(self, answer: UpstreamAnswer) -> AsyncIterator[bytes]:
        try:
            async for chunk in answer.chunks():
                self._counters.add("upstream_received_bytes", len(chunk))
                yield chunk
        except UpstreamError:
            self._counters.add("upstream_errors_count")
            raise


def _continued(head: Head, go_on: Continuation) -> tuple[int, int | None]:
    """Offset and whole length of a 206 that goes on where we stopped; anything else is no continuation."""
    found = parse_content_range(first(head.fields, b"content-range") or b"")
    if found is None or found[0] != go_on.offset or strong_validator(head) != go_on.validator:
        raise UpstreamError("the upstream's partial answer is not the part that was asked for")
    return found[0], found[2]


class PeerSupplier:
    def __init__(self, client: PeerClient, *, counters: Counters, wall: Callable[[], float]) -> None:
        self._client = client
        self._counters = counters
        self._wall = wall

    async def ask(self, url: str, request: Request, held: Entry | None, go_on: Continuation | None = None) -> Supply:
        """Raises PeerError where the peer can't be talked to (or is busy); UpstreamError and ClientError where it says so itself."""
        message = FetchRequest(
            method=request.method,
            key=request.key,
            fields=forwarded_fields(request.fields),
            held=held_tag(held.stored) if held is not None else None,
            offset=go_on.offset if go_on is not None else 0,
            validator=go_on.validator if go_on is not None else None,
        )
        self._counters.add("peer_requests_count")
        try:
            found = await self._client.fetch(url, message)
        except PeerError:
            self._counters.add("peer_errors_count")
            raise
        try:
            return self._supply(url, found)
        except BaseException:
            await found.close()
            raise

    def _supply(self, url: str, found: PeerAnswer) -> Supply:
        answer = found.answer
        match answer.kind:
            case "busy":
                raise PeerError(f"{url} is busy: {answer.detail}")
            case "failed":
                raise UpstreamError(answer.detail, timed_out=answer.timed_out)
            case "refused":
                raise ClientError(answer.status, answer.detail)
        head = Head(answer.status, answer.fields)
        return Supply(
            kind={"unchanged": Kind.UNCHANGED, "pass": Kind.PASS}.get(answer.kind, Kind.FOUND),
            head=head,
            stored=self._received(url, answer),
            length=answer.length,
            offset=answer.offset,
            source="peer",
            chunks=self._counted(found),
            close=found.close,
            detail=answer.detail,
        )

    def _received(self, url: str, answer: FetchAnswer) -> Stored | None:
        """The owner's facts on our watch: age counts from what the owner said, not from its clock."""
        if answer.stored is None:
            return None
        try:
            return rebase(from_wire(answer.stored), answer.age_seconds, self._wall())
        except ValueError as error:
            raise PeerError(f"{url}: its facts can't be read: {error}") from error

    async def _counted(self, found: PeerAnswer) -> AsyncIterator[bytes]:
        try:
            async for chunk in found.chunks():
                self._counters.add("peer_received_bytes", len(chunk))
                yield chunk
        except PeerError:
            self._counters.add("peer_errors_count")
            raise
