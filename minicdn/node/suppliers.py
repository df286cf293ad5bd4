"""Where a fill's bytes may come from, in the same words: an owner of the key, or the upstream.

A supplier is asked once for a head; what it answers is a Supply: facts, and the bytes as they arrive. Whether to ask another one is
the fill's affair. Only a transport failure (PeerError) may move it on; an answer, of whatever status, is final.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from minicdn.core.conditional import is_strong, validation_fields
from minicdn.core.counters import Counters
from minicdn.core.freshness import NotStored, Policy, Stored, from_facts, is_fresh, storable
from minicdn.core.headers import first, has_any
from minicdn.core.message import Fields, Head, Inform, Request
from minicdn.core.names import Lines, are_few, by_lines
from minicdn.core.partial import part_fields, saying_parts, span_of, whole_head
from minicdn.core.pieces import Dealer
from minicdn.core.target import parse_target, split_absolute
from minicdn.core.vary import is_same_variant
from minicdn.core.via import add_via
from minicdn.errors import ClientError, PeerBusy, PeerError, UpstreamError
from minicdn.node.arriving import FromPeer, FromUpstream
from minicdn.node.asked import PeerAsked, UpstreamAsked
from minicdn.node.deals import Deal
from minicdn.node.leash import Kept, Leash
from minicdn.node.limits import Limits
from minicdn.node.passing import forwarded_fields
from minicdn.node.patience import PatientUpstream
from minicdn.node.supply import FOUND, PASS, UNCHANGED, UNREAD_BYTES_MAX, Part, Supply
from minicdn.node.wanted import single_range
from minicdn.store.entry import Entry
from minicdn.wire.fetch import FetchAnswer, FetchRequest
from minicdn.wire.peers import BegunFetch, PeerAnswer, PeerClient
from minicdn.wire.upstream import UpstreamAnswer

ORIGINS_CONDITIONS = frozenset((b"if-match", b"if-unmodified-since"))
NOT_ASKED_FOR = (206, 304)
"""Nothing that answers a request for the whole, without a condition."""
TAILS_MAX, TAIL_BYTES_MAX = 256, 2048
"""Of heads that are remembered: a client says the same in each of its requests."""


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


_KINDS = {"unchanged": UNCHANGED, "pass": PASS}


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
        self._tails: dict[tuple[tuple[bytes, bytes], ...], bytes] = {}

    async def ask(
        self,
        request: Request,
        held: Entry | None,
        part: Part | None = None,
        *,
        on_interim: Inform | None = None,
        asked: UpstreamAsked | None = None,
    ) -> Supply:
        """asked: what begin() has sent. Raises UpstreamError."""
        fields = self._fields(request)
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
            begun=asked.begun if asked is not None else None,
            request_at=asked.request_at if asked is not None else None,
        )
        try:
            _check_asked_for(answer.head.status, held if part is None else None, part)
            return self._supply(request, answer, held)
        except BaseException:
            await answer.close()
            raise

    def begin(self, request: Request, came: Callable[[], None], on_interim: Inform | None) -> UpstreamAsked | None:
        """Ask for a whole body, for whom no task waits (HttpDoor.begin). None, with nothing done, where ask() has to do it."""
        if self._follows_redirects or request.method != "GET":
            return None
        request_at = self._upstream.now()
        begun = self._upstream.begin(full_key(request), self._tail(request), came, on_interim=on_interim, unread_bytes_max=UNREAD_BYTES_MAX)
        return None if begun is None else UpstreamAsked(self, begun, request_at)

    def _fields(self, request: Request) -> list[tuple[bytes, bytes]]:
        return add_via(forwarded_fields(request.fields), f"minicdn-{self._node_id}")

    def _tail(self, request: Request) -> bytes:
        fields = tuple(request.fields)
        tail = self._tails.get(fields)
        if tail is None:
            tail = self._upstream.tail(self._fields(request))
            if len(tail) <= TAIL_BYTES_MAX and are_few(fields):
                if len(self._tails) >= TAILS_MAX:
                    self._tails.clear()
                self._tails[fields] = tail
        return tail

    def all(self, asked: UpstreamAsked, request: Request) -> Supply | None:
        """What begin() has brought, where all of it is here, and none need wait for a cap."""
        begun = asked.begun
        if not begun.has_all or self._limits.has_upstream or self._limits.has_down or begun.status in NOT_ASKED_FOR:
            return None
        return self._supply(request, self._upstream.all(asked.begun, asked.request_at), None)

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
        is_stored = isinstance(stored, Stored)
        kind = FOUND if is_stored else PASS
        if head.status == 304 and held is not None:
            kind = UNCHANGED
        return Supply(
            kind,
            head,
            stored if is_stored else None,
            length,
            offset,
            "upstream",
            FromUpstream(answer, self._counters, self._limits),
            end,
            answer.head if span is not None else None,
            stored.reason if not is_stored and kind is PASS else "",
            answer.request_at,
            answer.response_at,
            answer.head.status,
        )


@by_lines
def _question_fields(fields: Lines, name: str) -> Fields:
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
        asked: PeerAsked | None = None,
    ) -> Supply:
        """asker: this node's URL, where it would take a deal for an answer. asked: what begin() has sent. Raises PeerError where the peer
        can't be talked to (or is busy); UpstreamError and ClientError where it says so itself."""
        if asked is not None:
            asked.check()
        request_at = asked.request_at if asked is not None else self._wall()
        try:
            if asked is not None:
                found = await asked.found()
            else:
                self._counters.add("peer_requests_count")
                message = self._message(request, held, part, wants_fresh, asker)
                with self._leash.hold(url):
                    found = await self._client.fetch(url, message, on_interim)
        except PeerError:
            self._counters.add("peer_errors_count")
            raise
        try:
            return self._supply(url, found, request_at)
        except BaseException:
            await found.close()
            raise

    def begin(
        self,
        url: str,
        request: Request,
        came: Callable[[], None],
        *,
        wants_fresh: bool,
        on_interim: Inform | None,
        asker: str | None,
        reached: Callable[[str], None],
    ) -> PeerAsked | None:
        """Ask for a whole body, for whom no task waits (HttpDoor.begin). None, with nothing done, where ask() has to do it. reached: called
        with the url when that has answered."""
        request_at = self._wall()
        begun = self._client.begin(url, self._message(request, None, None, wants_fresh, asker), came, on_interim)
        if begun is None:
            return None
        self._counters.add("peer_requests_count")
        return PeerAsked(self, url, begun, request_at, reached)

    def all(self, url: str, begun: BegunFetch, request_at: float) -> Supply | None:
        """What begin() has brought, where all of it is here, and none need wait for a cap. Raises what ask() raises."""
        if not begun.exchange.has_all or self._limits.has_down:
            return None
        try:
            found = self._client.all(url, begun)
        except PeerError:
            self._counters.add("peer_errors_count")
            raise
        try:
            return self._supply(url, found, request_at)
        except BaseException:
            found.end()
            raise

    async def go_on(self, url: str, begun: BegunFetch) -> PeerAnswer:
        """Raises PeerError."""
        with self._leash.hold(url):
            return await self._client.go_on(url, begun)

    def keep(self, url: str, act: Callable[[], None]) -> Kept:
        return self._leash.keep(url, act)

    def _message(self, request: Request, held: Entry | None, part: Part | None, wants_fresh: bool, asker: str | None) -> FetchRequest:
        message = FetchRequest(request.method, request.key, _question_fields(tuple(request.fields), self._name))
        message.mark, message.asker, message.wants_fresh = self._mark(), asker, wants_fresh
        if held is not None:
            message.held, message.range = held_tag(held.stored), _range_of_partial(request, held)
        if part is not None:
            message.range, message.validator = part.range, part.validator
        full = full_key(request)
        if full != request.key:
            message.target = full
        return message

    def _supply(self, url: str, found: PeerAnswer, request_at: float) -> Supply:
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
            kind=_KINDS.get(answer.kind, FOUND),
            head=head,
            stored=self._received(url, answer, head, request_at),
            length=answer.length,
            offset=answer.offset,
            end=answer.end,
            part_head=_part_head(head, answer) if answer.end is not None else None,
            source="peer",
            arriving=FromPeer(url, found, self._leash, self._counters, self._limits),
            detail=answer.detail,
            status=answer.upstream_status,
            member=answer.member,
            is_stale=answer.is_stale,
            deal=_deal(answer) if answer.deal else None,
        )

    def _received(self, url: str, answer: FetchAnswer, head: Head, request_at: float) -> Stored | None:
        """The owner's facts on our watch: age counts from what the owner said, not from its clock, and all the way from there to here
        is added (response_delay, RFC 9111 §4.2.3): where this node was stopped meanwhile, a copy may have got old on it."""
        if answer.stored is None:
            return None
        now = self._wall()
        delay_seconds = now - request_at - answer.took_seconds
        try:
            return from_facts(answer.stored, head, answer.age_seconds + max(0.0, delay_seconds), now)
        except ValueError as error:
            raise PeerError(f"{url}: its facts can't be read: {error}") from error
