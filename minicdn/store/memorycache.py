"""The memory budget, in three parts: bodies still being filled (bounded, so that a crowd of misses can't outgrow it), the main cache
(what this node owns), and the hot cache (copies of what others own, at most an eighth). Both caches are least recently used
first out.

Counted are bodies, heads and book-keeping, as measured (entry.py); 10,000 objects of 100 bytes are 15 MB, not one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from minicdn.store.body import Body
from minicdn.store.entry import ENTRY_OVERHEAD_BYTES, Entry
from minicdn.store.memory import MemoryStorage

HOT_PART = 8
FILLING_PART, FILLING_PART_MAX = 8, 4
"""Of the memory: an eighth for filling, up to a quarter where a body of the small size would not fit otherwise."""


class MemoryCache:
    """on_evicted: called for each entry that had to leave for want of room."""

    def __init__(self, *, memory_bytes: int, small_bytes: int, on_evicted: Callable[[Entry], None]) -> None:
        self._small_bytes = small_bytes
        self._filling_bytes_max = min(max(memory_bytes // FILLING_PART, _filling_cost(small_bytes)), memory_bytes // FILLING_PART_MAX)
        hot_bytes = memory_bytes // HOT_PART
        self.main = EntryCache(memory_bytes - hot_bytes - self._filling_bytes_max, on_evicted)
        self.hot = EntryCache(hot_bytes, on_evicted)
        self._filling: dict[Body, int] = {}
        self.filling_bytes = 0

    def __contains__(self, entry: Entry) -> bool:
        return entry.cache is self.main or entry.cache is self.hot

    def __len__(self) -> int:
        return len(self.main) + len(self.hot)

    def set_small(self, small_bytes: int) -> None:
        """From now on bodies up to this size are for memory. The parts of the budget stay: what does not fit them goes to disk."""
        self._small_bytes = small_bytes

    def new_body(self, length: int | None) -> Body | None:
        """A body to fill, if it is small and there is room; to be handed back by end_filling()."""
        if length is None or length > self._small_bytes:
            return None
        cost = _filling_cost(length)
        if cost > self.main.maxsize // 2 or self.filling_bytes + cost > self._filling_bytes_max:
            return None
        body = Body(MemoryStorage(length), length)
        self._filling[body] = cost
        self.filling_bytes += cost
        return body

    def may_hold(self, length: int) -> bool:
        """Whether a body of this length is for memory: new_body() would give one, if nothing else were filling."""
        return length <= self._small_bytes and _filling_cost(length) <= min(self.main.maxsize // 2, self._filling_bytes_max)

    def end_filling(self, body: Body) -> None:
        """Idempotent."""
        self.filling_bytes -= self._filling.pop(body, 0)

    def keep(self, entry: Entry) -> bool:
        """A body that was filled here, and is whole or partial. False where it was not, or can't be kept."""
        if entry.body not in self._filling:
            return False
        self.end_filling(entry.body)
        return self.admit(entry)

    def admit(self, entry: Entry) -> bool:
        """Keep it as the most recently used; again, where its head has changed. False where it is larger than a whole cache. A copy
        too large for the hot cache's part goes to the main one: else it would be fetched again for each request."""
        self.discard(entry)
        cost = entry.memory_cost_bytes
        cache = self.hot if entry.is_hot and cost <= self.hot.maxsize else self.main
        if cost > cache.maxsize:
            return False
        cache.add(entry)
        return True

    def touch(self, entry: Entry) -> None:
        (self.hot if entry.cache is self.hot else self.main).touch(entry)

    def discard(self, entry: Entry) -> None:
        """Idempotent."""
        if entry.cache is not None:
            entry.cache.discard(entry)


class EntryCache:
    """Entries that cost up to `maxsize` bytes together; the least recently used leave first, and on_evicted is told.

    Their order is a ring of the entries themselves (Entry.older, Entry.newer): beside a million small entries an OrderedDict is a fifth
    of what they take, and to grow it would be a pause.
    """

    def __init__(self, maxsize: int, on_evicted: Callable[[Entry], None]) -> None:
        self.maxsize = maxsize
        self.currsize = 0
        self._count = 0
        self._oldest: Entry | None = None
        self._on_evicted = on_evicted

    def __contains__(self, entry: object) -> bool:
        return getattr(entry, "cache", None) is self

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Entry]:
        """The oldest first."""
        entry = self._oldest
        for _ in range(self._count):
            assert entry is not None
            yield entry
            entry = entry.newer

    def add(self, entry: Entry) -> None:
        """As the most recently used; it must not be here, and cost no more than maxsize."""
        while self.currsize + entry.memory_cost_bytes > self.maxsize:
            leaving = self._oldest
            assert leaving is not None
            self.discard(leaving)
            self._on_evicted(leaving)
        entry.cache = self
        self.currsize += entry.memory_cost_bytes
        self._count += 1
        self._link(entry)

    def touch(self, entry: Entry) -> None:
        """It was used; nothing where it is not here."""
        if entry.cache is self:
            self._unlink(entry)
            self._link(entry)

    def discard(self, entry: Entry) -> None:
        """Idempotent."""
        if entry.cache is self:
            self._unlink(entry)
            entry.cache = entry.older = entry.newer = None
            self.currsize -= entry.memory_cost_bytes
            self._count -= 1

    def _link(self, entry: Entry) -> None:
        """As the newest, which stands before the oldest."""
        oldest = self._oldest
        if oldest is None:
            self._oldest = entry.older = entry.newer = entry
            return
        newest = oldest.older
        assert newest is not None
        entry.older, entry.newer = newest, oldest
        newest.newer = oldest.older = entry

    def _unlink(self, entry: Entry) -> None:
        older, newer = entry.older, entry.newer
        assert older is not None and newer is not None
        older.newer, newer.older = newer, older
        if self._oldest is entry:
            self._oldest = None if newer is entry else newer


def _filling_cost(length: int) -> int:
    return length + ENTRY_OVERHEAD_BYTES
