"""Pieces: how a large file is cut, and who owns which piece.

The size follows the count: about PIECES_WANTED pieces, so that the last copies of the last piece, which no policy can avoid, cost
little ((1 + log2 N) / M of the whole for M pieces and N peers), within bounds that keep a piece worth a request and small enough to
lose.

Pieces are dealt with bounded load: each piece goes to the first member in its own rendezvous order that has not yet got its share.
Plain rendezvous hashing would give some member of eight half as much again as its share, and the slowest owner is the finish time.

A bound for every beginning of the file was measured too: with the picker's look-ahead it gains nothing, and moves six times as many pieces
when a member leaves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from heapq import nsmallest
from math import ceil, fsum, log1p

from minicdn.core.value import value_class

KIB, MIB = 1024, 1024 * 1024
PIECE_BYTES_MIN, PIECE_BYTES_MAX = 256 * KIB, 16 * MIB
PIECES_WANTED = 512


def piece_bytes(length: int) -> int:
    """The size of a file's pieces: the next power of two of length / PIECES_WANTED, within the bounds."""
    wanted = -(-length // PIECES_WANTED)
    return min(max(1 << (wanted - 1).bit_length() if wanted > 1 else 1, PIECE_BYTES_MIN), PIECE_BYTES_MAX)


@value_class
class Pieces:
    """A file of `length` bytes in pieces of `size` bytes; the last may be shorter. Spans are half-open."""

    length: int
    size: int

    @classmethod
    def of(cls, length: int) -> Pieces:
        return cls(length, piece_bytes(length))

    @property
    def count(self) -> int:
        return -(-self.length // self.size)

    def span(self, index: int) -> tuple[int, int]:
        start = index * self.size
        return start, min(start + self.size, self.length)

    def touching(self, start: int, end: int) -> range:
        """The pieces that have bytes in [start, end)."""
        return range(start // self.size, -(-min(end, self.length) // self.size)) if start < end else range(0)

    def within(self, start: int, end: int) -> range:
        """The pieces that lie in [start, end) whole."""
        last = self.count if end >= self.length else end // self.size
        return range(-(-start // self.size), max(last, -(-start // self.size)))


@value_class
class Dealer:
    """A member among whom pieces are dealt. weight: its share of them, relative to the others'."""

    url: str
    weight: float = 1.0


def deal(key: str, count: int, dealers: Sequence[Dealer]) -> list[int]:
    """For each piece the index of its owner among `dealers`; empty where nobody can own any.

    No owner has more than its weighted share rounded up; equal inputs give equal deals on every node.
    """
    weights = [max(dealer.weight, 0.0) for dealer in dealers]
    total = fsum(weights)  # whatever the order of the members
    if total <= 0:
        return []
    rooms = [ceil(count * weight / total) for weight in weights]
    salts = [_salt(key, dealer.url) for dealer in dealers]
    owned = []
    for index in range(count):
        owner = _nearest(index, salts, weights, rooms)
        rooms[owner] -= 1
        owned.append(owner)
    return owned


def deal_in_turns(key: str, count: int, dealers: Sequence[Dealer]) -> list[int]:
    """The same for pieces that come in file order: each of so many successive pieces as there are members goes to another one, as far as
    shares allow. Whoever got three of seven in a row would have their copies to send while others have none."""
    weights = [max(dealer.weight, 0.0) for dealer in dealers]
    total = fsum(weights)
    if total <= 0:
        return []
    salts, turn = [_salt(key, dealer.url) for dealer in dealers], sum(weight > 0 for weight in weights)
    had, owned = [0] * len(dealers), []
    for index in range(count):
        until = min(index // turn * turn + turn, count)
        owner = _nearest(index, salts, weights, [ceil(until * weight / total) - has for weight, has in zip(weights, had, strict=True)])
        had[owner] += 1
        owned.append(owner)
    return owned


def backups(key: str, index: int, dealers: Sequence[Dealer]) -> list[int]:
    """Indices of all dealers that may own pieces, in the piece's own order: who is next when its owner is gone."""
    weights = [max(dealer.weight, 0.0) for dealer in dealers]
    scored = [
        (_score(index, _salt(key, dealer.url), weight), place)
        for place, (dealer, weight) in enumerate(zip(dealers, weights, strict=True))
        if weight
    ]
    return [place for _, place in sorted(scored)]


class Backups:
    """backups() of one deal, each piece's worked out once: with a thousand members it takes milliseconds. Its first KEPT are kept."""

    KEPT = 32

    def __init__(self, key: str, dealers: Sequence[Dealer]) -> None:
        self._dealers = dealers
        self._key = key
        self._salts: list[int] = []
        self._found: dict[int, list[str]] = {}

    def urls(self, index: int) -> list[str]:
        found = self._found.get(index)
        if found is None:
            if not self._salts:
                self._salts = [_salt(self._key, dealer.url) for dealer in self._dealers]
            scored = [
                (_score(index, salt, dealer.weight), place)
                for place, (salt, dealer) in enumerate(zip(self._salts, self._dealers, strict=True))
                if dealer.weight > 0
            ]
            found = self._found[index] = [self._dealers[place].url for _, place in nsmallest(self.KEPT, scored)]
        return found


def _nearest(index: int, salts: Sequence[int], weights: Sequence[float], rooms: Sequence[int]) -> int:
    scored = ((_score(index, salts[place], weights[place]), place) for place, room in enumerate(rooms) if room > 0)
    return min(scored)[1]


def _salt(key: str, url: str) -> int:
    """64 bits of the pair: one hash for a file and a member, not one for each piece."""
    name = b"%b\0%b" % (url.encode("utf-8", "surrogateescape"), key.encode("utf-8", "surrogateescape"))
    return int.from_bytes(blake2b(name, digest_size=8).digest(), "big")


_MASK = (1 << 64) - 1


def _score(index: int, salt: int, weight: float) -> float:
    """Weighted rendezvous (rendezvous.py), drawn from the salt and the index by the finalizer of SplitMix64 (Steele et al. 2014)."""
    mixed = (salt + (index + 1) * 0x9E3779B97F4A7C15) & _MASK
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
    mixed ^= mixed >> 31
    return -log1p(-((mixed >> 11) + 0.5) / (1 << 53)) / weight


def share_of(url: str | None, dealers: Sequence[Dealer]) -> float:
    """Of the pieces, beside what each has on average; 0 for who owns none."""
    total = fsum(dealer.weight for dealer in dealers)
    return next((dealer.weight * len(dealers) / total for dealer in dealers if dealer.url == url and total), 0.0)


def shares(owned: Iterable[int], members_count: int) -> list[int]:
    """How many pieces each of so many members owns."""
    counted = [0] * members_count
    for owner in owned:
        counted[owner] += 1
    return counted
