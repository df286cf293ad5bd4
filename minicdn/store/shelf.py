"""The shelf: every Body that is kept, in memory or on disk, within byte budgets (memorycache.py, diskcache.py).

A body is handed out to be filled, stands on the shelf from its head on so that others read along, and is kept when it is whole:

    new_body ─ begin ─ (has_room_for, as it grows) ─ keep ─ (touch, restate) ─ remove
                 └─ withdraw ─ drop: it broke off, or can't be kept

Whatever leaves the shelf stays readable for those who read it; its file is deleted when the last of them has closed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from minicdn.core.conditional import strong_validator
from minicdn.core.counters import Counters
from minicdn.core.freshness import Stored
from minicdn.core.vary import is_same_variant
from minicdn.store.body import Body
from minicdn.store.diskcache import DiskCache
from minicdn.store.entry import DISK_ENTRY_BYTES, Entry, memory_cost
from minicdn.store.memorycache import MemoryCache
from minicdn.store.sharing import SharedLines

VARIANTS_MAX = 64
NOTHING: list[Entry] = []
"""Of a key that nothing is stored of: a list that stays empty, since nobody may change what find() returns."""
DISK_ENTRIES_MIN, DISK_INDEX_PART = 1000, 4


class Shelf:
    """Not thread-safe: all calls on the event loop. cache_dir None: nothing on disk (large bodies are relayed)."""

    def __init__(self, *, memory_bytes: int, disk_bytes: int, small_bytes: int, cache_dir: Path | None, counters: Counters) -> None:
        self._counters = counters
        self._entries: dict[str, list[Entry]] = {}
        self._lines = SharedLines()
        self._memory = MemoryCache(memory_bytes=memory_bytes, small_bytes=small_bytes, on_evicted=self._evicted)
        self._disk = DiskCache(
            folder=cache_dir,
            budget_bytes=disk_bytes,
            entries_max=max(DISK_ENTRIES_MIN, memory_bytes // DISK_INDEX_PART // DISK_ENTRY_BYTES),
            counters=counters,
            remove=self.remove,
        )

    async def open(self) -> None:
        """Take the cache folder and find again what an earlier run left. Raises CacheFolderUnusable."""
        await self._disk.open(self._readmit)

    async def close(self) -> None:
        """Finish writing metadata, within a deadline; let go of every handle and of the folder."""
        await self._disk.close()

    def set_small(self, small_bytes: int) -> None:
        """Bodies up to this size live in memory; those that are there already stay where they are."""
        self._memory.set_small(small_bytes)

    # Finding

    def find(self, key: str) -> list[Entry]:
        """The variants of a key; not to be changed by the caller."""
        return self._entries.get(key, NOTHING)

    def keys(self) -> Iterator[str]:
        return iter(list(self._entries))

    def touch(self, entry: Entry, now: float) -> None:
        """It was used. now: monotonic seconds."""
        if entry in self._disk:
            self._disk.touch(entry, now)
        else:
            self._memory.touch(entry)

    # Filling

    def new_body(self, key: str, length: int | None, *, is_kept: bool = True) -> Body:
        """A body to fill: in memory when small, on disk when large or of unknown length, relayed when it may not or can't be
        kept. To be handed back by keep() or drop()."""
        body = (self._memory.new_body(length) or self._disk.new_body(key, length)) if is_kept else None
        return body or Body(None, length)

    def has_room_for(self, body: Body, end: int) -> bool:
        """Whether a disk body may grow to `end` bytes; evicts others for it. Always true for the rest."""
        return self._disk.has_room_for(body, end)

    def drop(self, body: Body) -> None:
        """A body that will not be kept: broken, abandoned or relayed. Idempotent."""
        self._memory.end_filling(body)
        self._disk.end_filling(body)
        body.discard()

    def begin(self, entry: Entry) -> None:
        """From now on others find the entry and read along. An earlier one of the same variant stays until this one is whole."""
        variants = self._entries.get(entry.key)
        if variants is None:
            variants = self._entries[entry.key] = [entry]
        else:
            variants.append(entry)
        self._disk.begin(entry)
        if len(variants) > VARIANTS_MAX:
            oldest = next((other for other in variants if other is not entry and not other.body.is_filling), None)
            if oldest is not None:
                self._evicted(oldest)

    def withdraw(self, entry: Entry) -> None:
        """Others don't find it any more, nor does a restart, unless it is kept. Idempotent."""
        self._disk.withdraw(entry)
        variants = self._entries.get(entry.key)
        if variants is not None and entry in variants:
            variants.remove(entry)
            if not variants:
                del self._entries[entry.key]

    # Keeping

    def keep(self, entry: Entry) -> None:
        """A body that is whole: keep its entry, in the place of the same variant's earlier one. One that was withdrawn meanwhile (a
        purge), or that can't be kept, is dropped."""
        variants = self._entries.get(entry.key, NOTHING)
        if entry.stored is not None and entry in variants:
            self._settle_head(entry, entry.stored)
            if self._memory.keep(entry) or self._disk.keep(entry):
                if len(variants) > 1:
                    self._replace_others(entry)
                return
        self.withdraw(entry)
        self.drop(entry.body)

    def may_put(self, key: str, length: int | None) -> bool:
        """Whether a body of this length, which came whole, can be put here: it is for memory, and nothing else is here of its key."""
        return length is not None and key not in self._entries and self._memory.may_hold(length)

    def put(self, entry: Entry) -> None:
        """Such a body: in memory, and whole. As begin() and keep() would do it."""
        assert entry.stored is not None
        self._settle_head(entry, entry.stored)
        if self._memory.admit(entry):
            self._entries[entry.key] = [entry]
        else:
            entry.body.discard()

    def begin_partial(self, entry: Entry) -> bool:
        """An entry whose body is filled span by span: it is kept from its first span on, at the cost of the whole. False where it
        can't be; it is dropped then."""
        entry.body.rest_as_partial()
        self.begin(entry)
        self.keep(entry)
        return entry in self.find(entry.key)

    def completed(self, entry: Entry) -> None:
        """The last span of a partial body has come."""
        if entry in self._disk:
            self._disk.completed(entry)

    def keep_part(self, entry: Entry) -> bool:
        """The fill of a whole body ended early: what came is kept as a part, where it can be gone on with. False where it can't be;
        nothing has changed then."""
        ledger = entry.body.ledger
        if ledger is None or not ledger.has_digests or strong_validator(entry.head) is None or entry not in self.find(entry.key):
            return False
        entry.body.rest_as_partial()
        if not self._disk.keep(entry):
            entry.body.fail("the part can't be kept")
            return False
        return True

    def on_damaged_piece(self, act: Callable[[Entry, int, int], None]) -> None:
        """To be called for the span of a piece that the disk has changed, when it is there no more: readers wait where `act` calls
        expect() for it, and get BrokenBody where it does not."""
        self._disk.on_damaged_piece = act

    def on_wrong_file(self, act: Callable[[Entry], None]) -> None:
        """To be called for a file whose bytes turned out not to have the digest that its head names; it is off the shelf by then."""
        self._disk.on_wrong_file = act

    def restate(self, entry: Entry, stored: Stored) -> Entry:
        """The same body under a fresher head (a 304, a purge). Returns the entry, changed in place."""
        is_in_memory = entry in self._memory
        self._memory.discard(entry)
        self._settle_head(entry, stored)
        self._disk.record(entry)
        if is_in_memory and not self._memory.admit(entry):
            self._evicted(entry)
        return entry

    def _settle_head(self, entry: Entry, stored: Stored) -> None:
        """One head, not two that say the same; in memory one that has what it can in common with others."""
        if entry.body.medium == "memory":
            head, lines_bytes = self._lines.share(stored.head)
            entry.memory_cost_bytes = memory_cost(entry, lines_bytes)
            stored = stored.under(head)
        entry.stored, entry.head = stored, stored.head

    def remove(self, entry: Entry) -> None:
        """Take an entry off the shelf; who reads it now reads on, and who fills it writes on. Idempotent."""
        self.withdraw(entry)
        self._memory.discard(entry)
        self._disk.discard(entry)
        entry.body.discard()

    async def wait_recorded(self) -> None:
        """Returns when a restart would find all that has been kept and restated up to now."""
        await self._disk.wait_recorded()

    def statistics(self) -> dict[str, int]:
        """Bytes and entries in use, for /_stats."""
        return {
            "memory_main_bytes": int(self._memory.main.currsize),
            "memory_hot_bytes": int(self._memory.hot.currsize),
            "memory_filling_bytes": self._memory.filling_bytes,
            "memory_entries_count": len(self._memory),
            "disk_used_bytes": self._disk.used_bytes,
            "disk_entries_count": len(self._disk),
        }

    def _readmit(self, entry: Entry) -> None:
        """Of two of the same variant, which only a crash can leave, the one that arrived later stays."""
        for other in list(self.find(entry.key)):
            if is_same_variant(entry.stored, other.stored):
                if _arrived_at(other) > _arrived_at(entry):
                    self.remove(entry)
                    return
                self.remove(other)
        self.begin(entry)

    def _replace_others(self, entry: Entry) -> None:
        for other in list(self.find(entry.key)):
            if other is not entry and not other.body.is_filling and is_same_variant(other.stored, entry.stored):
                self.remove(other)

    def _evicted(self, entry: Entry) -> None:
        self._counters.add("evictions_count")
        self.remove(entry)


def _arrived_at(entry: Entry) -> float:
    assert entry.stored is not None
    return entry.stored.response_at
