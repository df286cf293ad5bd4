"""The journal: which purges there were, in order, so that a node that was away learns what it missed.

Kept by the manager. A *mark* names a place in it: which journal, and after which entry. A peer carries the mark of what it has applied;
`since(mark)` gives the rest, or None where the journal can't tell (another journal's mark, or one too old): then the peer
takes everything that it holds for out of date.

Numbers grow, but need not follow one another: a journal that was read back after a restart leaves a gap, so that marks of
entries which never reached the disk name nothing, rather than something else.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable
from functools import lru_cache

from minicdn.core.purging import Purge
from minicdn.core.value import value_class

ENTRIES_MAX = 1000
JOURNAL_BYTES_MAX = 2 * 1024 * 1024
MARKS_MAX, MARK_CHARACTERS_MAX = 256, 48
"""Of marks that are remembered as they were read; the longest mark there can be."""
RESTART_GAP = 1 << 24
_MARK = re.compile(r"([0-9a-f]{1,32})\.([0-9]{1,15})", re.ASCII)


@value_class
class Mark:
    """After entry `number` of the journal `id`; 0: before the first."""

    id: str
    number: int

    def __str__(self) -> str:
        return f"{self.id}.{self.number}"

    @classmethod
    def parse(cls, text: object) -> Mark | None:
        return _parse_mark(text) if isinstance(text, str) and len(text) <= MARK_CHARACTERS_MAX else None

    def is_ahead_of(self, other: Mark | None) -> bool:
        """Whether who holds this one may know of purges that the holder of `other` doesn't know."""
        return other is None or self.id != other.id or self.number > other.number


@lru_cache(MARKS_MAX)
def _parse_mark(text: str) -> Mark | None:
    """All that peers ask in one moment has the same mark."""
    match = _MARK.fullmatch(text)
    return Mark(match[1], int(match[2])) if match is not None else None


@value_class
class Entry:
    """before: number of the entry before it, so that whoever holds that one can follow. token: the purge's own name, given where it
    arrived; by it the same purge is known on all its ways."""

    number: int
    before: int
    token: str
    purge: Purge

    def to_wire(self) -> list[object]:
        return [self.number, self.before, self.token, self.purge.to_wire()]

    @classmethod
    def from_wire(cls, plain: object) -> Entry:
        """Raises ValueError."""
        match plain:
            case [int(number), int(before), str(token), purge] if 0 <= before < number and 0 < len(token) <= 64:
                return cls(number, before, token, Purge.from_wire(purge))
        raise ValueError("not an entry of a journal")


class Journal:
    """Bounded in entries and in bytes; the oldest go first."""

    def __init__(self, id: str, floor: int = 0, entries: Iterable[Entry] = ()) -> None:
        """floor: number of the entry before the first one here."""
        self._id = id
        self._floor = self._last = floor
        self._entries: deque[Entry] = deque()
        self._by_token: dict[str, Entry] = {}
        self._bytes = 0
        for entry in entries:
            self._take(entry)

    @property
    def mark(self) -> Mark:
        return Mark(self._id, self._last)

    def find(self, token: str) -> Entry | None:
        return self._by_token.get(token)

    def add(self, token: str, purge: Purge) -> Entry:
        """The purge's entry; the one that it has already, where it comes again."""
        entry = self._by_token.get(token)
        if entry is None:
            entry = Entry(self._last + 1, self._last, token, purge)
            self._take(entry)
        return entry

    def since(self, mark: Mark | None) -> list[Entry] | None:
        """What came after the mark; None where that is not known."""
        if mark is None or mark.id != self._id:
            return None
        if mark.number not in (self._floor, self._last) and all(mark.number not in (entry.before, entry.number) for entry in self._entries):
            return None
        return [entry for entry in self._entries if entry.number > mark.number]

    def _take(self, entry: Entry) -> None:
        self._entries.append(entry)
        self._by_token[entry.token] = entry
        self._last = entry.number
        self._bytes += entry.purge.cost_bytes
        while len(self._entries) > ENTRIES_MAX or (self._bytes > JOURNAL_BYTES_MAX and len(self._entries) > 1):
            oldest = self._entries.popleft()
            self._by_token.pop(oldest.token, None)
            self._bytes -= oldest.purge.cost_bytes
            self._floor = oldest.number

    def to_wire(self) -> dict[str, object]:
        return {"id": self._id, "floor": self._floor, "last": self._last, "entries": [entry.to_wire() for entry in self._entries]}

    @classmethod
    def from_wire(cls, plain: object) -> Journal:
        """The journal as it goes on after a restart. Raises ValueError."""
        match plain:
            case {"id": str(id), "floor": int(floor), "last": int(last), "entries": list(entries)} if 0 <= floor <= last:
                journal = cls(id, floor, map(Entry.from_wire, entries))
                if Mark.parse(str(journal.mark)) is not None and journal._last <= last:
                    journal._last = last + RESTART_GAP
                    return journal
        raise ValueError("not a journal of ours")
