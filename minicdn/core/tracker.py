"""The tracker: an owner's side of a swarm. Who took a piece from this node, and whether one more may take it now.

Beyond its upload slots an owner does not queue: it answers with a referral, naming holders, those who have the piece and those who are
receiving it first-hand. So a tree grows by itself for each piece. Slots count flows that *move*: one that waits for its own source
takes nothing from the uplink, and must not keep others out. How many are good follows from the measured uplink: as many as get
FLOW_RATE each, so that a slow uplink sends few copies, quickly, and the receivers pass them on.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

SLOTS_MIN, SLOTS_UNMEASURED, SLOTS_MAX = 2, 8, 64
FLOW_RATE = 384 * 1024
"""Bytes per second that a flow is to get, at least. With half as much slow uplinks send too many copies (slowest over ideal 1.63 in place
of 1.25), with twice as much receivers of a healthy swarm are referred (1.17 in place of 1.13 with 32 peers). It must not follow the size
of pieces: then large ones leave two slots, and refusals are most of the talk."""
OPEN_MAX = 512
HOLDERS_MAX = 32
REFERRED_MAX = 3
RETRY_SECONDS_MIN, RETRY_SECONDS_MAX = 0.05, 0.5


def slots_for(uplink: float | None, piece_bytes: int) -> int:
    """How many flows may wait for this node's uplink at once. uplink: bytes per second, None: not measured yet."""
    if uplink is None:
        return SLOTS_UNMEASURED
    return min(max(int(uplink / FLOW_RATE), SLOTS_MIN), SLOTS_MAX)


def is_full(moving_count: int, open_count: int, uplink: float | None, piece_bytes: int) -> bool:
    """Whether askers are to be sent to others. moving_count: flows that wait for this node's uplink; open_count: all that are under way,
    also those that wait for their own source."""
    return moving_count >= slots_for(uplink, piece_bytes) or open_count >= OPEN_MAX


def retry_seconds(uplink: float | None, piece_bytes: int, moving_count: int) -> float:
    """When a slot may be free."""
    seconds = moving_count * piece_bytes / uplink / 2 if uplink else RETRY_SECONDS_MIN * 2
    return min(max(seconds, RETRY_SECONDS_MIN), RETRY_SECONDS_MAX)


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
