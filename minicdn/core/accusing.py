"""Who is off the list for a while, because others say that it sent them wrong bytes.

Two accusations within the window are enough, as one may be a cable's fault. An accuser may be the liar, so its word counts for two peers
within the window and no more, and no more than a third of all seats (but one at least) are ever empty for this.
"""

from __future__ import annotations

from collections import deque
from enum import Enum

WINDOW_SECONDS = 600.0
SHUN_SECONDS = 600.0
LIES_MAX = 2
ACCUSED_MAX = 2
"""Peers that one accuser's word counts for within the window."""
REMEMBERED_MAX = 4096


class Ruling(Enum):
    IGNORED = "ignored"
    NOTED = "noted"
    SHUNNED = "shunned"


class Accusations:
    """Nodes are named by URL. Instants are the manager's monotonic seconds."""

    def __init__(self) -> None:
        self._accused: dict[str, deque[float]] = {}
        self._accusers: dict[str, dict[str, float]] = {}

    def take(self, accuser: str, accused: str, now: float, *, seats_count: int, shunned_count: int) -> Ruling:
        """shunned_count: of the seats, those that are empty for this already."""
        if accuser == accused or not self._may_speak(accuser, accused, now):
            return Ruling.IGNORED
        lies = self._accused.pop(accused, None) or deque(maxlen=LIES_MAX)
        self._accused[accused] = lies
        lies.append(now)
        if len(self._accused) > REMEMBERED_MAX:
            del self._accused[next(iter(self._accused))]
        is_often = len(lies) == LIES_MAX and now - lies[0] <= WINDOW_SECONDS
        if not is_often or shunned_count + 1 > max(1, seats_count // 3):
            return Ruling.NOTED
        del self._accused[accused]
        return Ruling.SHUNNED

    def _may_speak(self, accuser: str, accused: str, now: float) -> bool:
        named = {url: at for url, at in self._accusers.pop(accuser, {}).items() if now - at <= WINDOW_SECONDS}
        self._accusers[accuser] = named
        if len(self._accusers) > REMEMBERED_MAX:
            del self._accusers[next(iter(self._accusers))]
        if accused not in named and len(named) >= ACCUSED_MAX:
            return False
        named.setdefault(accused, now)
        return True
