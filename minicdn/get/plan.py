"""Which piece of a large file to ask of whom next, as values; the download carries it out and reports what became of it. Pure.

Each piece is asked of the peer that it is dealt to (core/pieces.py), in file order, FLIGHTS_PER_SOURCE at once of each. A peer slower than
most has fewer in flight; one that has nothing left takes over from the one that needs longest for what it has left. What a peer that fails
leaves behind goes to the next in each piece's own order, and where no peer is left, to the upstream.

A flight from which nothing came for SILENT_SECONDS, while others move or idle, or that takes far longer than pieces take, gets a second
one beside it that begins where the first one stands. Whoever is there first wins; both write the same bytes, since both carry the same
validator.

Times are monotonic seconds, given by the caller.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import ceil
from statistics import median

from minicdn.core.pieces import Dealer, Pieces, backups, deal
from minicdn.core.spans import SpanSet

FLIGHTS_PER_SOURCE = 4
FLIGHTS_MAX = 64
HEDGES_MAX = 4
SILENT_SECONDS = 2.0
LATE_FACTOR, LATE_SECONDS_MIN = 4.0, 1.0
LATE_FACTOR_AT_END = 2.0
REST_SECONDS_MIN, REST_SECONDS_MAX = 0.5, 15.0
ASIDE_SECONDS, ASIDE_SECONDS_MAX = 5.0, 60.0
FAILURES_MAX = 5
"""In a row; a source that failed so often is not waited for."""
SMOOTHING = 0.3


@dataclass(slots=True, eq=False)
class Flight:
    """A question under way to source number `place`, for the bytes [start, end); `at` is the next of them."""

    place: int
    start: int
    end: int
    at: int
    began_at: float
    moved_at: float
    is_hedge: bool = False


@dataclass(slots=True)
class _Source:
    url: str
    queue: list[int] = field(default_factory=list)
    wanted_count: int = 0
    flights_count: int = 0
    bytes_per_second: float = 0.0
    moved_bytes: int = 0
    failures_count: int = 0
    stalls_count: int = 0
    resting_until: float = 0.0
    is_out: bool = False

    def is_able(self, now: float) -> bool:
        return not self.is_out and now >= self.resting_until


class Plan:
    """held: what is there already; the caller adds to it, then says moved(). last: whom to ask when no peer is left (None: nobody).

    look_ahead: no piece is asked that lies so many pieces behind the first missing one (None: no bound)."""

    def __init__(
        self, key: str, pieces: Pieces, dealers: Sequence[Dealer], held: SpanSet, *, last: str | None = None, look_ahead: int | None = None
    ) -> None:
        self._key, self._pieces, self._dealers, self._held, self._look_ahead = key, pieces, dealers, held, look_ahead
        self._sources = [_Source(dealer.url) for dealer in dealers] + ([_Source(last)] if last else [])
        self._owned = deal(key, pieces.count, dealers)
        self._home: dict[int, int] = {}
        self._flights: list[Flight] = []
        self._paces: deque[float] = deque(maxlen=64)
        self._ticked_at: float | None = None
        self._frontier = 0
        for index in range(pieces.count):
            if not held.covers(*pieces.span(index)):
                self._want(index, self._owned[index] if self._owned else len(self._sources) - 1)

    # What is so

    @property
    def is_done(self) -> bool:
        return self._held.covers(0, self._pieces.length)

    @property
    def is_hopeless(self) -> bool:
        """Nothing is under way, and nobody is worth waiting for."""
        return not self._flights and all(source.is_out or source.failures_count >= FAILURES_MAX for source in self._sources)

    def url_of(self, flight: Flight) -> str:
        return self._sources[flight.place].url

    def is_over(self, flight: Flight) -> bool:
        """Whether the rest of what it was to bring is there."""
        return self._held.covers(flight.at, flight.end)

    # What to do next

    def next(self, now: float) -> list[Flight]:
        """What to ask now; each is under way from here on."""
        found: list[Flight] = []
        bound = min(FLIGHTS_PER_SOURCE * len(self._sources), FLIGHTS_MAX)
        usual = self._usual_speed(now)
        while len(self._flights) < bound and self._home:
            flight = self._next_flight(now, usual)
            if flight is None:
                break
            found.append(flight)
        return found

    def adopt(self, url: str, start: int, end: int, now: float) -> Flight | None:
        """A flight that the caller began itself, before the plan; None where the source is none of ours."""
        place = next((place for place, source in enumerate(self._sources) if source.url == url), None)
        if place is None:
            return None
        for index in self._pieces.touching(start, end):
            self._unwant(index)
        return self._begin(place, start, end, now)

    def tick(self, now: float) -> list[Flight]:
        """A few times a second: measures speeds, and gives second flights for what is late."""
        passed = now - self._ticked_at if self._ticked_at is not None else 0.0
        self._ticked_at = now
        if passed > SILENT_SECONDS / 2:  # we were held up ourselves: nobody's silence proves anything
            for flight in self._flights:
                flight.moved_at, flight.began_at = flight.moved_at + passed, flight.began_at + passed
        self._measure(passed)
        self._take_homes_back(now)
        return list(self._hedges(now))

    # What became of it

    def moved(self, flight: Flight, size: int, now: float) -> list[Flight]:
        """So many bytes came, and are held. Returns flights that are of no use any more."""
        flight.at += size
        flight.moved_at = now
        source = self._sources[flight.place]
        source.moved_bytes += size
        for index in self._pieces.touching(flight.at - size, flight.at):
            if self._held.covers(*self._pieces.span(index)):
                self._unwant(index)
        rivals = [other for other in self._flights if other is not flight and other.start < flight.end and flight.start < other.end]
        return [rival for rival in rivals if self.is_over(rival)]

    def ended(self, flight: Flight, now: float) -> None:
        """It brought what it was to bring, or others did."""
        self._land(flight, now)
        source = self._sources[flight.place]
        if flight.at >= flight.end:
            source.failures_count = source.stalls_count = 0
            self._paces.append((now - flight.began_at) / (flight.end - flight.start))

    def failed(self, flight: Flight, now: float, *, is_final: bool = False) -> None:
        """The source can't be talked to, or broke off. is_final: it is not asked again."""
        source = self._sources[flight.place]
        if now >= source.resting_until or not source.failures_count:
            source.failures_count += 1  # four flights that end with one connection are one failure
        source.is_out |= is_final
        source.resting_until = max(source.resting_until, now + min(REST_SECONDS_MIN * 2 ** (source.failures_count - 1), REST_SECONDS_MAX))
        self._land(flight, now)
        self._rehome(flight.place, now)

    # Inside: choosing

    def _next_flight(self, now: float, usual: float) -> Flight | None:
        rows = [
            (source.flights_count / room, place)
            for place, source in enumerate(self._sources)
            if source.is_able(now) and source.flights_count < (room := self._room(source, usual))
        ]
        limit = self._limit()
        for _, place in sorted(rows):
            index = self._take(place, limit) if self._sources[place].wanted_count else None
            if index is None and place < len(self._dealers):
                index = self._take_over(place, limit)
            if index is not None:
                gaps = self._held.gaps(*self._pieces.span(index))
                return self._begin(place, gaps[0][0], gaps[-1][1], now)
        return None

    def _room(self, source: _Source, usual: float) -> int:
        if source.failures_count:
            return 1
        if not usual or not source.bytes_per_second:
            return FLIGHTS_PER_SOURCE
        return min(max(ceil(FLIGHTS_PER_SOURCE * source.bytes_per_second / usual), 1), FLIGHTS_PER_SOURCE)

    def _usual_speed(self, now: float) -> float:
        speeds = [source.bytes_per_second for source in self._sources if source.bytes_per_second and source.is_able(now)]
        return median(speeds) if len(speeds) > 1 else 0.0

    def _limit(self) -> int:
        if self._look_ahead is None:
            return self._pieces.count
        self._frontier = self._held.reach(0) // self._pieces.size
        return self._frontier + self._look_ahead

    def _take(self, place: int, limit: int) -> int | None:
        """The first piece that waits for this source."""
        queue = self._sources[place].queue
        while queue and self._home.get(queue[0]) != place:
            heappop(queue)
        if not queue or queue[0] >= limit:
            return None
        index = heappop(queue)
        self._unwant(index)
        return index

    def _take_over(self, place: int, limit: int) -> int | None:
        """A piece of the source that will need longest for what waits for it."""
        rows = [
            (source.wanted_count / (source.bytes_per_second or 1.0), other)
            for other, source in enumerate(self._sources)
            if other != place and source.wanted_count
        ]
        for _, other in sorted(rows, reverse=True):
            index = self._take(other, limit)
            if index is not None:
                return index
        return None

    def _hedges(self, now: float) -> Iterator[Flight]:
        room = HEDGES_MAX - sum(flight.is_hedge for flight in self._flights)
        for flight in list(self._flights):
            if room <= 0:
                return
            is_silent = self._is_silent(flight, now)
            if flight.is_hedge or self.is_over(flight) or not (is_silent or self._is_slow(flight, now)) or self._has_rival(flight):
                continue
            index = flight.at // self._pieces.size
            place = self._stand_in(index, flight.place, now)
            if place is None:
                continue
            if is_silent:
                self._set_aside(flight.place, now)
            room -= 1
            yield self._begin(place, flight.at, min(self._pieces.span(index)[1], flight.end), now, is_hedge=True)

    def _is_silent(self, flight: Flight, now: float) -> bool:
        """Where all are silent, what they wait for is the same, and nobody else would be quicker."""
        if now - flight.moved_at < SILENT_SECONDS:
            return False
        peers = enumerate(self._sources[: len(self._dealers)])
        others = [source for place, source in peers if place != flight.place and source.is_able(now)]
        is_moving = any(now - other.moved_at < SILENT_SECONDS and other.at > other.start for other in self._flights)
        return is_moving or any(not source.flights_count for source in others)

    def _is_slow(self, flight: Flight, now: float) -> bool:
        if len(self._paces) < 4:
            return False
        factor = LATE_FACTOR if self._home else LATE_FACTOR_AT_END
        usual = median(self._paces) * (flight.end - flight.start)
        return now - flight.began_at > max(LATE_SECONDS_MIN, factor * usual)

    def _has_rival(self, flight: Flight) -> bool:
        return any(other is not flight and other.start <= flight.at < other.end for other in self._flights)

    def _stand_in(self, index: int, besides: int, now: float) -> int | None:
        """The first in the piece's own order that has a flight to spare; the upstream where no peer is able."""
        able = [place for place in self._order(index) if place != besides and self._sources[place].is_able(now)]
        for place in able:
            if self._sources[place].flights_count <= FLIGHTS_PER_SOURCE:
                return place
        return self._last(now) if not able and besides < len(self._dealers) else None

    def _order(self, index: int) -> list[int]:
        return backups(self._key, index, self._dealers)

    def _last(self, now: float) -> int | None:
        place = len(self._dealers)
        return place if place < len(self._sources) and self._sources[place].is_able(now) else None

    # Inside: book-keeping

    def _want(self, index: int, place: int) -> None:
        self._unwant(index)
        self._home[index] = place
        self._sources[place].wanted_count += 1
        heappush(self._sources[place].queue, index)

    def _unwant(self, index: int) -> None:
        place = self._home.pop(index, None)
        if place is not None:
            self._sources[place].wanted_count -= 1

    def _begin(self, place: int, start: int, end: int, now: float, *, is_hedge: bool = False) -> Flight:
        flight = Flight(place, start, end, start, now, now, is_hedge)
        self._flights.append(flight)
        self._sources[place].flights_count += 1
        return flight

    def _land(self, flight: Flight, now: float) -> None:
        """Out of the air; what it leaves open, and nobody else is bringing, is wanted again."""
        self._flights.remove(flight)
        self._sources[flight.place].flights_count -= 1
        for index in self._pieces.touching(flight.start, flight.end):
            start, end = self._pieces.span(index)
            is_open = index not in self._home and not self._held.covers(start, end)
            if is_open and not any(other.at < end and start < other.end for other in self._flights):
                self._want(index, self._home_of(index, flight.place, now))

    def _home_of(self, index: int, place: int, now: float) -> int:
        if self._sources[place].is_able(now):
            return place
        able = [place for place in self._order(index) if self._sources[place].is_able(now)]
        last = self._last(now)
        return able[0] if able else place if last is None else last

    def _rehome(self, place: int, now: float) -> None:
        for index in [index for index, home in self._home.items() if home == place]:
            self._want(index, self._home_of(index, place, now))

    def _take_homes_back(self, now: float) -> None:
        """What waits for one who rests goes to who does not, once there is somebody; and back to the peers from the upstream."""
        last = len(self._dealers)
        is_peer_able = any(source.is_able(now) for source in self._sources[:last])
        for place, source in enumerate(self._sources):
            if source.wanted_count and (not source.is_able(now) or (place == last and is_peer_able)):
                for index in [index for index, home in self._home.items() if home == place]:
                    order = [other for other in self._order(index) if self._sources[other].is_able(now)]
                    if order:
                        self._want(index, order[0])
                    elif self._last(now) is not None:
                        self._want(index, last)

    def _set_aside(self, place: int, now: float) -> None:
        source = self._sources[place]
        if now >= source.resting_until:
            source.stalls_count += 1
            source.resting_until = now + min(ASIDE_SECONDS * 2 ** (source.stalls_count - 1), ASIDE_SECONDS_MAX)

    def _measure(self, passed: float) -> None:
        for source in self._sources:
            if passed > 0 and (source.flights_count or source.moved_bytes):
                speed = source.moved_bytes / passed
                source.bytes_per_second += (speed - source.bytes_per_second) * (SMOOTHING if source.bytes_per_second else 1.0)
            source.moved_bytes = 0
