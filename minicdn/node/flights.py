"""Fills whose head is not there yet, by what others may join them by."""

from __future__ import annotations

from minicdn.core.purging import Purge
from minicdn.core.ranges import Suffix, parse_single_range
from minicdn.node.fill import Fill, FlightKey


class Flights:
    def __init__(self) -> None:
        self._fills: dict[FlightKey, Fill] = {}
        self._parts: dict[tuple[object, ...], dict[FlightKey, tuple[int, int | None]]] = {}
        """Those that ask for a part, and for which, by what they ask for a part of."""

    def __len__(self) -> int:
        return max(len(self._fills), len(self._parts))

    def find(self, flight: FlightKey, *, is_beside: bool = True) -> Fill | None:
        """The one of this (key, variant) and part; or of the whole, or (is_beside) of another part that has bytes in common with this one:
        what it brings need not be asked for twice, and what is lacking then can be. Not for who has waited so already, and could not put
        the two together: all who are like that would wait for one after the other."""
        found = self._fills.get(flight)
        if found is not None or flight[-1] is None:
            return found
        return self._fills.get((*flight[:-1], None)) or (self._beside(flight) if is_beside else None)

    def same(self, flight: FlightKey | None) -> Fill | None:
        """The one of this part, and of no other."""
        return self._fills.get(flight) if flight is not None else None

    def _beside(self, flight: FlightKey) -> Fill | None:
        others = self._parts.get(flight[:-1])
        if others is None or (span := _span(flight)) is None:
            return None
        start, end = span
        for other, (other_start, other_end) in others.items():
            is_apart = (end is not None and end <= other_start) or (other_end is not None and other_end <= start)
            if not is_apart:
                return self._fills[other]
        return None

    def add(self, flight: FlightKey, fill: Fill) -> None:
        self._fills[flight] = fill
        if flight[-1] is not None and (span := _span(flight)) is not None:
            self._parts.setdefault(flight[:-1], {})[flight] = span

    def answered(self, fill: Fill) -> None:
        """Nobody can join it any more."""
        flight = fill.flight
        assert flight is not None
        if self._fills.get(flight) is fill:
            self._drop(flight)

    def forget(self, purge: Purge) -> None:
        """Who asks from now on must not join what was begun before it."""
        for flight in [flight for flight, fill in self._fills.items() if purge.may_match(fill.request.key)]:
            self._drop(flight)

    def _drop(self, flight: FlightKey) -> None:
        del self._fills[flight]
        others = self._parts.get(flight[:-1]) if flight[-1] is not None else None
        if others is not None:
            others.pop(flight, None)
            if not others:
                del self._parts[flight[:-1]]


def _span(flight: FlightKey) -> tuple[int, int | None] | None:
    """Of the part that it asks for; None for the whole, or for the last bytes of what nobody knows the length of."""
    span = parse_single_range(flight[-1]) if flight[-1] is not None else None
    return None if isinstance(span, Suffix) else span
