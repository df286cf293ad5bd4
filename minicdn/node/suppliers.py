"""Where a fill's bytes may come from, in the same words: an owner of the key, or the upstream.

A supplier is asked once for a head; what it answers is a Supply: facts, and the bytes as they arrive. Whether to ask another one is
the fill's affair. Only a transport failure (PeerError) may move it on; an answer, of whatever status, is final.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from minicdn.core.conditional import is_strong, strong_validator, validation_fields
from minicdn.core.counters import Counters
from minicdn.core.freshness import NotStored, Policy, Stored, from_facts, is_fresh, storable
from minicdn.core.headers import first, has_any
from minicdn.core.message import Fields, Head, Inform, Request
from minicdn.core.partial import part_fields, saying_parts, span_of, whole_head
from minicdn.core.pieces import Dealer
from minicdn.core.target import parse_target, split_absolute
from minicdn.core.vary import is_same_variant
from minicdn.core.via import add_via
from minicdn.errors import ClientError, PeerBusy, PeerError, UpstreamError
from minicdn.node.deals import Deal
from minicdn.node.leash import Leash
from minicdn.node.limits import Limits
from minicdn.node.passing import forwarded_fields
from minicdn.node.patience import PatientUpstream
from minicdn.node.wanted import single_range
from minicdn.store.entry import Entry
from minicdn.wire.fetch import FetchAnswer, FetchRequest
from minicdn.wire.peers import PeerAnswer, PeerClient
from minicdn.wire.upstream import UpstreamAnswer

ORIGINS_CONDITIONS = frozenset((b"if-match", b"if-unmodified-since"))
UNREAD_BYTES_MAX = 64 * 1024
"""Of an answer whose head may show that the body should rather come in pieces."""


class Kind(Enum):
    FOUND = "found"
    UNCHANGED = "unchanged"
    PASS = "pass"


@dataclass(slots=True)
class Supply:
    """head, stored: of the answer; stored None for PASS. length: of the whole body, None when unknown. offset, end: where `chunks`
    begin and end (end None: with the body). part_head: the 206's own head, where the answer is a part. source: `peer` or
    `upstream`. status: what the upstream said (0: nothing). member: the owner's own in Cache-Status. Close it, always."""

    kind: Kind
    head: Head
    stored: Stored | None
    length: int | None
    offset: int
    source: str
    chunks: AsyncIterator[bytes]
    close: Callable[[], Awaitable[None]]
    end: int | None = None
    part_head: Head | None = None
    detail: str = ""
    request_at: float = 0.0
    response_at: float = 0.0
    status: int = 0
    member: bytes | None = None
    is_stale: bool = False
    widen: Callable[[], None] = lambda: None
    """All of the body is wanted; up to then little of it is let come."""
    narrow: Callable[[int], int] = lambda bytes_max: 0
    """Soon no more is wanted. Returns how much is under way all the same."""
    gather: Callable[..., None] = lambda batch_bytes, is_sure: None
    """The bytes may come in blocks of so many; is_sure=False: or of what comes in a moment, where that is less."""
    take_whole: Callable[[], bytes | None] = lambda: None
    """All of `chunks`, where they came with the head and need not wait for a cap; then nothing is left of them."""
    deal: Deal | None = None
    """How the bytes are to be come by, where none of them follow."""


@dataclass(frozen=True, slots=True)
class Part:
    """Only these bytes. range: the value of a Range field with one span. validator: of that body only (If-Range)."""

    range: bytes
    validator: bytes | None = None

    @classmethod
    def of(cls, asked: bytes | None) -> Part | None:
        return None if asked is None else cls(asked)


def as_part(supply: Supply, part: Part | None) -> Supply:
    """Who was asked for a part may send the whole (RFC 9110 §14.2): then it is the part from the start to the end."""
    is_whole = supply.kind is Kind.FOUND and supply.end is None and supply.length is not None and supply.head.status == 200
    if is_whole and part is not None and part.validator is not None and strong_validator(supply.head) == part.validator:
        supply.end = supply.length
    return supply


def held_tag(stored: Stored | None) -> bytes | None:
    """What tells one body of a key from another, for a copy's validation: a strong entity tag. The octets may differ under
    a weak one, and in practice under a date."""
    etag = first(stored.head.fields, b"etag") if stored is not None else None
    return etag if etag is not None and is_strong(etag) else None


def full_key(request: Request) -> str:
    """What the upstream is asked for: the key, with the query parameters that the key leaves out."""
    return request.key if request.target == request.key.encode("ascii") else parse_target(_origin_form(request.target))


def _origin_form(target: bytes) -> bytes:
    absolute = None if target.startswith(b"/") else split_absolute(target)
    return target if absolute is None else absolute[2]


def is_early_news(entry: Entry, others: Iterable[Entry], now: float) -> bool:
    """Whether an entry is another version of something that is still fresh, because a client insisted: whoever holds a copy of the old one
    does not know."""
    stored, tag = entry.stored, held_tag(entry.stored)
    return stored is not None and any(
        other is not entry
        and other.stored is not None
        and is_same_variant(other.stored, stored)
        and (tag is None or held_tag(other.stored) != tag)
        and is_fresh(other.stored, now)
        for other in others
    )


_KINDS = {"unchanged": Kind.UNCHANGED, "pass": Kind.PASS}


def _deal(answer: FetchAnswer) -> Deal:
    return Deal(tuple(Dealer(url, weight) for url, weight in answer.deal), answer.hint)


def _part_head(head: Head, answer: FetchAnswer) -> Head | None:
    if answer.end is None or answer.end <= answer.offset:
        return None
    return Head(206, part_fields(head.fields, answer.offset, answer.end, answer.length))


class UpstreamSupplier:
    def __init__(
        self,
        upstream: PatientUpstream,
        *,
        node_id: str,
        counters: Counters,
        policy: Callable[[], Policy],
        limits: Limits,
        follows_redirects: bool = False,
    ) -> None:
        """follows_redirects: here, instead of passing them on."""
        self._upstream = upstream
        self._node_id = node_id
        self._counters = counters
        self._policy = policy
        self._limits = limits
        self._follows_redirects = follows_redirects

    async def ask(self, request: Request, held: Entry | None, part: Part | None = None, *, on_interim: Inform | None = None) -> Supply:
        """Raises UpstreamError."""
        fields = add_via(forwarded_fields(request.fields), f"minicdn-{self._node_id}")
        if part is not None:
            fields.append((b"Range", part.range))
            fields += [(b"If-Range", part.validator)] if part.validator is not None else []
        elif held is not None and held.stored is not None:
            fields += validation_fields(held.stored.head)
        answer = await self._upstream.send(
            request.method,
            full_key(request),
            fields,
            follows=self._follows_redirects,
            on_interim=on_interim,
            unread_bytes_max=UNREAD_BYTES_MAX if part is None and request.method == "GET" else None,
        )
        try:
            _check_asked_for(answer.head.status, held if part is None else None, part)
            return self._supply(request, answer, held)
        except BaseException:
            await answer.close()
            raise

    def _supply(self, request: Request, answer: UpstreamAnswer, held: Entry | None) -> Supply:
        head = answer.head
        offset, end, length = 0, None, answer.length
        span = _honest_span(head, answer.length)
        if span is not None:
            head = saying_parts(whole_head(head))
            offset, end, length = span
        stored: Stored | NotStored = NotStored("a part that does not say of what")
        if head.status != 206:
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
            end=end,
            part_head=answer.head if span is not None else None,
            source="upstream",
            chunks=self._counted(answer),
            close=answer.close,
            detail=stored.reason if isinstance(stored, NotStored) and kind is Kind.PASS else "",
            request_at=answer.request_at,
            response_at=answer.response_at,
            status=answer.head.status,
            widen=answer.widen,
            narrow=answer.narrow,
            gather=answer.gather,
            take_whole=lambda: self._take_whole(answer),
        )

    def _take_whole(self, answer: UpstreamAnswer) -> bytes | None:
        whole = None if self._limits.has_upstream or self._limits.has_down else answer.take_whole()
        if whole:
            self._counters.add("upstream_received_bytes", len(whole))
            self._limits.note_down(len(whole))
        return whole

    async def _counted(self, answer: UpstreamAnswer) -> AsyncIterator[bytes]:
        try:
            async for chunk in answer.chunks():
                self._counters.add("upstream_received_bytes", len(chunk))
                for part in self._limits.upstream_parts(chunk):
                    await self._limits.wait_upstream(len(part))
                    yield part
        except UpstreamError:
            self._counters.add("upstream_errors_count")
            raise


@lru_cache(256)
def _question_fields(fields: Fields, name: str) -> Fields:
    """What an owner is told of a client's fields, who says the same in each of its requests. A precondition of the origin's (If-Match)
    that fails must be failed by what the upstream has now (RFC 9111 §4.3.2): the owner has to ask it."""
    force = [(b"cache-control", b"no-cache")] if has_any(fields, ORIGINS_CONDITIONS) else []
    return tuple(add_via([*forwarded_fields(fields), *force], name))


def _range_of_partial(request: Request, held: Entry | None) -> bytes | None:
    """Who holds a part only, and is asked for no more, need not be confirmed or sent the whole."""
    return single_range(request) if held is not None and held.body.is_partial else None


def _check_asked_for(status: int, held: Entry | None, part: Part | None) -> None:
    """A client that set no condition, or asked for the whole, must not be given an answer that only fits such a request."""
    if status == 206 and part is None:
        raise UpstreamError("the upstream sent a part where the whole was asked for")
    if status == 304 and (held is None or not validation_fields(held.head)):
        raise UpstreamError("the upstream answered 304 to a request without a condition")


def _honest_span(head: Head, sent: int | None) -> tuple[int, int, int] | None:
    """Start, end and whole length of a 206 that can be stored; None for one whose numbers do not fit, which is passed on as it is."""
    span = span_of(head)
    if span is None or span[2] is None or (sent is not None and sent != span[1] - span[0]):
        return None
    return span[0], span[1], span[2]


class PeerSupplier:
    def __init__(
        self,
        client: PeerClient,
        leash: Leash,
        *,
        name: str,
        counters: Counters,
        limits: Limits,
        wall: Callable[[], float],
        mark: Callable[[], str] = str,
    ) -> None:
        """name: this node's pseudonym in Via. leash: ends waits for a peer that is gone. mark: up to where this node knows of purges."""
        self._client = client
        self._leash = leash
        self._name = name
        self._counters = counters
        self._limits = limits
        self._wall = wall
        self._mark = mark

    async def ask(
        self,
        url: str,
        request: Request,
        held: Entry | None,
        part: Part | None = None,
        *,
        wants_fresh: bool = False,
        on_interim: Inform | None = None,
        asker: str | None = None,
    ) -> Supply:
        """asker: this node's URL, where it would take a deal for an answer. Raises PeerError where the peer can't be talked to (or is
        busy); UpstreamError and ClientError where it says so itself."""
        message = FetchRequest(request.method, request.key, _question_fields(tuple(request.fields), self._name))
        message.mark, message.asker, message.wants_fresh = self._mark(), asker, wants_fresh
        if held is not None:
            message.held, message.range = held_tag(held.stored), _range_of_partial(request, held)
        if part is not None:
            message.range, message.validator = part.range, part.validator
        full = full_key(request)
        if full != request.key:
            message.target = full
        self._counters.add("peer_requests_count")
        try:
            with self._leash.hold(url):
                found = await self._client.fetch(url, message, on_interim)
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
                raise PeerBusy(f"{url} is busy: {answer.detail}")
            case "failed":
                raise UpstreamError(answer.detail, timed_out=answer.timed_out, retry_after_seconds=answer.retry_after_seconds)
            case "refused":
                raise ClientError(answer.status, answer.detail)
        head = Head(answer.status, answer.fields)
        return Supply(
            kind=_KINDS.get(answer.kind, Kind.FOUND),
            head=head,
            stored=self._received(url, answer, head),
            length=answer.length,
            offset=answer.offset,
            end=answer.end,
            part_head=_part_head(head, answer) if answer.end is not None else None,
            source="peer",
            chunks=self._counted(url, found),
            close=found.close,
            detail=answer.detail,
            status=answer.upstream_status,
            member=answer.member,
            is_stale=answer.is_stale,
            deal=_deal(answer) if answer.deal else None,
            take_whole=lambda: self._take_whole(found),
            gather=found.gather,
        )

    def _take_whole(self, found: PeerAnswer) -> bytes | None:
        whole = None if self._limits.has_down else found.take_whole()
        if whole:
            self._counters.add("peer_received_bytes", len(whole))
            self._limits.note_down(len(whole))
        return whole

    def _received(self, url: str, answer: FetchAnswer, head: Head) -> Stored | None:
        """The owner's facts on our watch: age counts from what the owner said, not from its clock."""
        if answer.stored is None:
            return None
        try:
            return from_facts(answer.stored, head, answer.age_seconds, self._wall())
        except ValueError as error:
            raise PeerError(f"{url}: its facts can't be read: {error}") from error

    async def _counted(self, url: str, found: PeerAnswer) -> AsyncIterator[bytes]:
        async with aclosing(found.chunks()) as chunks:  # type: ignore[type-var]
            try:
                while True:
                    with self._leash.hold(url):
                        chunk = await anext(chunks, b"")
                    if not chunk:
                        return
                    self._counters.add("peer_received_bytes", len(chunk))
                    for part in self._limits.down_parts(chunk):
                        await self._limits.wait_down(len(part))
                        yield part
            except PeerError:
                self._counters.add("peer_errors_count")
                raise
