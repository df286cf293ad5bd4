"""Shares: how many of a file's pieces each peer is dealt, from what the peers say of their uplinks.

A peer whose uplink carries a fifth of another's, and owns as many pieces, decides when all are done; so pieces are dealt by uplink
(core/pieces.py). Only pieces: keys are owned in equal shares (`Member.weight`, 1 or 0), since a share that moves would move owners of
files that are small, stored already, and cost their owner little.

Shares are relative to the median of the measured, and coarse. Uplinks within LEVEL of one another count as equal: equal machines measure a
little differently, and must not own differently. What is listed changes only when some share is CHANGE times what it was, all of them
then, and seldom (`pause_seconds`): each change is a new epoch, and news for all peers.

Who was never measured has nothing against it but that it is new: it begins with a quarter of the median, and has a whole one after a
minute. It may have been idle, or too fast for its sends to be waited for. Where nobody was measured, all are equal.
"""

from __future__ import annotations

from collections.abc import Sequence

from minicdn.core.value import value_class

LEVEL = 1.25
CHANGE = 1.5
SHARE_MIN, SHARE_MAX = 1 / 64, 64.0
NEW_SHARES = ((30.0, 0.25), (60.0, 0.5))
"""(until so many seconds after the join, share of the median)."""


@value_class
class Sharer:
    """uplink: bytes per second, 0 while unknown. is_owner: whether it may own anything."""

    uplink: float
    seated_seconds: float
    is_owner: bool = True


def shares(sharers: Sequence[Sharer]) -> list[float]:
    """The share of each, relative to the others'; 0 for who may own nothing."""
    known = sorted(sharer.uplink for sharer in sharers if sharer.is_owner and sharer.uplink > 0)
    levels = _levels(known)
    median = levels[known[len(known) // 2]] if known else 0.0
    return [_share(sharer, levels, median) for sharer in sharers]


def has_changed(listed: float, wanted: float) -> bool:
    """Whether the difference is worth a new epoch."""
    return max(listed, wanted) >= CHANGE * min(listed, wanted) and listed != wanted


def pause_seconds(peers_count: int) -> float:
    """The least time between two changes: the list of thousands is much news for each of thousands."""
    return 10.0 + peers_count / 20


def _share(sharer: Sharer, levels: dict[float, float], median: float) -> float:
    if not sharer.is_owner:
        return 0.0
    if sharer.uplink > 0:
        share = min(max(levels[sharer.uplink] / median, SHARE_MIN), SHARE_MAX)
        return float(f"{share:.3g}")
    if not median:
        return 1.0
    return next((share for until_seconds, share in NEW_SHARES if sharer.seated_seconds < until_seconds), 1.0)


def _levels(known: Sequence[float]) -> dict[float, float]:
    """From each of the uplinks, in order, to the mean of those that count as equal to it."""
    found: dict[float, float] = {}
    start = 0
    for end in range(1, len(known) + 1):
        if end == len(known) or known[end] > LEVEL * known[start]:
            level = known[start:end]
            found.update(dict.fromkeys(level, sum(level) / len(level)))
            start = end
    return found
