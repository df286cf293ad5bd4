"""All swarms of a node: which bodies are worth one, among whom their pieces are dealt, and who works on them now.

The owner of a file deals: its answer to who asks for the file names the members and their weights, so that all who fetch it at the same
time reckon with the same owners, whatever lists they hold. A deal stays as it is while the file is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from cachetools import LRUCache

from minicdn.core.conditional import strong_validator
from minicdn.core.headers import first, without
from minicdn.core.message import Head, Request
from minicdn.core.pieces import Dealer, Pieces, piece_bytes
from minicdn.core.roster import PeerList
from minicdn.errors import PeerBusy
from minicdn.node.deals import Deal
from minicdn.node.fill import Fill
from minicdn.node.seeding import FileId, Seeding
from minicdn.node.streams import Streams
from minicdn.node.supply import FOUND, UNREAD_BYTES_MAX, Supply
from minicdn.node.swarm import Swarm, SwarmParts
from minicdn.node.wanted import missing_spans, wanted_spans
from minicdn.store.body import Body
from minicdn.store.entry import Entry

SWARMS_MAX = 1024
DEAL_SECONDS = 60.0
"""A deal that nobody asked for in so long is made anew."""
ASKERS_MAX = 64
VIA = frozenset((b"via",))
SLOW_SHARE = 0.8
STREAMED_BYTES_MAX = 16 * 1024 * 1024
"""Up to here the file's owner takes all of it in one answer, and the pieces' owners have them from there: what is under way of an
answer that is left unread would be a large part of it."""


@dataclass(slots=True)
class _Dealt:
    deal: Deal
    used_at: float


class Swarms:
    """small_bytes: bodies up to this size lie in memory, and are no swarm's affair."""

    def __init__(
        self,
        parts: SwarmParts,
        seeding: Seeding,
        *,
        node_id: str,
        peer_list: Callable[[], PeerList],
        small_bytes: Callable[[], int],
    ) -> None:
        self._parts = parts
        self._seeding = seeding
        self._node_id = node_id
        self._peer_list = peer_list
        self._small_bytes = small_bytes
        self.streamed_bytes_max = STREAMED_BYTES_MAX
        self.streams = Streams(parts.clock.monotonic, parts.uplink)
        self.let_go: Callable[[Body], None] = lambda body: None
        """What fills a body need not go on for others (fills.py)."""
        self._swarms: LRUCache[Body, Swarm] = LRUCache(SWARMS_MAX)
        self._deals: LRUCache[FileId, _Dealt] = LRUCache(SWARMS_MAX)
        self._askers: LRUCache[FileId, dict[str, float]] = LRUCache(SWARMS_MAX)

    @property
    def working_count(self) -> int:
        return sum(swarm.is_working for swarm in self._swarms.values())

    def of(self, body: Body) -> Swarm | None:
        return self._swarms.get(body)

    def me(self) -> str | None:
        """This node's URL as the others know it."""
        return next((member.url for member in self._peer_list().members if member.id == self._node_id), None)

    # What is worth a swarm

    def is_for(self, fill: Fill, supply: Supply) -> bool:
        """Whether what a fill is being sent should come in pieces."""
        if not fill.may_deal or supply.kind is not FOUND or supply.stored is None or supply.length is None:
            return False
        end = supply.length if supply.end is None else supply.end
        wanted = end - supply.offset
        if not self._is_worth(supply.head, supply.length, wanted):
            return False
        return supply.deal is not None or (self._is_worth_parting(fill.request.key, supply, wanted) and len(self._dealers()) > 1)

    def _is_worth_parting(self, key: str, supply: Supply, wanted: int) -> bool:
        """Whether an upstream's answer is to be passed on in pieces, or left unread and asked for by those who own them."""
        if supply.source != "upstream" or not (wanted > self.streamed_bytes_max or self._is_slow_for_all()):
            return False
        if supply.end is None and not self._has_parts(supply.head):
            return False
        validator = strong_validator(supply.head)
        return validator is not None and not self._seeding.is_partless(FileId(key, validator, supply.length or 0))

    def _is_slow_for_all(self) -> bool:
        """Whether what this node takes in one answer and passes on would be held up by this node: by a cap, or by a lesser uplink."""
        limits, members = self._parts.limits, self._peer_list().members
        if limits.up.rate or limits.upstream.rate:
            return True
        own = next((member.share for member in members if member.id == self._node_id), 0.0)
        return own < SLOW_SHARE * max((member.share for member in members), default=0.0)

    def is_worth_completing(self, entry: Entry, gaps: list[tuple[int, int]]) -> bool:
        """Whether what is missing of a partial body should come in pieces. Where nobody has said that there are parts, it is asked for
        first: what has been sent to a client by the time that an answer is the whole could not be taken back."""
        if not self._has_parts(entry.head) and self._swarms.get(entry.body) is None:
            return False
        missing = sum(end - start for start, end in gaps)
        has_pieces = entry.body.length is not None and entry.body.pieces is not None
        return has_pieces and len(self._dealers()) > 1 and self._is_worth(entry.head, entry.body.length or 0, missing)

    def _is_worth(self, head: Head, length: int, wanted: int) -> bool:
        is_large = length > self._small_bytes() and wanted > piece_bytes(length)
        return is_large and head.status == 200 and strong_validator(head) is not None

    def _has_parts(self, head: Head) -> bool:
        return (first(head.fields, b"accept-ranges") or b"").strip().lower() == b"bytes"

    # Deals

    def deal_for(self, entry: Entry, request: Request, asker: str) -> Deal | None:
        """How a peer should come by a file that it asks this node, the owner, for; None: from here alone."""
        length, validator = entry.body.length, strong_validator(entry.head)
        if length is None or validator is None or entry.stored is None or not self._is_worth(entry.head, length, length):
            return None
        file = FileId(request.key, validator, length)
        if entry.body.is_partial and self._has_parts(entry.head):
            hint = self._hint_of(entry.body, file)
            self.streams.told(entry.body, self.let_go)
            return self._deal(file, hint=hint) if len(self._dealers(besides=hint)) > 1 else None
        # Without parts from the upstream, nobody could go on when this node is gone, but by a stream of the whole.
        is_dealt = self._has_parts(entry.head) and (entry.body.is_filling or self._is_crowd(file, asker))
        return self._deal(file, hint=self.me()) if is_dealt else None

    def _hint_of(self, body: Body, file: FileId) -> str | None:
        """This node, while it streams; and as long as those ask who have been told so."""
        dealt = self._deals.get(file)
        is_told = dealt is not None and self._parts.clock.monotonic() - dealt.used_at <= DEAL_SECONDS and dealt.deal.hint is not None
        return self.me() if is_told or body in self.streams else None

    def _is_crowd(self, file: FileId, asker: str) -> bool:
        """What is here whole, or comes in order only, goes to one asker straight from here, to several through each other."""
        now = self._parts.clock.monotonic()
        askers = self._askers.setdefault(file, {})
        askers[asker] = now
        for other in [other for other, at in askers.items() if now - at > DEAL_SECONDS or len(askers) > ASKERS_MAX]:
            del askers[other]
        return len(askers) > 1

    def _deal(self, file: FileId, hint: str | None = None) -> Deal | None:
        now, dealt = self._parts.clock.monotonic(), self._deals.get(file)
        if dealt is None or now - dealt.used_at > DEAL_SECONDS or dealt.deal.hint != hint:
            dealers = tuple(sorted(self._dealers(besides=hint), key=lambda dealer: dealer.url != self.me()))
            if not dealers:
                return None
            dealt = self._deals[file] = _Dealt(Deal(dealers, hint), now)
        dealt.used_at = now
        return dealt.deal

    def _dealers(self, besides: str | None = None) -> tuple[Dealer, ...]:
        """Who may own pieces. besides: who sends each of them once, to its owner, and has no uplink left for more."""
        return tuple(Dealer(member.url, member.share) for member in self._peer_list().members if member.share > 0 and member.url != besides)

    # Swarms

    def begin(self, entry: Entry, request: Request, deal: Deal | None = None) -> Swarm | None:
        """The swarm of this partial body, at rest until somebody wants something of it. deal: the owner's; None: this node deals."""
        validator = strong_validator(entry.head)
        assert validator is not None and entry.body.length is not None
        file = FileId(request.key, validator, entry.body.length)
        swarm = self._swarms.get(entry.body)
        if swarm is not None and swarm.is_working:
            return swarm
        deal = deal or self._deal(file, hint=self._hint_of(entry.body, file))
        if deal is None:
            return None
        if swarm is None or swarm.deal != deal:
            # Who passed the first request on is no part of this node's own: asked for a piece, he would take it for a loop.
            request = replace(request, fields=without(request.fields, VIA))
            seed = self._seeding.seed(file, request, Pieces.of(entry.body.length))
            swarm = self._swarms[entry.body] = Swarm(self._parts, entry, request, deal, seed, self.me())
        return swarm

    def bring(self, entry: Entry, request: Request) -> None:
        """Somebody will read here what he could have fetched himself."""
        gaps = missing_spans(request, entry)
        swarm = self._swarms.get(entry.body) if gaps else None
        if swarm is not None:
            swarm.want(gaps)

    def begin_first(self, entry: Entry, request: Request, supply: Supply) -> tuple[int, int] | None:
        """The upstream's answer to this node has begun. Which part of it is wanted: all, to be passed on, or the first piece alone. None:
        nobody could deal."""
        length = supply.length or 0
        start, end = supply.offset, length if supply.end is None else supply.end
        is_streamed = (start, end) == (0, length) and not self._is_slow_for_all() and bool(self._dealers(besides=self.me()))
        if is_streamed:
            swarm = self.begin(entry, request, self._deal(FileId(request.key, strong_validator(entry.head) or b"", length), hint=self.me()))
        else:
            swarm, end = self.begin(entry, request), min((start // piece_bytes(length) + 1) * piece_bytes(length), end)
        if swarm is None:
            return None
        entry.body.expect(start, end)
        if is_streamed:
            self.streams.begin(entry.body, swarm.seed, start, end)
        else:
            swarm.seed.arriving.update(swarm.seed.pieces.within(start, end))
        return start, end

    def is_here(self, entry: Entry, request: Request) -> bool:
        """Whether what a peer wants is here, or on its way. Raises PeerBusy where it has to come from its piece's owner, perhaps that peer
        itself: to wait for it here would be in vain."""
        swarm = self._swarms.get(entry.body)
        if swarm is not None and swarm.deal.hint is not None and swarm.deal.hint == self.me() and entry.body.is_partial:
            spans = wanted_spans(request, entry)
            if isinstance(spans, list) and not all(self.streams.is_first_hand(entry.body, *span) for span in spans):
                raise PeerBusy("a piece's owner asks the upstream for it")
        return not missing_spans(request, entry)

    def stop_of(self, body: Body, position: int, end: int, narrow: Callable[[int], int]) -> int:
        """How far the upstream's answer is to be read: to its end, or, where this node can't pass it on as quickly, a piece's end."""
        if not self.streams.is_outrun(body, position):
            return end
        size = piece_bytes(body.length or 0)
        return min(-(-(position + narrow(UNREAD_BYTES_MAX)) // size) * size, end)

    def no_longer_arriving(self, body: Body, span: tuple[int, int]) -> None:
        """What began to come in an answer for the whole has come, or never will."""
        swarm = self._swarms.get(body)
        if body in self.streams:
            self.streams.ended(body)
        elif swarm is not None:
            swarm.seed.arriving.difference_update(swarm.seed.pieces.within(*span))

    def part_ended(self, body: Body, start: int, end: int) -> None:
        """A fill's part of a body is over before its end. A swarm at work goes on with it, before readers are cut off."""
        own_readers_count = self.streams.own_readers_count(body)
        body.ended(start, end)
        swarm = self._swarms.get(body)
        if swarm is not None and (swarm.is_working or own_readers_count):
            swarm.want([(start, end)])

    def reader_left(self, body: Body) -> None:
        swarm = self._swarms.get(body)
        if swarm is not None:
            swarm.look_whether_wanted()

    def peers_gone(self, urls: set[str]) -> None:
        self._seeding.peers_gone(urls)
        for swarm in list(self._swarms.values()):
            swarm.peers_gone(urls)

    async def stop(self) -> None:
        self._seeding.stop()
        for swarm in list(self._swarms.values()):
            await swarm.stop()
