"""The shelf: every Body that is kept, in memory or on disk, within byte budgets.

Memory is three parts: bodies still being filled (bounded, so that a crowd of misses can't outgrow the budget), the main cache
(what this node owns), and the hot cache (copies of what others own, at most an eighth). Both caches are least recently used first
out. The disk has one budget and one such order; a body somebody is reading, or filling, is passed over.

Counted is what this program uses, never a share of the whole disk.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from hashlib import sha256
from itertools import count
from pathlib import Path
from secrets import token_hex

from cachetools import LRUCache

from minicdn.core.counters import Counters
from minicdn.core.freshness import Stored, from_wire, to_wire
from minicdn.core.message import Head
from minicdn.errors import BrokenBody, CacheFolderUnusable, DiskError
from minicdn.store.body import Body
from minicdn.store.disk import DiskStorage
from minicdn.store.entry import Entry
from minicdn.store.folder import FolderLock
from minicdn.store.index import BODY_SUFFIX, Record, delete_record, recover, write_record
from minicdn.store.memory import MemoryStorage

BLOCK_BYTES = 4096
DISK_ENTRIES_MAX = 200_000
VARIANTS_MAX = 64
GROW_STEP_BYTES = 4 * 1024 * 1024
TOUCH_SECONDS = 60.0


class Shelf:
    """Not thread-safe: all calls on the event loop. cache_dir None: nothing on disk (large bodies are relayed)."""

    def __init__(self, *, memory_bytes: int, disk_bytes: int, small_bytes: int, cache_dir: Path | None, counters: Counters) -> None:
        self._small_bytes = small_bytes
        self._filling_bytes_max = min(max(memory_bytes // 8, small_bytes), memory_bytes // 4)
        hot_bytes = memory_bytes // 8
        self._main = MemoryCache(memory_bytes - hot_bytes - self._filling_bytes_max, self._forget)
        self._hot = MemoryCache(hot_bytes, self._forget)
        self._disk_bytes = disk_bytes
        self._cache_dir = cache_dir
        self._counters = counters
        self._lock: FolderLock | None = None
        self._entries: dict[str, list[Entry]] = {}
        self._disk: OrderedDict[Entry, None] = OrderedDict()
        self._disk_used_bytes = 0
        self._reserved: dict[Body, int] = {}
        self._filling: dict[Body, int] = {}
        self._filling_bytes = 0
        self._names = count()
        self._nonce = token_hex(4)
        self._persisting: dict[Entry, asyncio.Task[None]] = {}

    # Opening and closing

    async def open(self) -> None:
        """Take the cache folder and find again what an earlier run left whole. Raises CacheFolderUnusable."""
        if self._cache_dir is None:
            return
        self._lock = FolderLock(self._cache_dir)
        try:
            self._objects.mkdir(exist_ok=True)
            records = await asyncio.to_thread(lambda: list(recover(self._objects)))
        except OSError as error:
            raise CacheFolderUnusable(f"the cache folder {self._cache_dir} can't be used ({error.strerror}): choose another with --cache-dir") from error
        for body_path, record in records:
            self._readmit(body_path, record)
        self._make_disk_room(0)

    async def close(self) -> None:
        """Finish writing metadata, close every handle."""
        await asyncio.gather(*self._persisting.values(), return_exceptions=True)
        for entry in self._disk:
            entry.body.storage.park()
        if self._lock is not None:
            self._lock.release()

    def _readmit(self, body_path: Path, record: Record) -> None:
        try:
            stored = from_wire(record.stored)
        except ValueError:
            delete_record(body_path)
            body_path.unlink(missing_ok=True)
            return
        body = Body.whole(DiskStorage(body_path), record.length)
        entry = Entry(record.key, stored.head, stored, body, disk_cost_bytes=_disk_cost(record.length))
        self._index(entry)
        self._disk[entry] = None
        self._disk_used_bytes += entry.disk_cost_bytes

    @property
    def _objects(self) -> Path:
        assert self._cache_dir is not None
        return self._cache_dir / "objects"

    # Finding

    def find(self, key: str) -> list[Entry]:
        """The variants of a key; not to be changed by the caller."""
        return self._entries.get(key, [])

    def keys(self) -> Iterator[str]:
        return iter(list(self._entries))

    def touch(self, entry: Entry, now: float) -> None:
        """It was used. now: monotonic seconds."""
        if entry.body.medium == "memory":
            (self._hot if entry.is_hot else self._main).get(entry)
        elif entry in self._disk:
            self._disk.move_to_end(entry)
            if now - entry.touched_at > TOUCH_SECONDS:
                entry.touched_at = now
                entry.body.storage.touch()  # type: ignore[attr-defined]

    # Filling

    def new_body(self, key: str, length: int | None, *, is_kept: bool = True) -> Body:
        """A body to fill: in memory when small, on disk when large or of unknown length, relayed when it may not or can't be
        kept. To be handed back by keep() or drop()."""
        if is_kept and length is not None and self._has_memory_for(length):
            body = Body(MemoryStorage(), length)
            self._filling[body] = length
            self._filling_bytes += length
            return body
        if not is_kept or self._cache_dir is None:
            return Body(None, length)
        body = Body(DiskStorage(self._new_path(key)), length)
        if not self._reserve(body, _disk_cost(length or 0)):
            return Body(None, length)
        return body

    def has_room_for(self, body: Body, end: int) -> bool:
        """Whether a disk body may grow to `end` bytes; evicts others for it. Always true for the rest."""
        reserved = self._reserved.get(body)
        if reserved is None or end + BLOCK_BYTES <= reserved:
            return True
        return self._reserve(body, _disk_cost(end + GROW_STEP_BYTES)) or self._reserve(body, _disk_cost(end))

    def drop(self, body: Body) -> None:
        """A body that will not be kept: broken, abandoned or relayed. Idempotent."""
        self._filling_bytes -= self._filling.pop(body, 0)
        self._disk_used_bytes -= self._reserved.pop(body, 0)
        body.discard()

    def begin(self, entry: Entry) -> None:
        """From now on others find the entry and read along. An earlier one of the same variant stays until this one is whole."""
        self._index(entry)

    def withdraw(self, entry: Entry) -> None:
        """Others don't find it any more. Idempotent."""
        self._forget(entry)

    def keep(self, entry: Entry) -> None:
        """A body that is whole: keep its entry, in the place of the same variant's earlier one."""
        body = entry.body
        if entry not in self.find(entry.key):
            self.drop(body)  # withdrawn meanwhile: a purge, or a body that could not be kept
            return
        for other in list(self.find(entry.key)):
            if other is not entry and not other.body.is_filling and _is_same_variant(other, entry):
                self.remove(other)
        if body.medium == "memory":
            self._filling_bytes -= self._filling.pop(body, 0)
            cache = self._hot if entry.is_hot else self._main
            if not cache.admit(entry):
                self._forget(entry)
        elif body.medium == "disk" and body.is_kept:
            self._disk_used_bytes -= self._reserved.pop(body, 0)
            entry.disk_cost_bytes = _disk_cost(body.length or 0)
            self._disk[entry] = None
            self._disk_used_bytes += entry.disk_cost_bytes
            self._make_disk_room(0)
            if entry in self._disk:
                self._persist(entry)
        else:
            self._forget(entry)
            self.drop(body)

    def restate(self, entry: Entry, stored: Stored) -> Entry:
        """The same body under a fresher head (a 304, a purge). Returns the entry, changed in place."""
        entry.stored, entry.head = stored, stored.head
        if entry in self._disk:
            self._persist(entry)
        return entry

    def remove(self, entry: Entry) -> None:
        """Take an entry off the shelf; who reads it now reads on. Idempotent."""
        self._main.pop(entry, None)
        self._hot.pop(entry, None)
        if entry in self._disk:
            del self._disk[entry]
            self._disk_used_bytes -= entry.disk_cost_bytes
            delete_record(entry.body.storage.path)  # type: ignore[attr-defined]
        entry.body.discard()
        self._forget(entry)

    def statistics(self) -> dict[str, int]:
        """Bytes and entries in use, for /_stats."""
        return {
            "memory_main_bytes": int(self._main.currsize),
            "memory_hot_bytes": int(self._hot.currsize),
            "memory_filling_bytes": self._filling_bytes,
            "memory_entries_count": len(self._main) + len(self._hot),
            "disk_used_bytes": self._disk_used_bytes,
            "disk_entries_count": len(self._disk),
        }

    # Inside

    def _has_memory_for(self, length: int) -> bool:
        return (
            length <= self._small_bytes
            and length <= self._main.maxsize // 2
            and self._filling_bytes + length <= self._filling_bytes_max
        )

    def _new_path(self, key: str) -> Path:
        name = sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:32]
        folder = self._objects / name[:2]
        folder.mkdir(exist_ok=True)
        return folder / f"{name}-{self._nonce}{next(self._names)}{BODY_SUFFIX}"

    def _reserve(self, body: Body, cost_bytes: int) -> bool:
        more = cost_bytes - self._reserved.get(body, 0)
        if not self._make_disk_room(more):
            return False
        self._reserved[body] = cost_bytes
        self._disk_used_bytes += more
        return True

    def _make_disk_room(self, more_bytes: int) -> bool:
        """Evict until `more_bytes` fit. False where they can't; nothing is evicted in vain then."""
        over = self._disk_used_bytes + more_bytes - self._disk_bytes
        if over <= 0 and len(self._disk) <= DISK_ENTRIES_MAX:
            return True
        leaving: list[Entry] = []
        excess = len(self._disk) - DISK_ENTRIES_MAX
        for entry in self._disk:
            if over <= 0 and len(leaving) >= excess:
                break
            if entry.body.reader_count == 0:
                leaving.append(entry)
                over -= entry.disk_cost_bytes
        if over > 0:
            return False
        for entry in leaving:
            self._counters.add("evictions_count")
            self.remove(entry)
        return True

    def _index(self, entry: Entry) -> None:
        variants = self._entries.setdefault(entry.key, [])
        variants.append(entry)
        if len(variants) > VARIANTS_MAX and not variants[0].body.is_filling:
            self.remove(variants[0])

    def _forget(self, entry: Entry) -> None:
        variants = self._entries.get(entry.key)
        if variants is not None and entry in variants:
            variants.remove(entry)
            if not variants:
                del self._entries[entry.key]

    def _persist(self, entry: Entry) -> None:
        previous = self._persisting.get(entry)
        task = asyncio.get_running_loop().create_task(self._write_metadata(entry, previous))
        self._persisting[entry] = task
        task.add_done_callback(lambda done: self._persisting.pop(entry) if self._persisting.get(entry) is done else None)

    async def _write_metadata(self, entry: Entry, previous: asyncio.Task[None] | None) -> None:
        if previous is not None:
            await asyncio.wait([previous])
        storage = entry.body.storage
        assert isinstance(storage, DiskStorage) and entry.stored is not None
        try:
            if previous is None:
                await storage.sync()
            record = Record(entry.key, to_wire(entry.stored), entry.body.length or 0)
            await asyncio.to_thread(write_record, storage.path, record)
        except (DiskError, OSError, BrokenBody):
            self._counters.add("disk_errors_count")
            self.remove(entry)
        if entry not in self._disk:
            delete_record(storage.path)


class MemoryCache(LRUCache):  # type: ignore[type-arg]
    """cachetools' LRU cache over entries, sized in bytes, that tells whom it evicts."""

    def __init__(self, maxsize: int, on_evicted) -> None:  # type: ignore[no-untyped-def]
        super().__init__(maxsize, getsizeof=lambda cost: cost)
        self._on_evicted = on_evicted

    def admit(self, entry: Entry) -> bool:
        """False where it is larger than the whole cache."""
        cost = entry.memory_cost_bytes
        if cost > self.maxsize:
            return False
        self[entry] = cost
        return True

    def popitem(self):  # type: ignore[no-untyped-def]
        entry, cost = super().popitem()
        self._on_evicted(entry)
        return entry, cost


def _is_same_variant(one: Entry, other: Entry) -> bool:
    return one.stored is not None and other.stored is not None and one.stored.selecting == other.stored.selecting


def _disk_cost(length: int) -> int:
    """What a body of so many bytes takes on disk: whole blocks, and one for its metadata."""
    return -(-length // BLOCK_BYTES) * BLOCK_BYTES + BLOCK_BYTES


