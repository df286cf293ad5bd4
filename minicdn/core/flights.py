"""What is under way in a swarm: which piece was asked of whom, since when, and when its last bytes came."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from minicdn.core.sources import Sources
from minicdn.core.value import value_class

REST_SECONDS_MIN, REST_SECONDS_MAX = 0.05, 1.0
"""Of a piece refused twice in a row or more; doubled each time. Without it refusals were most of what a crowd said."""


@value_class
class Errand:
    """Ask `url` for these pieces, or with none, what it has. None: the upstream, by this node itself, as the last resort. is_owners: asked
    as their owner (or as one that stands in for it): it fetches what it has not got, and its word on their digests counts."""

    url: str | None
    indices: tuple[int, ...]
    is_owners: bool = True


@dataclass(slots=True)
class Flight:
    """One piece, asked of `url` (None: the upstream)."""

    url: str | None
    began_at: float
    moved_at: float
    is_hedge: bool = False


@dataclass(slots=True)
class Asked:
    """A piece's flights, and how often they were in vain. is_fading: nobody wants it any more, but it is in flight."""

    flights: list[Flight] = field(default_factory=list)
    attempts: int = 0
    refusals: int = 0
    is_fading: bool = False

    def refused(self, retry_seconds: float) -> float:
        """For how long it rests; longer for each refusal in a row: a thousand askers of one owner must not spend its uplink on refusals."""
        self.refusals += 1
        grown = REST_SECONDS_MIN * 2 ** min(self.refusals - 1, 8) if self.refusals > 1 else 0.0
        return min(max(retry_seconds, grown), max(retry_seconds, REST_SECONDS_MAX))


class Flights:
    """Of all pieces. The counts of each source are kept with it (sources.py). moved_at: when anything came from anybody."""

    def __init__(self, sources: Sources) -> None:
        self.count = self.hedges_count = 0
        self.moved_at = float("-inf")
        self._sources = sources
        self._asked: dict[int, Asked] = {}

    def asked(self, index: int) -> Asked:
        found = self._asked.get(index)
        if found is None:
            found = self._asked[index] = Asked()
        return found

    def of(self, index: int) -> list[Flight]:
        found = self._asked.get(index)
        return found.flights if found is not None else []

    def all(self) -> Iterator[tuple[int, list[Flight]]]:
        """(piece, its flights), of those that have any; flights may begin and end meanwhile."""
        for index, asked in list(self._asked.items()):
            if asked.flights:
                yield index, asked.flights

    def begin(self, index: int, url: str | None, now: float, *, is_hedge: bool) -> None:
        self.asked(index).flights.append(Flight(url, now, now, is_hedge))
        self._sources.get(url).flights_count += 1
        self.count += 1
        self.hedges_count += is_hedge

    def moved(self, index: int, url: str | None, now: float) -> None:
        """Bytes of the piece have come."""
        self.moved_at = self._sources.get(url).moved_at = now
        for flight in self.of(index):
            if flight.url == url:
                flight.moved_at = now

    def end(self, index: int, url: str | None) -> bool:
        """False where there is no such flight."""
        flights = self.of(index)
        for flight in flights:
            if flight.url == url:
                flights.remove(flight)
                self._landed(flight)
                return True
        return False

    def forget(self, index: int) -> list[Flight]:
        """Nothing is to come of the piece, or it is here. Returns what was under way."""
        asked = self._asked.pop(index, None)
        for flight in asked.flights if asked is not None else ():
            self._landed(flight)
        return asked.flights if asked is not None else []

    def _landed(self, flight: Flight) -> None:
        self._sources.get(flight.url).flights_count -= 1
        self.count -= 1
        self.hedges_count -= flight.is_hedge
