"""The picker: a requester's side of a swarm. What to ask of whom next, as a value; the node carries it out and reports what became of it.

Each wanted piece is in one state: *wanted* (queued at some source, or resting), *flying*, or *held*. A piece is asked of its owner.
Where the owner is busy it names holders, and one of them is asked; where a source has nothing of its own left to give, it is asked for
pieces of others that it is known to hold (every answer tells what its sender has): so the idle carry for the slow. Where a source can't
be talked to, the next in the piece's own order stands in; the upstream itself is asked last.

Pieces are asked in file order, within a look-ahead of the first that is missing: everybody wants the same ones at about the same time,
which lets an owner pass each on while it arrives. Each is a question of its own: with two in one, the second waits for the first
although its bytes are there. Several are in flight for each source, so that no link runs dry while a question travels.

A flight is late when nothing has come of it for a multiple of what flights take, while others brought something: then a second one, to
another source, is begun beside it. A source that is silent altogether is taken for gone.

Nothing here looks at all sources for one event: a swarm may have a thousand. Times are monotonic seconds, given by the caller.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from minicdn.core.flights import Errand, Flight, Flights
from minicdn.core.pieces import Backups, Dealer, Pieces
from minicdn.core.sources import FLIGHTS_MORE, FLIGHTS_PER_SOURCE, STALLS_MAX, Source, Sources
from minicdn.core.wants import FLYING, HELD, UNWANTED, WANTED, Wants, indices, lowest
from minicdn.core.window import Window

if TYPE_CHECKING:
    import random

LOOK_AHEAD, FLIGHTS_MAX = 512, 512
"""Pieces. With 64 ahead all wait for the slowest owner: 1.85 in place of 1.25 with slow uplinks, 1.59 in place of 1.13 with 32 peers. And
as many flights as pieces are loading in the whole swarm, since each piece comes at its share of the upstream's rate."""
ATTEMPTS_MAX = 12
STALL_SECONDS_MIN, STALL_FACTOR, LOST_STALLS = 2.0, 4.0, 4.0
"""Lost: a flight that is so late is taken for lost: its piece is asked for anew, also of the same source."""
HEDGES_MAX, FLIGHTS_PER_PIECE = 16, 3
"""Second flights at the same time; and of one piece, beyond which the oldest is forgotten for another."""
LOOKS_MAX = 32
"""Idle sources that are looked at again for one event."""


class Picker:
    """dealers, owned: the deal (pieces.py). me: this node's URL, None where it is none of the dealers."""

    def __init__(self, key: str, pieces: Pieces, dealers: Sequence[Dealer], owned: Sequence[int], me: str | None) -> None:
        self.pieces = pieces
        self.me = me
        self._sources = Sources(me)
        self._flights = Flights(self._sources)
        self.backups = Backups(key, dealers)
        self._dealers = dealers
        self._owned = owned
        self._wants = Wants(pieces.count)
        self._state = self._wants.state
        self._queued_at: dict[int, str | None] = {}
        self._owners_only_mask = 0
        self._unheard_mask = -1
        self._window = Window(LOOK_AHEAD)
        self._eager: dict[str | None, None] = {}
        self._idle: dict[str | None, None] = {}
        self._resting: list[tuple[float, int]] = []
        self._waking: list[tuple[float, str]] = []

    @property
    def is_done(self) -> bool:
        """All that is wanted is held."""
        return not self._wants.missing_mask

    @property
    def flights_count(self) -> int:
        return self._flights.count

    @property
    def sources(self) -> Sources:
        return self._sources

    @sources.setter
    def sources(self, known: Sources) -> None:
        """What an earlier picker learned of the others; while nothing is under way."""
        known.nothing_asked()
        self._sources = known
        self._flights = Flights(known)

    def is_held(self, index: int) -> bool:
        return self._state[index] == HELD

    def is_flying(self, index: int) -> bool:
        return self._state[index] == FLYING

    # What is wanted, and what came of it

    def want(self, indices: Iterable[int], now: float) -> None:
        run: list[int] = []
        for index in indices:
            if self._state[index] == FLYING:
                self._flights.asked(index).is_fading = False
            if self._state[index] != UNWANTED:
                continue
            if run and index != run[-1] + 1:
                self._want_run(run, now)
                run = []
            run.append(index)
            self._wants.set(index, WANTED)
        if run:
            self._want_run(run, now)

    def _want_run(self, run: list[int], now: float) -> None:
        self._window.add(run[0], run[-1] + 1)
        self._window.look(self._wants.missing_mask, self._unheard_mask)
        self._wants.take_turns(run)
        for index in run:
            self._queue_in_order(index, now)

    def unwant(self, indices: Iterable[int]) -> None:
        """Nobody reads these any more. What is in flight may land, and is not asked for again."""
        for index in indices:
            if self._state[index] == WANTED:
                self._wants.set(index, UNWANTED)
            elif self._state[index] == FLYING:
                self._flights.asked(index).is_fading = True
        self._advance()

    def have(self, index: int) -> list[str | None]:
        """A piece is here and right. Returns who else is being asked for it, in vain now."""
        if self._state[index] == HELD:
            return []
        self._wants.set(index, HELD)
        losers = [flight.url for flight in self._flights.forget(index)]
        self._eager.update(dict.fromkeys(losers))
        self._advance()
        return losers

    def lose(self, index: int, now: float) -> None:
        """A piece that was held turned out damaged."""
        if self._state[index] == HELD:
            self._wants.set(index, UNWANTED)
            self.want([index], now)

    def moved(self, index: int, url: str | None, now: float) -> None:
        """Bytes of it have come."""
        self._flights.moved(index, url, now)

    def received(self, index: int, url: str | None, size: int, now: float) -> list[str | None]:
        """A flight brought its piece, and it is right. As have()."""
        self.moved(index, url, now)
        for flight in self._flights.of(index):
            if flight.url == url:
                self.sources.took(url, size, now - flight.began_at)
        return self.have(index)

    def knows(self, url: str, have_mask: int, *, is_thin: bool | None = None) -> None:
        """A source said what it holds, and (or it did not: None) of its uplink."""
        source = self.sources.get(url)
        source.have_mask |= have_mask
        source.is_thin = source.is_thin if is_thin is None else is_thin
        self._eager[url] = None
        if have_mask & self._unheard_mask:
            self._unheard_mask &= ~have_mask
            self._advance()

    def refused(self, index: int, url: str, holders: Iterable[str], retry_seconds: float, now: float, rng: random.Random) -> None:
        """Its owner is busy, and names others; or a holder has not got it (no holders, and no time to wait)."""
        source = self.sources.get(url)
        source.have_mask &= ~(1 << index)
        source.busy_until = max(source.busy_until, now + retry_seconds)
        for holder in holders:
            if holder != self.me:
                self.sources.get(holder).have_mask |= 1 << index
        if not self._end_flight(index, url):
            return
        is_open = not self._owners_only_mask >> index & 1
        room = FLIGHTS_MORE if source.is_thin else FLIGHTS_PER_SOURCE
        known = self.sources.choose(index, now, rng, besides=(url, self.me), room=room) if is_open else None
        if known is not None:
            self._queue(index, known, is_referred=True)
        else:
            heappush(self._resting, (now + self._flights.asked(index).refused(retry_seconds) * (0.5 + rng.random()), index))

    def failed(self, url: str | None, indices: Iterable[int], now: float) -> None:
        """The source can't be talked to, or broke off: it rests, and others are asked for these and for what was queued at it."""
        self.sources.get(url).fail(now)
        for index in indices:
            if self._end_flight(index, url):
                self._stand_in(index, url, now)
        self._clear_queue(url, now)

    def lied(self, url: str, index: int, now: float) -> bool:
        """Its bytes were not those of the piece. True: once too often, and it is asked no more."""
        is_shunned = self.sources.get(url).lie(now)
        if self._end_flight(index, url):
            self._stand_in(index, url, now)
        self._clear_queue(url, now)
        return is_shunned

    def distrust(self, index: int, url: str, now: float) -> None:
        """A holder's bytes that nobody can vouch for: from now on only owners are asked for this piece, and those who stand in for them."""
        self._owners_only_mask |= 1 << index
        if self._end_flight(index, url):
            self._queue_in_order(index, now)

    def gave_up(self, indices: Iterable[int], url: str | None, now: float) -> None:
        """An errand ended without these; nobody is to blame."""
        for index in indices:
            if self._end_flight(index, url):
                self._queue_in_order(index, now)

    # What to do next

    def errands(self, now: float, rng: random.Random) -> list[Errand]:
        """What to ask now; each is under way from here on."""
        self._wake(now)
        while self._waking and self._waking[0][0] <= now:
            self._eager[heappop(self._waking)[1] or None] = None
        found: list[Errand] = []
        while self._eager and self._flights.count < FLIGHTS_MAX:
            url = next(iter(self._eager))
            del self._eager[url]
            self._take(self.sources.get(url), now, found)
        return found

    def _wake(self, now: float) -> None:
        """What has rested is asked for again."""
        while self._resting and self._resting[0][0] <= now:
            _, index = heappop(self._resting)
            if self._state[index] == WANTED:
                self._queue_in_order(index, now)

    def tick(self, now: float, rng: random.Random) -> list[Errand]:
        """Now and then: look at idle sources again, and begin second flights for what is late."""
        self._look_again()
        late = self._hedge(now, rng)
        return self.errands(now, rng) + late

    def next_at(self) -> float | None:
        """When a resting piece or source comes up again."""
        return min((heap[0][0] for heap in (self._resting, self._waking) if heap), default=None)

    def _take(self, source: Source, now: float, found: list[Errand]) -> None:
        self._idle.pop(source.url, None)
        while self._flights.count < FLIGHTS_MAX:
            if source.flights_count >= self.sources.flights_max(source, self._flights.count, self._unheard_mask & self._wants.missing_mask):
                if not source.flights_count:
                    self._idle[source.url] = None
                return
            if source.is_resting(now):
                heappush(self._waking, (source.resting_until, source.url or ""))
                return
            errand = self._queued(source) or self._steal(source, now)
            if errand is None:
                self._idle[source.url] = None
                return
            self._fly(errand.indices[0], source.url, now)
            found.append(errand)
        self._eager[source.url] = None

    def _queued(self, source: Source) -> Errand | None:
        """What waits for it: as a holder, then as an owner."""
        for queue, is_owners in ((source.referred, False), (source.own, True)):
            while queue:
                _, index = queue[0]
                if self._state[index] == WANTED and not self._window.mask >> index & 1:
                    break
                heappop(queue)
                if self._state[index] == WANTED:
                    return Errand(source.url, (index,), is_owners)
        return None

    def _steal(self, source: Source, now: float) -> Errand | None:
        """A piece of others that it holds."""
        if not source.may_hold_for_us(now):
            return None
        mask = source.have_mask & self._wants.mask & self._window.mask & ~self._owners_only_mask
        return Errand(source.url, (self._stolen(source, mask),), False) if mask else None

    def _stolen(self, source: Source, mask: int) -> int:
        """Which of those that it holds: the first one in the file."""
        return lowest(mask)

    def _look_again(self) -> None:
        for _ in range(min(LOOKS_MAX, len(self._idle))):
            url = next(iter(self._idle))
            del self._idle[url]
            self._eager[url] = None

    # What is late

    def _hedge(self, now: float, rng: random.Random) -> list[Errand]:
        stall_seconds = max(STALL_SECONDS_MIN, STALL_FACTOR * self.sources.mean_seconds)
        if now - self._flights.moved_at > stall_seconds:
            stall_seconds *= STALL_FACTOR  # nobody brings anything: a second question would hardly help
        found: list[Errand] = []
        for index, flights in self._flights.all():
            if not flights:
                continue  # ended meanwhile, with all that its source was asked
            latest = max(flights, key=lambda flight: flight.moved_at)
            if latest.url not in (None, self.me) and now - latest.moved_at >= stall_seconds:
                self._late(index, latest, now - latest.moved_at > LOST_STALLS * stall_seconds, now, rng, found)
        return found

    def _late(self, index: int, latest: Flight, is_lost: bool, now: float, rng: random.Random, found: list[Errand]) -> None:
        """Nothing has come of a piece for too long."""
        source = self.sources.get(latest.url)
        if source.moved_at < latest.began_at or source.stalls_count >= STALLS_MAX:
            source.silent(now)
            self._clear_flights(source, now)
        elif is_lost:
            if self._end_flight(index, latest.url):
                self._stand_in(index, latest.url, now)
        elif self.sources.mean_seconds and self._flights.hedges_count < HEDGES_MAX:
            errand = self._second(index, self._flights.of(index), now, rng)
            if errand is not None:
                source.stalled(now)
                self._fly(index, errand.url, now, is_hedge=True)
                found.append(errand)

    def _clear_flights(self, source: Source, now: float) -> None:
        """All that is under way there is as good as lost, and what is queued there waits in vain."""
        for index, flights in self._flights.all():
            if any(flight.url == source.url for flight in flights) and self._end_flight(index, source.url):
                self._stand_in(index, source.url, now)
        self._clear_queue(source.url, now)

    def _second(self, index: int, flights: list[Flight], now: float, rng: random.Random) -> Errand | None:
        asked = {flight.url for flight in flights}
        if len(asked) >= FLIGHTS_PER_PIECE:
            self._end_flight(index, flights[0].url)
        is_open = not self._owners_only_mask >> index & 1
        source = self.sources.choose(index, now, rng, besides=(*asked, self.me), room=FLIGHTS_MORE) if is_open else None
        if source is not None:
            return Errand(source.url, (index,), False)
        for url in self.backups.urls(index):
            if url not in asked and not self.sources.get(url).is_resting(now):
                return Errand(url, (index,), True)
        return Errand(None, (index,), True) if None not in asked else None

    # Book-keeping

    def _queue_in_order(self, index: int, now: float) -> None:
        """At its owner; while that rests, at the first in the piece's own order who does not; at last at the upstream."""
        owner = self.sources.get(self._dealers[self._owned[index]].url if self._owned else None)
        if not owner.is_resting(now):
            self._queue(index, owner)
            return
        for url in self.backups.urls(index):
            source = self.sources.get(url)
            if not source.is_resting(now):
                self._queue(index, source)
                return
        self._queue(index, self.sources.get(None))

    def _queue(self, index: int, source: Source, *, is_referred: bool = False) -> None:
        heappush(source.referred if is_referred else source.own, (self._wants.turn(index), index))
        self._queued_at[index] = source.url
        self._eager[source.url] = None

    def _clear_queue(self, url: str | None, now: float) -> None:
        """What waits for a source that rests now waits for others."""
        for _, index in self.sources.get(url).drain():
            if self._state[index] == WANTED and self._queued_at.get(index) == url:
                self._stand_in(index, url, now)

    def _stand_in(self, index: int, url: str | None, now: float) -> None:
        """Another one's turn; after so many attempts, the upstream's; after that, everybody's again."""
        asked = self._flights.asked(index)
        asked.attempts = asked.attempts + 1 if url is not None else 0
        if asked.attempts <= ATTEMPTS_MAX:
            self._queue_in_order(index, now)
        else:
            self._queue(index, self.sources.get(None))

    def _fly(self, index: int, url: str | None, now: float, *, is_hedge: bool = False) -> None:
        self._wants.set(index, FLYING)
        self._queued_at.pop(index, None)
        self._flights.begin(index, url, now, is_hedge=is_hedge)

    def _end_flight(self, index: int, url: str | None) -> bool:
        """True: that was the piece's only flight, and it is to be queued again."""
        if not self._flights.end(index, url):
            return False
        self._eager[url] = None
        asked = self._flights.asked(index)
        if asked.flights:
            return False
        self._wants.set(index, UNWANTED if asked.is_fading else WANTED)
        if asked.is_fading:
            self._flights.forget(index)
            self._advance()
        return self._state[index] == WANTED

    def _advance(self) -> None:
        """The window moves on: who is asked for what is new in it, and some who may have it, are looked at again."""
        fresh = self._window.look(self._wants.missing_mask, self._unheard_mask) & self._wants.mask
        for index in indices(fresh):
            if index in self._queued_at:
                self._eager[self._queued_at[index]] = None
        if fresh:
            self._look_again()
