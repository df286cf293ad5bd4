"""Who owns a key: weighted rendezvous hashing (highest random weight; Thaler and Ravishankar 1998, weights after Schindelhauer and Schomaker 2005).

Every node gives every (key, member) pair the same score, from nothing but the two names, so all nodes that hold the same
list compute the same order: the first is the owner, the next ones its backups. A member that leaves moves only its own
keys, each to that key's own next in line; the order of the list does not matter.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from heapq import nsmallest
from math import log
from typing import Protocol, TypeVar


class Weighted(Protocol):
    @property
    def id(self) -> str: ...

    @property
    def weight(self) -> float: ...


M = TypeVar("M", bound=Weighted)

_SCALE = float(1 << 64)


def score(key: bytes, member_id: str, weight: float) -> float:
    """The pair's score: smaller is nearer. −ln(u) / weight for a u in (0, 1) drawn from 64 hash bits, so that a member's share
    of all keys is its share of the weights."""
    drawn = int.from_bytes(blake2b(b"%b\0%b" % (member_id.encode(), key), digest_size=8).digest(), "big")
    return -log((drawn + 0.5) / _SCALE) / weight


def rank(key: str, members: Iterable[M], count: int | None = None) -> list[M]:
    """The members in order of preference for the key: owner first, then its backups; the `count` first where given.

    Members without weight (0 or less) own nothing and are left out.
    """
    name = key.encode("utf-8", "surrogateescape")
    scored = ((score(name, member.id, member.weight), member.id, member) for member in members if member.weight > 0)
    picked = sorted(scored, key=lambda row: row[:2]) if count is None else nsmallest(count, scored, key=lambda row: row[:2])
    return [member for _, _, member in picked]
