"""The picker: a requester's side of a swarm. What to ask of whom next, as a value; the node carries it out and reports what became of it.

Each wanted piece is in one state: *wanted* (queued at some source), *in flight*, or *held*. A piece is asked of its owner. Where the owner
is busy it names holders, and one of them is asked; where a source has nothing of its own left to give, it is asked for pieces of others that
it is known to hold (every answer tells what its sender has): so the idle carry for the slow. Where a source can't be talked to, the next in the
piece's own order stands in; the upstream itself is asked last.

Pieces are asked in file order, within a look-ahead of the first that is missing: everybody wants the same ones at about the same time, which lets
an owner pass each on while it arrives. Several are in flight for each source, so that no link runs dry while a question travels.

A flight is late when nothing has come of it for a multiple of what flights take: then a second one, to another source, is begun beside it.
Times are monotonic seconds, given by the caller; `rng` decides between equals.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from minicdn.core.pieces import Dealer, Pieces, backups
from minicdn.core.sources import Source, Sources

if TYPE_CHECKING:
    import random

FLIGHTS_PER_SOURCE = 4
BATCH = 2
"""Pieces in one question: half as many questions, and still two under way at each source."""
LOOK_AHEAD_PER_SOURCE = 8
LOOK_AHEAD_MIN, LOOK_AHEAD_MAX = 64, 1024
FLIGHTS_MAX = 256
ATTEMPTS_MAX = 12
STALL_SECONDS_MIN, STALL_FACTOR = 2.0, 4.0
HEDGES_MAX = 16
"""Second flights at the same time, at most."""
UNWANTED, WANTED, FLYING, HELD = range(4)


@dataclass(frozen=True, slots=True)
class Errand:
    """Ask `url` for these pieces; None: the upstream, by this node itself, as the last resort. is_owners: asked as their owner (or as one
    that stands in for it): it fetches what it has not got, and its word on their digests counts."""

    url: str | None
    indices: tuple[int, ...]
    is_owners: bool = True


@dataclass(slots=True)
class _Flight:
    url: str | None
    began_at: float
    moved_at: float
    is_hedge: bool = False


@dataclass(slots=True)
class _Piece:
    flights: list[_Flight] = field(default_factory=list)
    attempts: int = 0


class Picker:
    """dealers, owned: the deal (pieces.py). me: this node's URL, None where it is none of the dealers."""

    def __init__(self, key: str, pieces: Pieces, dealers: Sequence[Dealer], owned: Sequence[int], me: str | None) -> None:
        self.pieces = pieces
        self.me = me
        self.sources = Sources(me)
        self._key = key
        self._dealers = dealers
        self._owned = owned
        self._state = bytearray(pieces.count)
        self._pieces: dict[int, _Piece] = {}
        self._wanted_mask = 0
        self._missing_count = 0
        self._frontier = 0
        self._eager: set[str | None] = set()
        self._resting: list[tuple[float, int]] = []
        self._flights_count = self._hedges_count = 0
        self._look_ahead = min(max(LOOK_AHEAD_PER_SOURCE * len(dealers), LOOK_AHEAD_MIN), LOOK_AHEAD_MAX)

    @property
    def is_done(self) -> bool:
        """All that is wanted is held."""
        return self._missing_count == 0

    @property
    def flights_count(self) -> int:
        return self._flights_count

    def is_held(self, index: int) -> bool:
        return self._state[index] == HELD

    def is_flying(self, index: int) -> bool:
        return self._state[index] == FLYING

    # What is wanted, and what came of it

    def want(self, indices: Iterable[int], now: float) -> None:
        for index in indices:
            if self._state[index] == UNWANTED:
                self._missing_count += 1
                self._frontier = min(self._frontier, index)
                self._queue_in_order(index, now)
        self._advance()

    def unwant(self, indices: Iterable[int]) -> None:
        """Nobody reads these any more. What is in flight may land."""
        for index in indices:
            if self._state[index] == WANTED:
                self._missing_count -= 1
                self._set(index, UNWANTED)
        self._advance()

    def have(self, index: int) -> list[str | None]:
        """A piece is here and right. Returns who else is being asked for it, in vain now."""
        state = self._state[index]
        if state == HELD:
            return []
        if state != UNWANTED:
            self._missing_count -= 1
        self._set(index, HELD)
        piece = self._pieces.pop(index, None)
        losers = [flight.url for flight in piece.flights] if piece is not None else []
        for flight in piece.flights if piece is not None else ():
            self._landed(flight)
        self._advance()
        return losers

    def lose(self, index: int, now: float) -> None:
        """A piece that was held turned out damaged."""
        if self._state[index] == HELD:
            self._missing_count += 1
            self._frontier = min(self._frontier, index)
            self._queue_in_order(index, now)

    def moved(self, index: int, url: str | None, now: float) -> None:
        """Bytes of it have come."""
        for flight in self._flights(index):
            if flight.url == url:
                flight.moved_at = now

    def received(self, index: int, url: str | None, size: int, now: float) -> list[str | None]:
        """A flight brought its piece, and it is right. As have()."""
        for flight in self._flights(index):
            if flight.url == url:
                self.sources.took(url, size, now - flight.began_at)
        return self.have(index)

    def knows(self, url: str, have_mask: int) -> None:
        """A source said what it holds."""
        source = self.sources.get(url)
        source.have_mask |= have_mask
        self._eager.add(url)

    def refused(self, index: int, url: str, holders: Iterable[str], retry_seconds: float, now: float, rng: random.Random) -> None:
        """Its owner is busy, and names others; or a holder has not got it (no holders, and no time to wait)."""
        self._end_flight(index, url)
        source = self.sources.get(url)
        source.have_mask &= ~(1 << index)
        if self._state[index] != WANTED:
            return
        for holder in holders:
            if holder != self.me:
                self.sources.get(holder).have_mask |= 1 << index
        known = self.sources.choose(index, now, rng, besides=(url, self.me), room=FLIGHTS_PER_SOURCE)
        if known is not None:
            self._queue(index, known, is_referred=True)
        else:
            heappush(self._resting, (now + retry_seconds * (0.5 + rng.random()), index))

    def failed(self, url: str | None, indices: Iterable[int], now: float) -> None:
        """The source can't be talked to, or broke off: it rests, and others are asked for these and for what was queued at it."""
        source = self.sources.get(url)
        source.fail(now)
        for index in indices:
            self._end_flight(index, url)
            self._stand_in(index, now)
        for index in source.drain():
            if self._state[index] == WANTED:
                self._stand_in(index, now)

    def lied(self, url: str, index: int, now: float) -> bool:
        """Its bytes were not those of the piece. True: once too often, and it is asked no more."""
        self._end_flight(index, url)
        is_shunned = self.sources.get(url).lie(now)
        self._stand_in(index, now)
        return is_shunned

    def gave_up(self, indices: Iterable[int], url: str | None, now: float) -> None:
        """An errand ended without these; nobody is to blame."""
        for index in indices:
            if self._end_flight(index, url) and self._state[index] == WANTED:
                self._queue_in_order(index, now)

    # What to do next

    def errands(self, now: float, rng: random.Random) -> list[Errand]:
        """What to ask now; each is under way from here on."""
        while self._resting and self._resting[0][0] <= now:
            _, index = heappop(self._resting)
            if self._state[index] == WANTED:
                self._queue_in_order(index, now)
        found: list[Errand] = []
        eager, self._eager = self._eager, set()
        for url in sorted(eager, key=lambda url: url or ""):
            self._take(self.sources.get(url), now, found)
        return found

    def tick(self, now: float, rng: random.Random) -> list[Errand]:
        """Now and then: look at everybody again, and begin second flights for what is late."""
        self._eager.update(self.sources.urls())
        found = self.errands(now, rng)
        return found + self._hedge(now, rng)

    def next_at(self) -> float | None:
        """When a resting piece comes up again."""
        return self._resting[0][0] if self._resting else None

    def _take(self, source: Source, now: float, found: list[Errand]) -> None:
        while self._flights_count < FLIGHTS_MAX:
            room = min(FLIGHTS_PER_SOURCE - source.flights_count, BATCH)
            if room <= 0 or source.is_resting(now):
                return
            errand = self._batch(source, room) or self._steal(source, room)
            if errand is None:
                return
            for index in errand.indices:
                self._fly(index, source.url, now)
            found.append(errand)
        self._eager.add(source.url)

    def _batch(self, source: Source, room: int) -> Errand | None:
        for queue, is_owners in ((source.referred, False), (source.own, True)):
            indices: list[int] = []
            while queue and len(indices) < room:
                index = queue[0]
                if self._state[index] == WANTED and index >= self._frontier + self._look_ahead:
                    break
                heappop(queue)
                if self._state[index] == WANTED and index not in indices:
                    indices.append(index)
            if indices:
                return Errand(source.url, tuple(indices), is_owners)
        return None

    def _steal(self, source: Source, room: int) -> Errand | None:
        """Pieces of others that it holds, the first ones in the file."""
        mask = source.have_mask & self._wanted_mask
        indices: list[int] = []
        while mask and len(indices) < room:
            lowest = mask & -mask
            index = lowest.bit_length() - 1
            if index >= self._frontier + self._look_ahead:
                break
            indices.append(index)
            mask ^= lowest
        return Errand(source.url, tuple(indices), False) if indices else None

    def _hedge(self, now: float, rng: random.Random) -> list[Errand]:
        stall_seconds = max(STALL_SECONDS_MIN, STALL_FACTOR * self.sources.mean_seconds)
        found: list[Errand] = []
        for index, piece in list(self._pieces.items()):
            if len(piece.flights) != 1 or self._hedges_count >= HEDGES_MAX:
                continue
            flight = piece.flights[0]
            if flight.url is None or flight.url == self.me or now - flight.moved_at < stall_seconds:
                continue
            errand = self._second(index, flight, now, rng)
            if errand is not None:
                self.sources.get(flight.url).stalled(now)
                self._fly(index, errand.url, now, is_hedge=True)
                found.append(errand)
        return found

    def _second(self, index: int, flight: _Flight, now: float, rng: random.Random) -> Errand | None:
        besides = (flight.url, self.me)
        source = self.sources.choose(index, now, rng, besides=besides, room=FLIGHTS_PER_SOURCE + 1)
        if source is not None:
            return Errand(source.url, (index,), False)
        for place in backups(self._key, index, self._dealers):
            url = self._dealers[place].url
            if url != flight.url and not self.sources.get(url).is_resting(now):
                return Errand(url, (index,), True)
        return Errand(None, (index,), True)

    # Book-keeping

    def _queue_in_order(self, index: int, now: float) -> None:
        """At its owner; while that rests, at the first in the piece's own order who does not; at last at the upstream."""
        owner = self.sources.get(self._dealers[self._owned[index]].url if self._owned else None)
        if not owner.is_resting(now):
            self._queue(index, owner)
            return
        for place in backups(self._key, index, self._dealers):
            source = self.sources.get(self._dealers[place].url)
            if not source.is_resting(now):
                self._queue(index, source)
                return
        self._queue(index, self.sources.get(None))

    def _queue(self, index: int, source: Source, *, is_referred: bool = False) -> None:
        self._set(index, WANTED)
        heappush(source.referred if is_referred else source.own, index)
        self._eager.add(source.url)

    def _stand_in(self, index: int, now: float) -> None:
        """Another one's turn; after so many attempts, the upstream's."""
        if self._state[index] != WANTED:
            return
        piece = self._pieces.setdefault(index, _Piece())
        piece.attempts += 1
        if piece.attempts <= ATTEMPTS_MAX:
            self._queue_in_order(index, now)
        else:
            self._queue(index, self.sources.get(None))

    def _fly(self, index: int, url: str | None, now: float, *, is_hedge: bool = False) -> None:
        self._set(index, FLYING)
        self._pieces.setdefault(index, _Piece()).flights.append(_Flight(url, now, now, is_hedge))
        self.sources.get(url).flights_count += 1
        self._flights_count += 1
        self._hedges_count += is_hedge

    def _flights(self, index: int) -> list[_Flight]:
        piece = self._pieces.get(index)
        return piece.flights if piece is not None else []

    def _end_flight(self, index: int, url: str | None) -> bool:
        """Whether there was one."""
        flights = self._flights(index)
        flight = next((flight for flight in flights if flight.url == url), None)
        if flight is not None:
            flights.remove(flight)
            self._landed(flight)
        if not flights and self._state[index] == FLYING:
            self._set(index, WANTED)
        return flight is not None

    def _landed(self, flight: _Flight) -> None:
        self.sources.get(flight.url).flights_count -= 1
        self._flights_count -= 1
        self._hedges_count -= flight.is_hedge
        self._eager.add(flight.url)

    def _set(self, index: int, state: int) -> None:
        self._state[index] = state
        bit = 1 << index
        self._wanted_mask = self._wanted_mask | bit if state == WANTED else self._wanted_mask & ~bit

    def _advance(self) -> None:
        count, state, was = len(self._state), self._state, self._frontier
        while self._frontier < count and state[self._frontier] in (HELD, UNWANTED):
            self._frontier += 1
        if self._frontier != was:
            self._eager.update(self.sources.urls())
