"""Each message counts once: what a receiver remembers of its senders (the anti-replay window of RFC 4303 §3.4.3).

Messages of one sender may overtake each other on several connections, but not by more than WINDOW_BITS numbers. A sender that has been
silent for so long that its messages are too old anyway is forgotten. What can't be remembered is refused: what an unknown sender said
before this receiver was there, or before it forgot somebody for want of room.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

WINDOW_BITS = 1024
SENDERS_MAX = 16 * 1024


class Verdict(Enum):
    NEW = "new"
    REPEATED = "it was sent before"
    TOO_OLD = "signed before this node started, or too long ago"


@dataclass(slots=True)
class _Sender:
    highest: int
    seen: int
    """Bit i is set where highest − i came."""
    at: float
    floor_at: float
    """What it said up to then may have come before it was remembered."""


class Replays:
    """All instants are wall seconds: `at` the sender's, `now` the receiver's. started_at: when the receiver began. keeps_seconds: by so
    much `at` and `now` may differ, which is the caller's to check."""

    def __init__(self, started_at: float, keeps_seconds: float, senders_max: int = SENDERS_MAX) -> None:
        self._floor_at = started_at
        self._keeps_seconds = keeps_seconds
        self._senders_max = senders_max
        self._senders: dict[bytes, _Sender] = {}

    def take(self, sender: bytes, number: int, at: float, now: float) -> Verdict:
        """Of a message whose MAC is right and whose time is near."""
        known = self._senders.pop(sender, None)
        if known is None:
            # A clock that was set back must not shut everybody out until it is where it was.
            self._floor_at = min(self._floor_at, now + self._keeps_seconds)
            if at <= self._floor_at:
                return Verdict.TOO_OLD
            self._make_room(now)
            self._senders[sender] = _Sender(number, 1, max(at, now), self._floor_at)
            return Verdict.NEW
        self._senders[sender] = known
        return Verdict.TOO_OLD if at <= known.floor_at else self._take_known(known, number, max(at, now))

    def _take_known(self, known: _Sender, number: int, at: float) -> Verdict:
        ahead = number - known.highest
        if ahead <= -WINDOW_BITS:
            return Verdict.TOO_OLD
        if ahead <= 0 and known.seen >> -ahead & 1:
            return Verdict.REPEATED
        if ahead > 0:
            known.seen = (known.seen << ahead | 1) & ((1 << WINDOW_BITS) - 1) if ahead < WINDOW_BITS else 1
            known.highest = number
        else:
            known.seen |= 1 << -ahead
        known.at = max(known.at, at)
        return Verdict.NEW

    def _make_room(self, now: float) -> None:
        """The senders stand in the order of their last message. Who is forgotten early raises the floor for all who are unknown."""
        while self._senders:
            oldest = next(iter(self._senders))
            at = self._senders[oldest].at
            if now - at <= self._keeps_seconds:
                if len(self._senders) < self._senders_max:
                    return
                self._floor_at = max(self._floor_at, at)
            del self._senders[oldest]

    def __len__(self) -> int:
        return len(self._senders)
