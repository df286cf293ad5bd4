"""The desk: every request for content comes here, and leaves with something to serve.

    find what is stored → decide (core/decide.py) → serve it, or wait for a fill → what to serve

A client's request on a node that doesn't own the key is filled from the owner; a request that another peer forwarded is filled from
the upstream, whatever this node's own list says: nobody forwards twice, so lists that differ can't make two nodes wait for each other.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from cachetools import TTLCache

from minicdn.core.conditional import strong_validator
from minicdn.core.counters import Counters
from minicdn.core.decide import Fetch, Refuse, Serve, Validate, decide
from minicdn.core.freshness import Policy
from minicdn.core.journal import Mark
from minicdn.core.message import Inform, Request
from minicdn.core.roster import PeerList
from minicdn.core.vary import choose, selecting
from minicdn.errors import ClientError
from minicdn.node.askers import Askers, AskLease, taking_wholes
from minicdn.node.circuits import Circuits
from minicdn.node.clock import Clock
from minicdn.node.fill import Fill, FlightKey, Outcome, again, fill_gaps, is_anothers, is_for_gap, may_join, parts_of
from minicdn.node.fills import Dock
from minicdn.node.found import Begun, Found
from minicdn.node.private import PrivateKeys
from minicdn.node.purger import Purger
from minicdn.node.reading import FollowingReader
from minicdn.node.suppliers import PeerSupplier, UpstreamSupplier
from minicdn.node.supply import Part
from minicdn.node.swarms import Swarms
from minicdn.node.twins import Twins
from minicdn.node.wanted import asks_in_private, missing_spans, single_range
from minicdn.store.body import Body
from minicdn.store.entry import Entry
from minicdn.store.shelf import Shelf

GAPS_MAX = 16
"""A partial body with more gaps than this is fetched again as a whole."""
TURNS_MAX = 4
"""Of one request at fills that others began; at the last it has one for itself."""
VARY_KEYS_MAX = 10_000


class Cache:
    def __init__(
        self,
        shelf: Shelf,
        dock: Dock,
        clock: Clock,
        counters: Counters,
        *,
        purger: Purger,
        node_id: str,
        circuits: Circuits,
        ask_lease: AskLease,
        release_lease: Callable[[str], None],
    ) -> None:
        self._shelf = shelf
        self._dock = dock
        self._clock = clock
        self._counters = counters
        self._purger = purger
        self._askers = Askers(circuits, node_id=node_id, ask_lease=ask_lease, release_lease=release_lease)
        self._passing = PrivateKeys(clock.monotonic)
        self._twins = Twins()
        self._varying: TTLCache[str, tuple[tuple[bytes, bytes], ...]] = TTLCache(VARY_KEYS_MAX, 3600, timer=clock.monotonic)
        self._swarms: Swarms
        self.policy = Policy()
        self.may_ask_upstream = True

    @property
    def peer_list(self) -> PeerList:
        """What owners are computed from."""
        return self._askers.peer_list

    @peer_list.setter
    def peer_list(self, peer_list: PeerList) -> None:
        self._askers.peer_list = peer_list

    def connect(self, upstream: UpstreamSupplier | None, peers: PeerSupplier) -> None:
        """Who to ask; the upstream may become known later than the node starts."""
        self._askers.upstream, self._askers.peers = upstream, peers

    def swarm_with(self, swarms: Swarms) -> None:
        """Large bodies are filled by them."""
        self._swarms = self._dock.swarms = swarms

    def find_fresh(self, request: Request, *, mark: Mark | None = None, is_forwarded: bool = False) -> Found | None:
        """A hit that needs no waiting, or None. mark, is_forwarded: as find() has them."""
        if self._purger.is_unsure or (is_forwarded and self._purger.is_behind(mark)):
            return None
        entry = self._choose(request)
        plan = decide(request, entry.stored if entry is not None else None, self._clock.wall(), self.policy)
        if entry is None or not isinstance(plan, Serve) or missing_spans(request, entry) or self._is_owners_to_say(plan, request):
            return None
        return self._hit(request, entry, plan, is_forwarded=is_forwarded)

    def begin(self, request: Request, on_interim: Inform) -> Begun | None:
        """A GET of what is not here: the fill that will bring it, under way. None where find() has more to do than that."""
        if self.stored_for(request.key):
            return None
        plan = decide(request, None, self._clock.wall(), self.policy)
        if not isinstance(plan, Fetch) or single_range(request) is not None:
            return None
        return self._begin(request, None, plan.fwd, is_forwarded=False, on_interim=on_interim)

    async def go_on(self, begun: Begun, on_interim: Inform) -> Found:
        """What find() would have found, where begin() has begun."""
        return await self._fill(begun.request, None, begun.forward, is_forwarded=False, on_interim=on_interim, begun=begun)

    def settle(self, begun: Begun) -> Found | None:
        """What a fill has brought, once its outcome is there; None where there is more to do (go_on) or to say than that."""
        outcome = begun.fill.outcome
        assert outcome is not None
        entry = outcome.entry
        if entry is None or outcome.is_confirmed or (begun.is_collapsed and not may_join(begun.request, outcome)):
            return None
        return self._found(begun.request, begun.fill, outcome, begun.forward, is_collapsed=begun.is_collapsed)

    async def find(
        self,
        request: Request,
        *,
        is_forwarded: bool = False,
        wants_fresh: bool = False,
        mark: Mark | None = None,
        on_interim: Inform | None = None,
        may_deal: bool = False,
        exact: bytes | None = None,
    ) -> Found:
        """Something to serve for a GET or HEAD. Raises ClientError (what was asked can't be had) or UpstreamError.

        wants_fresh: a peer refreshes its copy, and waits: nothing stale helps it. mark: of the peer that forwards; where it has heard
        of purges that this node has not, nothing is served unasked, and no fill is joined that began before them. on_interim: told of
        1xx answers to a fill that this request starts; who joins one does not know yet whether that answer is for him. may_deal: the peer
        that asks fetches the pieces of a large body by itself; nothing of it need be here. exact: a part of the version with this strong
        validator is wanted, fresh or not: the peer has the rest of it.
        """
        is_behind = is_forwarded and self._purger.is_behind(mark)
        entry = self._choose(request)
        if exact is not None and entry is not None and strong_validator(entry.head) == exact and self._swarms.is_here(entry, request):
            return self._hit(request, entry, Serve(stale=False, refresh=False, detail=""), is_forwarded=is_forwarded)
        plan = decide(request, entry.stored if entry is not None else None, self._clock.wall(), self.policy)
        match plan:
            case Serve() if entry is not None and not (is_behind or self._purger.is_unsure):
                if missing_spans(request, entry):
                    if may_deal and self._swarms.of(entry.body) is not None:
                        return Found(entry, entry.body.medium, "partial")
                    return await self._complete(request, entry, is_forwarded=is_forwarded, may_deal=may_deal)
                if plan.stale and (wants_fresh or (not is_forwarded and self._is_owners_to_say(plan, request))):
                    return await self._fill(request, entry, "stale", is_forwarded=is_forwarded, on_interim=on_interim)
                return self._hit(request, entry, plan, is_forwarded=is_forwarded)
            case Refuse() if is_forwarded or not self._askers.owners(request.key):
                raise ClientError(plan.status, plan.reason)
            case Validate():
                return await self._fill(
                    request, entry, plan.fwd, is_forwarded=is_forwarded, is_alone=is_behind, on_interim=on_interim, may_deal=may_deal
                )
            case Fetch():
                forward = "vary-miss" if entry is None and self.stored_for(request.key) else plan.fwd
                part = Part.of(single_range(request)) if entry is None else None
                return await self._fill(
                    request,
                    entry,
                    forward,
                    is_forwarded=is_forwarded,
                    part=part,
                    is_alone=is_behind,
                    on_interim=on_interim,
                    may_deal=may_deal,
                )
            case _:
                return await self._fill(request, entry, "request", is_forwarded=is_forwarded, is_alone=is_behind, on_interim=on_interim)

    def _is_owners_to_say(self, plan: Serve, request: Request) -> bool:
        """Whether a copy that might be served stale while it is refreshed is another node's: the owner may have a newer one already."""
        return plan.refresh and request.key not in self._passing and bool(self._askers.owners(request.key))

    def is_passed_on(self, key: str) -> bool:
        """Whether answers for this key turned out to be for one client each, so that no copies are made and no owner is asked."""
        return key in self._passing

    def open(self, body: Body, start: int, end: int | None) -> FollowingReader:
        """A reader that keeps the body's fill going while it is open."""
        return FollowingReader(body, body.open(start, end), self._dock.reader_left)

    def keep_filling(self, body: Body) -> None:
        """Others will ask for its parts, though nobody reads it now."""
        self._dock.keep_filling(body)

    def stored_for(self, key: str) -> list[Entry]:
        """What is stored of a key, or of another that differs from it only where a response said it does not matter."""
        entries = self._shelf.find(key)
        twin = self._twins.of(key) if not entries else None
        return entries if twin is None else self._shelf.find(twin)

    def _choose(self, request: Request) -> Entry | None:
        entries = self.stored_for(request.key)
        if not entries:
            return None
        candidates = [entry for entry in entries if entry.stored is not None]
        index = choose(request.fields, [entry.stored for entry in candidates])  # type: ignore[misc]
        if index is None:
            return None
        return self._purger.check(candidates[index]) if self._purger.is_sweeping else candidates[index]

    def _hit(self, request: Request, entry: Entry, plan: Serve, *, is_forwarded: bool) -> Found:
        if plan.refresh:
            self._refresh(request, entry, is_forwarded=is_forwarded)
        fill = self._dock.fill_of(entry.body)
        if fill is not None:
            self._counters.add("joins_count")
            return Found(entry, "upstream" if fill.is_hot is False else "peer", forward="miss", is_collapsed=True, detail=plan.detail)
        self._counters.add("stale_count" if plan.stale else "hits_count")
        self._shelf.touch(entry, self._clock.monotonic())
        return Found(entry, entry.body.medium, is_stale=plan.stale, detail=plan.detail)

    async def _complete(self, request: Request, entry: Entry, *, is_forwarded: bool, may_deal: bool = False) -> Found:
        """A partial entry lacks what is wanted: fill the gaps, and serve when all of them are on their way. Where the upstream has
        another version by now, that is fetched whole."""
        validator, gaps = strong_validator(entry.head), missing_spans(request, entry)
        if self._swarms.is_worth_completing(entry, gaps):
            found = await self._swarm(request, entry, gaps, is_forwarded=is_forwarded, may_deal=may_deal)
            if found is not None:
                return found
        if validator is None or len(gaps) > GAPS_MAX:
            self._shelf.remove(entry)
            found = self.find_fresh(request, is_forwarded=is_forwarded)  # beside such a part all may be on its way
            return found or await self._fill(request, None, "partial", is_forwarded=is_forwarded, part=Part.of(single_range(request)))
        self._counters.add("misses_count")
        start = partial(self._start_gap, request, entry, is_forwarded=is_forwarded)
        fill, first, is_all_coming = await fill_gaps(start, partial(parts_of, request, entry, validator), entry)
        found = Found(first.entry or entry, first.source, "partial", first.status, fill=fill, member=first.member)
        if is_all_coming:
            return found
        self._shelf.remove(entry)
        is_ours = not is_for_gap(found.entry) and (fill.request is request or may_join(request, first))
        if first.entry not in (entry, None) and is_ours and not missing_spans(request, found.entry):
            return found
        fill.release()
        return await self._fill(request, None, "partial", is_forwarded=is_forwarded)

    def _start_gap(self, request: Request, entry: Entry, part: Part, *, is_forwarded: bool) -> Fill:
        """Or the one under way of the very same: a crowd that waited for one part's head lacks the same beside it."""
        flight = self._flight(request, is_forwarded=is_forwarded, part=part)
        return self._dock.find_same(flight) or self._start(request, None, flight, is_forwarded=is_forwarded, part=part, base=entry)

    async def _fill(
        self,
        request: Request,
        held: Entry | None,
        forward: str,
        *,
        is_forwarded: bool,
        part: Part | None = None,
        is_alone: bool = False,
        on_interim: Inform | None = None,
        may_deal: bool = False,
        begun: Begun | None = None,
    ) -> Found:
        """Join the fill under way, or start one; a second and third turn where somebody else's answer can't be ours. is_alone: neither
        joined nor to be joined. begun: the first turn's, joined already."""
        for turn in range(TURNS_MAX):
            is_joined = begun is not None and not turn
            if not is_joined:
                is_alone = is_alone or turn == TURNS_MAX - 1
                begun = self._begin(request, held, forward, is_forwarded=is_forwarded, part=part, is_alone=is_alone, on_interim=on_interim)
            fill = begun.fill
            outcome = await fill.wait_outcome(is_joined=is_joined)
            if begun.is_collapsed and is_anothers(fill, outcome, request, part):
                fill.release()
                if outcome.is_private and outcome.entry is not None:
                    self._passing.note(request.key, outcome.entry.head.status)
                continue
            entry = outcome.entry
            is_others = begun.is_collapsed and entry is not None and self._swarms.of(entry.body) is None  # maybe a part that these want
            if entry is not None and (outcome.is_confirmed or is_others) and missing_spans(request, entry):
                fill.release()
                return await self._complete(request, entry, is_forwarded=is_forwarded, may_deal=may_deal)
            break
        return self._found(request, fill, outcome, forward, is_collapsed=begun.is_collapsed, may_deal=may_deal)

    def _begin(
        self,
        request: Request,
        held: Entry | None,
        forward: str,
        *,
        is_forwarded: bool,
        part: Part | None = None,
        is_alone: bool = False,
        on_interim: Inform | None = None,
    ) -> Begun:
        flight = None if is_alone else self._flight(request, is_forwarded=is_forwarded, part=part)
        fill = self._dock.find(flight, is_beside=forward != "partial") if flight is not None else None
        if fill is not None:
            self._counters.add("joins_count")
            return Begun(request, fill, forward, is_collapsed=True)
        self._counters.add("misses_count")
        fill = self._start(request, held, flight, is_forwarded=is_forwarded, part=part, on_interim=on_interim)
        return Begun(request, fill, forward, is_collapsed=False)

    async def _swarm(
        self, request: Request, entry: Entry, gaps: list[tuple[int, int]], *, is_forwarded: bool, may_deal: bool
    ) -> Found | None:
        """The gaps of a large partial body come in pieces. Who deals is the file's owner; where this node has no deal, it asks for one."""
        swarm = self._swarms.of(entry.body)
        is_owners = is_forwarded or not self._askers.owners(request.key)
        if swarm is None and not is_owners:
            part = Part.of(single_range(request))
            return await self._fill(request, None, "partial", is_forwarded=is_forwarded, part=part)
        swarm = self._swarms.begin(entry, request, swarm.deal if swarm is not None and not is_owners else None)
        if swarm is None:
            return None
        if not may_deal:
            self._counters.add("misses_count")
            swarm.want(gaps)
        return Found(entry, "peer", "partial")

    def _found(self, request: Request, fill: Fill, outcome: Outcome, forward: str, *, is_collapsed: bool, may_deal: bool = False) -> Found:
        entry = outcome.entry
        if entry is None:
            fill.release()
            assert outcome.error is not None
            raise again(outcome.error)
        if outcome.is_stale:
            self._counters.add("stale_count")
        if outcome.is_private and outcome.source == "upstream" and entry.stored is None and not asks_in_private(request):
            self._passing.note(request.key, entry.head.status)
        self._twins.note(entry)
        if entry.stored is not None and entry.stored.selecting:
            self._varying[request.key] = tuple((name, b"") for name, _ in entry.stored.selecting)
        swarm = self._swarms.of(entry.body)
        if swarm is not None and not may_deal:
            swarm.want(missing_spans(request, entry))
        return Found(
            entry,
            outcome.source,
            forward=forward,
            forward_status=outcome.status or None,
            is_collapsed=is_collapsed,
            is_stale=outcome.is_stale,
            detail=outcome.detail,
            fill=fill,
            span=fill.span if swarm is None and missing_spans(request, entry) else None,
            member=outcome.member,
        )

    def _refresh(self, request: Request, entry: Entry, *, is_forwarded: bool) -> None:
        flight = self._flight(request, is_forwarded=is_forwarded)
        if flight is not None and self._dock.find(flight) is None:
            self._start(request, entry, flight, is_forwarded=is_forwarded, is_wanted=True)

    def _start(
        self,
        request: Request,
        held: Entry | None,
        flight: FlightKey | None,
        *,
        is_forwarded: bool,
        is_wanted: bool = False,
        part: Part | None = None,
        base: Entry | None = None,
        on_interim: Inform | None = None,
        may_keep: bool = True,
    ) -> Fill:
        is_own = is_forwarded or (request.key in self._passing and self.may_ask_upstream)
        if is_own:
            suppliers, is_hot = self._askers.of_upstream(on_interim), False
        else:
            suppliers, is_hot = self._askers.of_owners(request.key, on_interim, wants_fresh=is_wanted)
        may_deal = request.method == "GET" and flight is not None and base is None and not is_wanted
        fill = Fill(
            request, held, suppliers, is_wanted=is_wanted, is_hot=is_hot, part=part, base=base, may_deal=may_deal, may_keep=may_keep
        )
        return self._dock.start(fill, flight)

    def load_piece(self, request: Request, part: Part, hint: str | None) -> Fill:
        """A piece for a swarm, from the upstream; first from the peer at `hint`, which has it. All may come, where there are no parts."""
        return self._dock.start(Fill(request, None, [*map(taking_wholes, self._askers.of_upstream(hint=hint))], is_wanted=True, part=part))

    def load_rest(self, request: Request, part: Part, *, is_forwarded: bool) -> Fill:
        """What who asked lacks of a body that can't be kept here after all: to be passed on."""
        return self._start(request, None, None, is_forwarded=is_forwarded, part=part, may_keep=False)

    def _flight(self, request: Request, *, is_forwarded: bool, part: Part | None = None) -> FlightKey | None:
        """By what others join: the key, part, and the request's values of the fields that this key is known to vary by. A forwarded request
        has a flight of its own kind: it must not wait for a fill that may itself wait for the forwarder."""
        if request.key in self._passing or asks_in_private(request):
            return None
        names = self._varying.get(request.key)
        variant = selecting(request.fields, ((b"vary", b", ".join(name for name, _ in names)),)) if names else None
        asks_owner = not is_forwarded and bool(self._askers.owners(request.key))
        return (request.method, request.key, variant, asks_owner, part.range if part is not None else None)
