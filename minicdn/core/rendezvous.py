"""Who owns a key: weighted rendezvous hashing (highest random weight; Thaler and Ravishankar 1998, with weights after Schindelhauer
and Schomaker 2005).

Every node gives every (key, member) pair the same score, from nothing but the two names, so all nodes that hold the same
list compute the same order: the first is the owner, the next ones its backups. A member that leaves moves only its own
keys, each to that key's own next in line; the order of the list does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import blake2b
from heapq import nsmallest
from math import log, log1p
from operator import itemgetter
from typing import Protocol, TypeVar


class Weighted(Protocol):
    @property
    def id(self) -> str: ...

    @property
    def weight(self) -> float: ...


M = TypeVar("M", bound=Weighted)

_DRAWS = 1 << 64
SORTED_MAX = 64
"""So many are sorted sooner than the first of them are picked."""
_NEARNESS = itemgetter(0, 1)


def score(key: bytes, member_id: str, weight: float) -> float:
    """The pair's score: smaller is nearer. −ln(1 − v) / weight for a v in (0, 1) drawn from 64 hash bits, so that a member's share
    of all keys is its share of the weights.

    The nearest member has the smallest v, and there a float is at its finest: all 64 bits count where they decide.
    """
    name = member_id.encode("utf-8", "surrogateescape")
    drawn = int.from_bytes(blake2b(b"%b\0%b" % (name, key), digest_size=8).digest(), "big")
    if drawn < _DRAWS >> 1:
        return -log1p(-(drawn + 0.5) / _DRAWS) / weight
    return -log((_DRAWS - drawn - 0.5) / _DRAWS) / weight


def rank(key: str, members: Iterable[M], count: int | None = None, *, name_of: Callable[[M], str] = lambda member: member.id) -> list[M]:
    """The members in order of preference for the key: owner first, then its backups; the `count` first where given.

    name_of: what of a member is hashed. Members without weight (0 or less) own nothing and are left out.
    """
    name = key.encode("utf-8", "surrogateescape")
    scored = [(score(name, named := name_of(member), member.weight), named, member) for member in members if member.weight > 0]
    is_long = count is not None and len(scored) > SORTED_MAX
    picked = nsmallest(count, scored, key=_NEARNESS) if is_long else sorted(scored, key=_NEARNESS)[:count]  # type: ignore[arg-type]
    return [member for _, _, member in picked]
