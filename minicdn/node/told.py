"""What a fill is told of purges while it waits for its head: what it then receives was asked for before them, and comes out stale.

A copy asked from another peer needs more care. For a moment after a purge that peer may not have heard of it, and would hand out as
fresh what is out of date here already. So a purge *echoes*: what comes from a peer within ECHO_SECONDS of it counts as asked before.
(Peers that lag for longer give themselves away by their mark: Purger.is_behind.)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from minicdn.core.freshness import Stored, expire
from minicdn.core.purging import Purge, merged

ECHO_SECONDS = 3.0
"""Beyond the deadline that a peer is given to answer a purge."""
PURGES_MAX = 64
"""More are kept as one that does what all of them do."""


class Echoes:
    """Purges of the last moments."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._recent: deque[tuple[float, Purge]] = deque()

    def add(self, purge: Purge) -> None:
        self._recent.append((self._monotonic() + ECHO_SECONDS, purge))
        if len(self._recent) > PURGES_MAX:
            until, one = self._recent.popleft()
            other_until, other = self._recent.popleft()
            self._recent.appendleft((max(until, other_until), merged((one, other))))

    def audible(self) -> tuple[Purge, ...]:
        if not self._recent:
            return ()
        now = self._monotonic()
        while self._recent and self._recent[0][0] <= now:
            self._recent.popleft()
        return tuple(purge for _, purge in self._recent)


class Told:
    """Of one fill."""

    __slots__ = ("_echoes", "_purges")

    def __init__(self, echoes: tuple[Purge, ...] = ()) -> None:
        self._echoes = echoes
        self._purges: list[Purge] = []

    @property
    def is_nothing(self) -> bool:
        return not self._purges and not self._echoes

    def add(self, purge: Purge) -> None:
        self._purges.append(purge)
        if len(self._purges) > PURGES_MAX:
            self._purges = [merged(self._purges)]

    def settle(self, key: str, stored: Stored, source: str, now: float) -> Stored:
        """The facts as they are to be kept: stale, where a purge speaks of them. source: `peer` or `upstream`."""
        if not self._purges and (source != "peer" or not self._echoes):
            return stored  # as nearly always
        return expire(stored, now) if any(True for _ in self._matching(key, stored, source)) else stored

    def is_gone(self, key: str, stored: Stored) -> bool:
        """Whether it may not be kept at all: a purge that came while it was on its way was a hard one."""
        return bool(self._purges) and any(not purge.is_soft and purge.matches(key, stored.tags) for purge in self._purges)

    def _matching(self, key: str, stored: Stored, source: str) -> Iterable[Purge]:
        heard = (*self._purges, *self._echoes) if source == "peer" else self._purges
        return (purge for purge in heard if purge.matches(key, stored.tags))
