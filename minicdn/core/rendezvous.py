"""Who owns a key: weighted rendezvous hashing (highest random weight; Thaler and Ravishankar 1998, with weights after Schindelhauer
and Schomaker 2005).

Every node gives every (key, member) pair the same score, from nothing but the two names, so all nodes that hold the same
list compute the same order: the first is the owner, the next ones its backups. A member that leaves moves only its own
keys, each to that key's own next in line; the order of the list does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from hashlib import blake2b
from heapq import nsmallest
from math import log, log1p
from operator import attrgetter, itemgetter
from typing import Any, Protocol, TypeVar


class Weighted(Protocol):
    @property
    def id(self) -> str: ...

    @property
    def weight(self) -> float: ...


M = TypeVar("M", bound=Weighted)
T = TypeVar("T")

_DRAWS = 1 << 64
_NEAR = 1 << 34
"""Of two draws of weight 1 that are farther from each other, the smaller has the smaller score: these are 2⁻³⁰ apart then, and a float of
their size is good to 2⁻⁴⁷. So scores, which take longer, are worked out only where two are nearer, or weights differ."""
SORTED_MAX = 64
"""So many are sorted sooner than the first of them are picked."""
MEMBERS_MAX = 4096
_NEARNESS = itemgetter(0, 1)
_DRAWN = itemgetter(0)
_ID = attrgetter("id")


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


def rank(key: str, members: Iterable[M], count: int | None = None, *, name_of: Callable[[M], str] = _ID) -> list[M]:
    """The members in order of preference for the key: owner first, then its backups; the `count` first where given.

    name_of: what of a member is hashed. Members without weight (0 or less) own nothing and are left out.
    """
    listed, name, drawn = list(members), key.encode("utf-8", "surrogateescape"), []
    for member in listed:
        if member.weight == 1.0:
            hashed = _begun(name_of(member)).copy()
            hashed.update(name)
            drawn.append((int.from_bytes(hashed.digest(), "big"), member))
        elif member.weight > 0:
            return _rank_by_score(name, listed, count, name_of)
    picked = _smallest(drawn, None if count is None else count + 1, _DRAWN)
    before = -_NEAR - 1
    for draw, _ in picked:
        if draw - before <= _NEAR:
            return _rank_by_score(name, listed, count, name_of)
        before = draw
    return [member for _, member in picked[:count]]


def _rank_by_score(key: bytes, members: list[M], count: int | None, name_of: Callable[[M], str]) -> list[M]:
    """What rank() is by definition."""
    scored = [(score(key, named := name_of(member), member.weight), named, member) for member in members if member.weight > 0]
    return [member for _, _, member in _smallest(scored, count, _NEARNESS)]


def _smallest(pairs: list[T], count: int | None, key: Callable[[T], Any]) -> list[T]:
    if count is not None and len(pairs) > SORTED_MAX:
        return nsmallest(count, pairs, key=key)
    return sorted(pairs, key=key)[:count]


@lru_cache(MEMBERS_MAX)
def _begun(member_id: str) -> Any:
    """The hash of a pair as far as it is the same for all keys."""
    return blake2b(b"%b\0" % member_id.encode("utf-8", "surrogateescape"), digest_size=8)
