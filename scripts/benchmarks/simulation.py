"""A swarm in one process, under a time of its own: core's picker, tracker and deal do what they do in a node; links are fluid.py's.

Questions and answers take a round trip, longer over a link that is full. An owner loads two pieces at a time from the origin, the first
in the file first. What a peer receives from a piece's owner or from the origin it passes on as it comes; what comes from another holder
only when it is whole, since it must be verified first. One seed decides everything.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count

from minicdn.core.inorder import picker_for
from minicdn.core.picker import Errand, Picker
from minicdn.core.pieces import Backups, Dealer, Pieces, deal, deal_in_turns, share_of
from minicdn.core.tracker import Tracker, is_crowd, is_full, retry_seconds, streaming_seconds
from minicdn.core.uplink import is_thin
from scripts.benchmarks.fluid import Fluid, Stream

ORIGIN = 0
"""Its place among the ends."""
LOADS_MAX = 2
ROUND_TRIP_SECONDS, FULL_LINK_SECONDS = 0.002, 0.02
"""Between two idle links; and what a full one adds, by its queue."""
TICK_SECONDS = 0.5
STEPS_PER_PIECE = 10


@dataclass(frozen=True, slots=True)
class Host:
    """A peer's links, bytes per second, and what becomes of it. Seconds are after the start; weight: what the others know of its uplink."""

    up: float
    down: float
    weight: float = 1.0
    joins_after: float = 0.0
    dies_after: float | None = None
    is_mute: bool = False
    is_liar: bool = False


@dataclass(slots=True)
class Outcome:
    """finished: seconds from joining to the last piece, by host; None: never."""

    finished: list[float | None]
    origin_bytes: float
    seconds: float
    questions_count: int = 0
    refusals_count: int = 0
    hedges_count: int = 0
    steps_count: int = 0
    second_hand_count: int = 0
    longest_queue: int = 0
    curve: list[tuple[float, float]] = field(default_factory=list)


class SimPeer:
    """One peer: a requester (picker), and for others a source (tracker, loads, arriving)."""

    __slots__ = (
        "arriving", "finished_at", "have", "host", "is_gone", "joined_at", "loading", "open_count", "picker", "place", "sending", "taking",
        "to_load", "tracker", "url", "waits", "wake_at",
    )  # fmt: skip

    def __init__(self, url: str, host: Host, place: int) -> None:
        self.url, self.host, self.place = url, host, place
        self.picker: Picker | None = None
        self.tracker = Tracker()
        self.have = 0
        self.arriving: dict[int, Stream] = {}
        self.waits: dict[int, list[Stream]] = {}
        self.to_load: list[int] = []
        self.loading: set[int] = set()
        self.open_count = 0
        self.sending: dict[Stream, None] = {}
        self.taking: dict[Stream, None] = {}
        self.is_gone = False
        self.joined_at = 0.0
        self.finished_at: float | None = None
        self.wake_at = float("inf")


class Transfer(Stream):
    """One answer: the pieces given, one after the other. giver None: the origin. is_first_hand: by the owner of the pieces, or one that
    stands in for it. is_load: to an owner of pieces, from the origin or from who streams the file."""

    __slots__ = ("giver", "index", "is_first_hand", "is_load", "moved_done", "queue", "taker")

    def __init__(
        self, fluid: Fluid, giver: SimPeer | None, taker: SimPeer, indices: Iterable[int], is_first_hand: bool, is_load: bool = False
    ) -> None:
        super().__init__(fluid, giver.place if giver is not None else ORIGIN, taker.place)
        self.giver, self.taker = giver, taker
        self.index = -1
        self.queue = list(indices)
        self.is_first_hand, self.is_load = is_first_hand, is_load
        self.moved_done = 0.0


class Simulation:
    """hosts: in the order of their URLs. ends: when all that can finish has, or after time_max seconds. streamer: the place among them of
    the file's owner, where it takes all in one answer and the pieces' owners have them from there."""

    def __init__(
        self, length: int, origin_up: float, hosts: list[Host], seed: int = 1, pieces: Pieces | None = None, streamer: int | None = None
    ) -> None:
        self.pieces = pieces or Pieces.of(length)
        self.rng = random.Random(seed)
        self.now = self._clock = 0.0
        self.fluid = Fluid([origin_up, *(host.up for host in hosts)], [origin_up, *(host.down for host in hosts)])
        self.peers = [SimPeer(f"http://peer{number:04d}:9000", host, number + 1) for number, host in enumerate(hosts)]
        self.by_url = {peer.url: peer for peer in self.peers}
        self.streamer = self.peers[streamer] if streamer is not None else None
        self.dealers = [
            Dealer(peer.url, peer.host.weight) for peer in self.peers if peer.host.joins_after == 0.0 and peer is not self.streamer
        ]
        self.backups = Backups("/file", self.dealers)
        self.owned = (deal if streamer is None else deal_in_turns)("/file", self.pieces.count, self.dealers)
        self._events: list[tuple[float, int, object, tuple]] = []
        self._number = count()
        self._dirty: dict[SimPeer, None] = {}
        self.outcome = Outcome([None] * len(hosts), 0.0, 0.0)
        self.is_crowd = is_crowd((dealer.weight for dealer in self.dealers), self.pieces.size)
        speed = sorted(host.down for host in hosts)[len(hosts) // 2]
        self.step_seconds = self.pieces.size / speed / STEPS_PER_PIECE
        for peer in self.peers:
            self._at(peer.host.joins_after, self._join, peer)
            if peer.host.dies_after is not None:
                self._at(peer.host.dies_after, self._die, peer)

    def run(self, time_max: float) -> Outcome:
        while self._clock < time_max and not self._is_over():
            until = self._clock + self.step_seconds
            while self._events and self._events[0][0] <= until:
                at, _, call, arguments = heappop(self._events)
                self.now = at
                call(*arguments)
                self._ask_all()
            self._clock = self.now = until
            for stream in self.fluid.step(self.step_seconds):
                if not stream.is_over:
                    self._complete(stream)
            self._ask_all()
            self.outcome.steps_count += 1
        self.outcome.seconds = self.now
        self.outcome.origin_bytes = float(self.fluid.sent_bytes[ORIGIN])
        self.outcome.finished = [peer.finished_at - peer.joined_at if peer.finished_at is not None else None for peer in self.peers]
        return self.outcome

    def _is_over(self) -> bool:
        return not any(peer.finished_at is None and not peer.is_gone for peer in self.peers)

    def _at(self, at: float, call: object, *arguments: object) -> None:
        heappush(self._events, (at, next(self._number), call, arguments))

    def _later(self, one: int, other: int, call: object, *arguments: object) -> None:
        limited = self.fluid.limited_counts
        seconds = ROUND_TRIP_SECONDS + FULL_LINK_SECONDS * ((limited[one] > 0) + (limited[other] > 0))
        self._at(self.now + seconds * (0.5 + self.rng.random()), call, *arguments)

    # Joining and going

    def _join(self, peer: SimPeer) -> None:
        peer.joined_at = self.now
        is_dealer = peer.host.joins_after == 0.0
        hint = self.streamer.url if self.streamer is not None else None
        peer.picker = picker_for(hint, "/file", self.pieces, self.dealers, self.owned, peer.url if is_dealer else None)
        peer.picker.backups = self.backups  # the same for all
        if peer is self.streamer:
            peer.loading.update(range(self.pieces.count))
            self._load_from(None, peer, list(peer.loading))
            return
        peer.picker.want(range(self.pieces.count), self.now)
        for index in range(self.pieces.count):
            if peer.have >> index & 1:
                peer.picker.have(index)
        self._dirty[peer] = None
        self._at(self.now + TICK_SECONDS * (0.5 + self.rng.random()), self._tick, peer)

    def _die(self, peer: SimPeer) -> None:
        peer.is_gone = True
        for stream in [*peer.taking]:
            self._end(stream)
        for stream in [*peer.sending]:
            rest = [stream.index, *stream.queue]
            taker = stream.taker
            self._end(stream)
            if stream.is_load:
                taker.loading.difference_update(rest)
                for index in rest:
                    self._load(taker, index)
                continue
            self._later(taker.place, taker.place, self._broke_off, taker, peer.url, rest)

    def _broke_off(self, peer: SimPeer, url: str, indices: list[int]) -> None:
        if not peer.is_gone:
            peer.picker.failed(url, indices, self.now)
            self._dirty[peer] = None

    def _tick(self, peer: SimPeer) -> None:
        if peer.is_gone or peer.finished_at is not None:
            return
        for stream in peer.taking:
            if stream.done > stream.moved_done:
                stream.moved_done = stream.done
                peer.picker.moved(stream.index, stream.giver.url if stream.giver is not None else peer.url, self.now)
        owed_bytes = peer.have.bit_count() * self.pieces.size * share_of(peer.url, self.dealers)
        peer.picker.sources.is_thin = is_thin(self._meter(peer), owed_bytes, self.now - peer.joined_at)
        self._carry(peer, peer.picker.tick(self.now, self.rng))
        self._at(self.now + TICK_SECONDS, self._tick, peer)

    # A requester

    def _ask_all(self) -> None:
        while self._dirty:
            dirty, self._dirty = self._dirty, {}
            for peer in dirty:
                if not peer.is_gone and peer.finished_at is None:
                    self._carry(peer, peer.picker.errands(self.now, self.rng))
                    self._wake_later(peer)

    def _wake_later(self, peer: SimPeer) -> None:
        at = peer.picker.next_at()
        if at is not None and at < peer.wake_at:
            peer.wake_at = at
            self._at(at, self._wake, peer, at)

    def _wake(self, peer: SimPeer, at: float) -> None:
        if at == peer.wake_at:  # else an earlier one has been since
            peer.wake_at = float("inf")
            self._dirty[peer] = None

    def _carry(self, peer: SimPeer, errands: list[Errand]) -> None:
        for errand in errands:
            self.outcome.questions_count += 1
            if errand.url == peer.url or errand.url is None:
                for index in errand.indices:
                    self._load(peer, index)
                continue
            source = self.by_url[errand.url]
            self._later(peer.place, source.place, self._asked, source, peer, errand)

    def _complete(self, stream: Transfer) -> None:
        """The present piece of a stream is all there."""
        peer, index, source = stream.taker, stream.index, stream.giver
        self._next_piece(stream)
        if source is None or stream.is_load:
            peer.loading.discard(index)
            self._load_next(peer)
            self._hold(peer, index, peer.url, 0.0)
            return
        if source.host.is_liar and not stream.is_first_hand:
            if peer.picker.is_flying(index):
                peer.picker.lied(source.url, index, self.now)
                self._dirty[peer] = None
            return
        if not stream.is_first_hand:
            self.outcome.second_hand_count += 1
        self._hold(peer, index, source.url, self.pieces.span(index)[1] - self.pieces.span(index)[0])

    def _hold(self, peer: SimPeer, index: int, url: str, size: float) -> None:
        peer.arriving.pop(index, None)
        for waiting in peer.waits.pop(index, ()):
            if waiting.index == index and not waiting.is_over:
                self._flow(waiting)
        if not peer.have >> index & 1:
            peer.have |= 1 << index
        if peer.picker is None:
            return
        losers = peer.picker.received(index, url, size, self.now) if size else peer.picker.have(index)
        for loser in losers:
            if loser not in (url, peer.url, None):
                self._drop(peer, self.by_url[loser], index)
        if peer.have.bit_count() == self.pieces.count and peer.finished_at is None:
            peer.finished_at = self.now
        self._dirty[peer] = None

    def _drop(self, peer: SimPeer, source: SimPeer, index: int) -> None:
        """Another flight was quicker."""
        for stream in [*peer.taking]:
            if stream.giver is source:
                if stream.index == index:
                    self._next_piece(stream)
                elif index in stream.queue:
                    stream.queue.remove(index)

    # A source

    def _asked(self, source: SimPeer, peer: SimPeer, errand: Errand) -> None:
        if peer.is_gone:
            return
        if source.is_gone:
            peer.picker.failed(source.url, errand.indices, self.now)
            self._dirty[peer] = None
            return
        given = []
        for index in errand.indices:
            if not peer.picker.is_flying(index):
                peer.picker.gave_up([index], source.url, self.now)
                continue
            is_here = bool(source.have >> index & 1) or index in source.loading or _has_begun(source.arriving.get(index))
            if source is self.streamer and source.finished_at is None and not errand.is_owners:
                self.outcome.refusals_count += 1
                wait = streaming_seconds(source.have.bit_count() / self.pieces.count, self.now - source.joined_at)
                peer.picker.refused(index, source.url, (), wait, self.now, self.rng)
                continue
            is_full = self._is_full(source)
            holders = source.tracker.refer(index, peer.url, self.rng) if is_full else []
            if holders or not (is_here or errand.is_owners) or (is_full and self.is_crowd and not errand.is_owners):
                self._refuse(source, peer, index, holders, is_here)
                continue
            given.append(index)
            source.tracker.took(index, peer.url)
            if errand.is_owners:
                self._load(source, index)
        peer.picker.knows(source.url, source.have, is_thin=source.picker.sources.is_thin)
        if given:
            stream = Transfer(self.fluid, source, peer, given, errand.is_owners)
            source.sending[stream] = None
            peer.taking[stream] = None
            source.open_count += 1
            self._next_piece(stream)
        self._dirty[peer] = None

    def _meter(self, source: SimPeer) -> float | None:
        rate = float(self.fluid.meter[source.place])
        return rate if rate == rate else None  # NaN: not measured

    def _is_full(self, source: SimPeer) -> bool:
        limited = self.fluid.limited_counts[source.place]
        return is_full(limited, source.open_count, self._meter(source), in_crowd=self.is_crowd)

    def _refuse(self, source: SimPeer, peer: SimPeer, index: int, holders: list[str], is_here: bool) -> None:
        self.outcome.refusals_count += 1
        limited = self.fluid.limited_counts[source.place]
        wait = retry_seconds(self._meter(source), self.pieces.size, limited) if is_here else 0.0
        peer.picker.refused(index, source.url, holders, wait, self.now, self.rng)

    def _next_piece(self, stream: Transfer) -> None:
        source, peer = stream.giver, stream.taker
        self._leave(stream)
        if not stream.queue:
            self._end(stream)
            return
        index = stream.index = stream.queue.pop(0)
        start, end = self.pieces.span(index)
        stream.begin(end - start)
        stream.moved_done = 0.0
        if stream.is_first_hand:
            self._unlink(peer, index)
            peer.arriving[index] = stream
        if source is None:
            self._flow(stream)
        elif source.have >> index & 1:
            self.fluid.limited_counts[source.place] += 1
            self._flow(stream)
        else:
            source.waits.setdefault(index, []).append(stream)
            feeder = source.arriving.get(index)
            if feeder is not None and feeder.place >= 0:
                self._flow(stream, feeder)

    def _flow(self, stream: Transfer, feeder: Transfer | None = None) -> None:
        """And with it those that it feeds."""
        if stream.giver is not None and stream.giver.host.is_mute:
            return
        stream.flow(feeder)
        for waiting in self._fed_by(stream):
            self._flow(waiting, stream)

    def _leave(self, stream: Transfer) -> None:
        """It brings its present piece no more, and those that it feeds wait for another."""
        if stream.taker.arriving.get(stream.index) is stream:
            self._unlink(stream.taker, stream.index)
        stream.halt()

    def _unlink(self, peer: SimPeer, index: int) -> None:
        stream = peer.arriving.get(index)
        if stream is not None:
            for waiting in self._fed_by(stream):
                self._halt(waiting)
            del peer.arriving[index]

    def _halt(self, stream: Transfer) -> None:
        stream.halt()
        for waiting in self._fed_by(stream):
            self._halt(waiting)

    def _fed_by(self, stream: Transfer) -> list[Transfer]:
        peer, index = stream.taker, stream.index
        if peer.arriving.get(index) is not stream:
            return []
        return [waiting for waiting in peer.waits.get(index, ()) if waiting.index == index and not waiting.is_over]

    def _end(self, stream: Transfer) -> None:
        self._leave(stream)
        stream.is_over = True
        source, peer = stream.giver, stream.taker
        peer.taking.pop(stream, None)
        if source is not None and stream in source.sending:
            source.sending.pop(stream, None)
            source.open_count -= 1

    # An owner's loads

    def _load(self, peer: SimPeer, index: int) -> None:
        if peer.have >> index & 1 or index in peer.loading or index in peer.to_load or _has_begun(peer.arriving.get(index)):
            return
        heappush(peer.to_load, index)
        self._load_next(peer)

    def _load_next(self, peer: SimPeer) -> None:
        while peer.to_load and len(peer.loading) < LOADS_MAX:
            index = heappop(peer.to_load)
            peer.loading.add(index)
            self._later(ORIGIN, peer.place, self._loads, peer, index)

    def _loads(self, peer: SimPeer, index: int) -> None:
        if peer.is_gone or peer.have >> index & 1:
            peer.loading.discard(index)
            return
        is_streamed = self.streamer is not None and not self.streamer.is_gone and self.streamer is not peer
        self._load_from(self.streamer if is_streamed else None, peer, [index])

    def _load_from(self, source: SimPeer | None, peer: SimPeer, indices: list[int]) -> None:
        stream = Transfer(self.fluid, source, peer, indices, is_first_hand=True, is_load=True)
        peer.taking[stream] = None
        if source is not None:
            source.sending[stream] = None
            source.open_count += 1
        self._next_piece(stream)


def _has_begun(stream: Transfer | None) -> bool:
    """What has not brought a byte yet is nothing to pass on."""
    return stream is not None and stream.done > 0.0
