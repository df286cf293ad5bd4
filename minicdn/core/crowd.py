"""The picker of a crowd: the same questions (picker.py), fewer at a time.

In a small swarm everybody takes each piece from its owner. Among hundreds that would be hundreds of flows at each uplink, each of them
slow, and an owner of one piece more than others would be late by all copies of it. So here each node keeps a few quick flights, a source
gives to few at a time and refuses the rest (tracker.py), and who has a piece passes it on: copies grow like compound interest.

Where to ask next is chance: a few sources are looked at, and the first that is known to have something wanted is asked. Every answer, a
refusal too, tells what its sender has. Who knows of nothing to ask for asks somebody for no piece at all, to hear what he has. A question
that was refused keeps its flight's place for a moment: a thousand who are short of bytes must not spend all uplinks on refusals.

A piece that nobody is known to have is asked of its owner, and only the first few such in the file (window.py): the upstream sends few at
a time, quickly.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from minicdn.core.flights import Errand
from minicdn.core.picker import Picker
from minicdn.core.pieces import Dealer, Pieces
from minicdn.core.sources import Source
from minicdn.core.tracker import CROWD_FLOW_RATE, is_crowd
from minicdn.core.wants import WANTED, indices, lowest
from minicdn.core.window import Window

if TYPE_CHECKING:
    import random

AHEAD, FLIGHTS_MAX, PER_SOURCE = 8, 12, 1
"""A dozen flights: some more than a source of the same rate gives at a time (tracker.py), so that its slots are always taken."""
LOOKS_MAX = 8
"""Sources that are looked at for one question."""
PAUSE_SECONDS_MIN, PAUSE_SECONDS_MAX, PAUSE_SHARE = 0.02, 0.5, 0.05
"""In seconds, and as a share of the time in which a piece comes. By what a node's own pieces took, those who had little rested long, and
had less still: the slowest took 2.0 times the ideal, the median 1.3."""
POLLS_MAX = 4


def picker_for(key: str, pieces: Pieces, dealers: Sequence[Dealer], owned: Sequence[int], me: str | None) -> Picker:
    kind = CrowdPicker if is_crowd((dealer.weight for dealer in dealers), pieces.size) else Picker
    return kind(key, pieces, dealers, owned, me)


class CrowdPicker(Picker):
    def __init__(self, key: str, pieces: Pieces, dealers: Sequence[Dealer], owned: Sequence[int], me: str | None) -> None:
        super().__init__(key, pieces, dealers, owned, me)
        self._window = Window(AHEAD)
        self._pause_seconds = min(max(PAUSE_SHARE * pieces.size / CROWD_FLOW_RATE, PAUSE_SECONDS_MIN), PAUSE_SECONDS_MAX)
        self._pauses: list[float] = []
        self._polled: dict[str | None, None] = {}
        self._poll_at = 0.0
        for dealer in dealers:
            if dealer.url != me:
                self.sources.get(dealer.url)

    def refused(self, index: int, url: str, holders: Iterable[str], retry_seconds: float, now: float, rng: random.Random) -> None:
        source = self.sources.get(url)
        if retry_seconds:
            source.busy_until = max(source.busy_until, now + retry_seconds)
        else:
            source.have_mask &= ~(1 << index)
        for holder in holders:
            if holder != self.me:
                self.sources.get(holder).have_mask |= 1 << index
        is_owners = self._owner_url(index) == url
        if not self._end_flight(index, url):
            return
        heappush(self._pauses, now + self._pause_seconds)
        if is_owners:
            heappush(self._resting, (now + self._flights.asked(index).refused(retry_seconds) * (0.5 + rng.random()), index))
        else:
            self._queue_in_order(index, now)

    def _owner_url(self, index: int) -> str | None:
        return self._dealers[self._owned[index]].url if self._owned else None

    def errands(self, now: float, rng: random.Random) -> list[Errand]:
        self._wake(now)
        while self._pauses and self._pauses[0] <= now:
            heappop(self._pauses)
        found: list[Errand] = []
        while self._flights.count + len(self._pauses) < FLIGHTS_MAX:
            errand = self._next(now, rng)
            if errand is None:
                self._poll(now, rng, found)
                break
            self._fly(errand.indices[0], errand.url, now)
            found.append(errand)
        return found

    def next_at(self) -> float | None:
        ends = [self._pauses[0]] if self._pauses else []
        if self._resting:
            ends.append(self._resting[0][0])
        return min(ends, default=None)

    def _next(self, now: float, rng: random.Random) -> Errand | None:
        wanted = self._wants.mask & self._window.mask
        if not wanted:
            return None
        errand = self._of_owner(wanted & self._unheard_mask, now)
        if errand is not None:
            return errand
        open_mask = wanted & ~self._owners_only_mask
        for _ in range(LOOKS_MAX):
            source = self.sources.one(rng)
            if source is not None and source.have_mask & open_mask and self._may_ask(source, now) and source.may_hold_for_us(now):
                return Errand(source.url, (lowest(source.have_mask & open_mask),), False)
        index = _some(wanted, rng)
        if self._queued_at.get(index) != self._owner_url(index) and self.sources.has_holder(index, now):
            return None  # who stands in for its owner would load it anew
        return self._of_owner(1 << index, now)

    def _may_ask(self, source: Source, now: float) -> bool:
        return source.flights_count < PER_SOURCE and not source.is_resting(now) and source.url != self.me

    def _of_owner(self, mask: int, now: float) -> Errand | None:
        """The first of these pieces whose owner, or who stands in for him, can be asked."""
        for index in indices(mask):
            if index in self._queued_at:
                url = self._queued_at[index]
                source = self.sources.get(url)
                if url in (None, self.me) or (source.flights_count < PER_SOURCE and not source.is_resting(now)):
                    return Errand(url, (index,), True)
        return None

    def _poll(self, now: float, rng: random.Random, found: list[Errand]) -> None:
        """Asks somebody what he has."""
        if self.is_done or len(self._polled) >= POLLS_MAX or now < self._poll_at:
            return
        self._poll_at = now + self._pause_seconds
        heappush(self._pauses, self._poll_at)
        source = self.sources.one(rng)
        if source is not None and not source.is_resting(now) and source.url != self.me:
            self._polled[source.url] = None
            found.append(Errand(source.url, (), False))

    def knows(self, url: str, have_mask: int, *, is_thin: bool | None = None) -> None:
        self._polled.pop(url, None)
        super().knows(url, have_mask, is_thin=is_thin)

    def failed(self, url: str | None, indices: Iterable[int], now: float) -> None:
        self._polled.pop(url, None)
        super().failed(url, indices, now)

    def _look_again(self) -> None:
        self._eager.clear()
        self._idle.clear()

    def _queue(self, index: int, source: Source, *, is_referred: bool = False) -> None:
        self._queued_at[index] = source.url

    def _clear_queue(self, url: str | None, now: float) -> None:
        for index in [index for index, at in self._queued_at.items() if at == url]:
            if self._state[index] == WANTED:
                self._stand_in(index, url, now)


def _some(mask: int, rng: random.Random) -> int:
    """One of the bits, by chance."""
    for _ in range(int(rng.random() * mask.bit_count())):
        mask &= mask - 1
    return lowest(mask)
