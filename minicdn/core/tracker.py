"""The tracker: an owner's side of a swarm. Who took a piece from this node, and whether one more may take it now.

Beyond its upload slots an owner does not queue: it answers with a referral, naming holders, those who have the piece and those who are
receiving it first-hand. So a tree grows by itself for each piece. Slots count flows that *move*: one that waits for its own source
takes nothing from the uplink, and must not keep others out. How many are good follows from the measured uplink: as many as get
FLOW_RATE each, so that a slow uplink sends few copies, quickly, and the receivers pass them on.

In a crowd (crowd.py) flows are quicker and fewer, all of them count, and a holder that has no slot free gives nothing: who is refused knows
others.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

SLOTS_MIN, SLOTS_UNMEASURED, SLOTS_MAX = 2, 8, 64
FLOW_RATE = 384 * 1024
"""Bytes per second that a flow is to get, at least. With half as much slow uplinks send too many copies (slowest over ideal 1.63 in place
of 1.25), with twice as much receivers of a healthy swarm are referred (1.17 in place of 1.13 with 32 peers). It must not follow the size
of pieces: then large ones leave two slots, and refusals are most of the talk."""
CROWD, CROWD_UNEVEN, UNEVEN = 32, 4, 2.0
CROWD_PIECE_BYTES = 4 * 1024 * 1024
"""More members than the first are a crowd, or than the second where their uplinks are known to differ by so much, if pieces are large.
8, 16 and 32 unequal peers with comers and goers took 1.21, 1.09 and 1.09 times the ideal with its rules (2.5 GiB), 1.62, 1.56 and 1.43
without; 16 equal ones 1.11 and 1.04. Where pieces are small, so that a question takes as long as a piece, it is the other way round:
1.6 and 1.07 with 64 peers and 64 MiB."""
CROWD_FLOW_RATE = 1_500_000
"""With twice the rate (four slots for 100 Mbit/s) 64 equal peers took 1.26 in place of 1.17, since few flows are spread unevenly; with half
of it 1.24, since copies multiply slowly."""
OPEN_MAX = 512
HOLDERS_MAX = 32
REFERRED_MAX = 3
RETRY_SECONDS_MIN, RETRY_SECONDS_MAX = 0.05, 0.5
STREAMING_SECONDS_MAX = 0.5
"""After so long a holder that still streams is asked again, if not sooner."""


def is_crowd(shares: Iterable[float], piece_bytes: int) -> bool:
    """shares: of the members, relative to one another's; 0 for who owns nothing."""
    if piece_bytes < CROWD_PIECE_BYTES:
        return False
    able = [share for share in shares if share > 0]
    return len(able) > CROWD or (len(able) > CROWD_UNEVEN and max(able) >= UNEVEN * min(able))


def slots_for(uplink: float | None, *, in_crowd: bool = False) -> int:
    """How many flows may wait for this node's uplink at once. uplink: bytes per second, None: not measured yet."""
    if uplink is None:
        return SLOTS_UNMEASURED
    return min(max(int(uplink / (CROWD_FLOW_RATE if in_crowd else FLOW_RATE)), SLOTS_MIN), SLOTS_MAX)


def is_full(moving_count: int, open_count: int, uplink: float | None, *, in_crowd: bool = False) -> bool:
    """Whether askers are to be sent to others. moving_count: flows that wait for this node's uplink; open_count: all that are under way,
    also those that wait for their own source."""
    taken_count = open_count if in_crowd else moving_count
    return taken_count >= slots_for(uplink, in_crowd=in_crowd) or open_count >= OPEN_MAX


def retry_seconds(uplink: float | None, piece_bytes: int, moving_count: int) -> float:
    """When a slot may be free."""
    seconds = moving_count * piece_bytes / uplink / 2 if uplink else RETRY_SECONDS_MIN * 2
    return min(max(seconds, RETRY_SECONDS_MIN), RETRY_SECONDS_MAX)


def streaming_seconds(done_share: float, seconds: float) -> float:
    """When the one who streams has done with it, and an uplink to spare: so much of it has come in so many seconds."""
    left = seconds / done_share - seconds if done_share else STREAMING_SECONDS_MAX
    return min(max(left, RETRY_SECONDS_MIN), STREAMING_SECONDS_MAX)


class Tracker:
    """Of one file, at one node."""

    def __init__(self) -> None:
        self._holders: dict[int, OrderedDict[str, int]] = {}

    def took(self, index: int, url: str) -> None:
        """A peer has the piece from here, or is receiving it."""
        holders = self._holders.setdefault(index, OrderedDict())
        holders.setdefault(url, 0)
        if len(holders) > HOLDERS_MAX:
            holders.popitem(last=False)

    def left(self, index: int, url: str) -> None:
        """It did not get all of it, or has it no more."""
        self._holders.get(index, {}).pop(url, None)

    def forget(self, url: str) -> None:
        """The peer is gone."""
        for holders in self._holders.values():
            holders.pop(url, None)

    def refer(self, index: int, asker: str, rng: random.Random) -> list[str]:
        """Whom to ask instead: those who were named least often, first; empty where there is nobody."""
        holders = self._holders.get(index)
        if not holders:
            return []
        ranked = sorted((named, rng.random(), url) for url, named in holders.items() if url != asker)[:REFERRED_MAX]
        if ranked:
            holders[ranked[0][2]] += 1
        return [url for _, _, url in ranked]
