"""Whom a swarm's requester asks: what each is known to hold, how quick it was, and whether it is left alone for a while.

A source that can't be reached rests, longer each time. One that sent wrong bytes twice is shunned. One whose latest piece took far
longer than pieces take (beyond the mean and three deviations, or twenty means; Dragonfly's rule) is set aside as a holder for a while:
its own pieces are still asked of it, since nobody else may have them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

REST_SECONDS_MIN, REST_SECONDS_MAX = 1.0, 30.0
ASIDE_SECONDS = 10.0
SHUN_SECONDS = 600.0
LIES_MAX = 2
STALLS_MAX = 2
"""Flights in a row that came to nothing half-way, without a piece between them: as good as silent."""
SILENT_FAILURES = 4
OUTLIER_DEVIATIONS, OUTLIER_MEANS = 3.0, 20.0
SAMPLES_MIN = 16
SMOOTHING, USUAL_SMOOTHING = 0.3, 0.05
SAMPLE_MAX = 64
FLIGHTS_PER_SOURCE, FLIGHTS_UNPROVEN, SLOW = 4, 2, 0.5
"""Unproven: of one that has brought nothing yet, or brings less than SLOW times what is usual: with four, half of the uplinks slow gave
1.36 in place of 1.25 (slowest over ideal). Six of each give 1.18 in place of 1.11 where slow uplinks are known."""
FLIGHTS_MORE = FLIGHTS_PER_SOURCE + 1
"""Of who has pieces of his own to give, and is named as a holder by one whose uplink is thin, or asked beside one that is late. Without it
nobody passed on what slow owners had: 1.17 in place of 1.13. Named by anybody: 1.20 in place of 1.10 where slow uplinks are known."""


@dataclass(slots=True)
class Source:
    """url None: the upstream, by this node itself. have_mask: bit i is set where it is known to hold piece i. own, referred: heaps of
    (turn, piece) to ask of it, as their owner and as a holder. is_thin: its uplink, as it says (uplink.py)."""

    url: str | None
    have_mask: int = 0
    own: list[tuple[int, int]] = field(default_factory=list)
    referred: list[tuple[int, int]] = field(default_factory=list)
    flights_count: int = 0
    bytes_per_second: float = 0.0
    failures_count: int = 0
    stalls_count: int = 0
    lies_count: int = 0
    moved_at: float = float("-inf")
    resting_until: float = 0.0
    aside_until: float = 0.0
    busy_until: float = 0.0
    is_thin: bool = False

    @property
    def load_count(self) -> int:
        """What it is asked for, and what it is to be asked for as a holder."""
        return self.flights_count + len(self.referred)

    def is_resting(self, now: float) -> bool:
        return now < self.resting_until

    def may_hold_for_us(self, now: float) -> bool:
        return now >= self.resting_until and now >= self.aside_until and now >= self.busy_until

    def fail(self, now: float) -> None:
        self.failures_count += 1
        if self.failures_count == 1:
            return  # one answer that breaks off may be its own fault alone
        seconds = min(REST_SECONDS_MIN * 2 ** min(self.failures_count - 2, 16), REST_SECONDS_MAX)
        self.resting_until = max(self.resting_until, now + seconds)

    def silent(self, now: float) -> None:
        """Not a byte came of anything that it was asked, while others brought something."""
        self.failures_count = max(self.failures_count, SILENT_FAILURES)
        self.fail(now)

    def stalled(self, now: float) -> None:
        """Nothing comes of a flight: others first, for a while."""
        self.aside_until = max(self.aside_until, now + ASIDE_SECONDS)
        self.stalls_count += 1

    def lie(self, now: float) -> bool:
        self.lies_count += 1
        self.have_mask = 0
        is_shunned = self.lies_count >= LIES_MAX
        self.resting_until = max(self.resting_until, now + (SHUN_SECONDS if is_shunned else REST_SECONDS_MIN))
        return is_shunned

    def drain(self) -> list[tuple[int, int]]:
        """What was queued at it; it has nothing queued then."""
        queued = [*self.own, *self.referred]
        self.own, self.referred = [], []
        return queued


class Sources:
    """All of them. me: this node, which is always quick and never a holder for itself."""

    def __init__(self, me: str | None) -> None:
        self._me = me
        self._sources: dict[str | None, Source] = {}
        self._peers: list[Source] = []
        self._count = 0
        self._mean = self._squares = 0.0
        self.usual = 0.0
        """Bytes per second of a flight, over the latest ones."""
        self.is_thin = False
        """This node's own uplink."""

    @property
    def mean_seconds(self) -> float:
        """How long pieces take, from the question to their last byte."""
        return self._mean

    def get(self, url: str | None) -> Source:
        source = self._sources.get(url)
        if source is None:
            source = self._sources[url] = Source(url)
            if url is not None:
                self._peers.append(source)
        return source

    def one(self, rng: random.Random) -> Source | None:
        """Some peer, by chance."""
        return self._peers[int(rng.random() * len(self._peers))] if self._peers else None

    def has_holder(self, index: int, now: float) -> bool:
        """Whether somebody who can be asked is known to hold it."""
        return any(source.have_mask >> index & 1 and not source.is_resting(now) for source in self._peers)

    def urls(self) -> Iterable[str | None]:
        return self._sources.keys()

    def flights_max(self, source: Source, flying_count: int, first_mask: int) -> int:
        """At once. first_mask: what nobody is known to have. While there is such, who can't pass on takes from others who can't only if
        little else comes, since the first copies are for the quick; and little later on, lest these have all long before (1.14 for 1.13).
        """
        if source.is_thin:
            return FLIGHTS_PER_SOURCE if not self.is_thin else int(not first_mask or flying_count < FLIGHTS_PER_SOURCE)
        return FLIGHTS_PER_SOURCE if source.bytes_per_second > SLOW * self.usual else FLIGHTS_UNPROVEN

    def nothing_asked(self) -> None:
        """All that was under way, or queued, is over."""
        for source in self._sources.values():
            source.flights_count = 0
            source.drain()

    def took(self, url: str | None, size: int, seconds: float) -> None:
        """A piece of `size` bytes came from it within so many seconds (Welford's mean and deviation over all pieces)."""
        source = self.get(url)
        source.failures_count = source.stalls_count = 0
        speed = size / max(seconds, 1e-6)
        source.bytes_per_second += (speed - source.bytes_per_second) * (SMOOTHING if source.bytes_per_second else 1.0)
        self.usual += (speed - self.usual) * (USUAL_SMOOTHING if self.usual else 1.0)
        self._count += 1
        difference = seconds - self._mean
        self._mean += difference / self._count
        self._squares += difference * (seconds - self._mean)

    def is_outlier(self, seconds: float) -> bool:
        if self._count < SAMPLES_MIN:
            return False
        deviation = sqrt(self._squares / self._count)
        return seconds > min(self._mean + OUTLIER_DEVIATIONS * deviation, OUTLIER_MEANS * self._mean)

    def choose(self, index: int, now: float, rng: random.Random, *, besides: Iterable[str | None], room: int) -> Source | None:
        """One of those known to hold the piece, by chance in proportion to the speed that it has to spare."""
        bit, others = 1 << index, tuple(besides)
        able = [
            source
            for source in self._sample(rng)
            if source.have_mask & bit and source.url not in others and source.may_hold_for_us(now) and source.load_count < room
        ]
        if not able:
            return None
        usual = max((source.bytes_per_second for source in able), default=0.0) or 1.0
        weights = [(source.bytes_per_second or usual) / (1 + source.load_count) for source in able]
        return rng.choices(able, weights)[0]

    def _sample(self, rng: random.Random) -> list[Source]:
        """All, or so many of them that follow one another from somewhere on: a swarm may have a thousand."""
        count = len(self._peers)
        if count <= SAMPLE_MAX:
            return self._peers
        start = rng.randrange(count)
        return self._peers[start : start + SAMPLE_MAX] + self._peers[: max(start + SAMPLE_MAX - count, 0)]
