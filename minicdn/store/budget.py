"""The disk budget: what every body file costs, and who leaves when room is wanted.

A file costs from the moment it is reserved for until it is given up for deletion: a body that was evicted or purged
while somebody reads it still lies on the disk, and still counts. Entries leave least recently used first; one that is in use
(read, or being synced) is passed over, and counts as just used, so that no search meets it twice in a row.

A body of known length *promises* its whole cost at the start, so that two that can't both fit are not both begun; it
takes its room step by step as it grows, so that a download which is given up at once has not emptied the cache.

Counted is what this program uses, never a share of the whole disk.
"""

from __future__ import annotations

from collections import OrderedDict

from minicdn.store.disk import DiskStorage
from minicdn.store.entry import Entry

BLOCK_BYTES = 4096
GROW_STEP_BYTES_MIN, GROW_STEP_BYTES_MAX = 64 * 1024, 4 * 1024 * 1024
PASSED_OVER_MAX = 256


def disk_cost(length: int) -> int:
    """What a body of so many bytes takes on disk: whole blocks, and one for its metadata."""
    return -(-length // BLOCK_BYTES) * BLOCK_BYTES + BLOCK_BYTES


class DiskBudget:
    """Decides only: plan_room() names the entries to remove, and whoever asked removes them."""

    def __init__(self, budget_bytes: int, entries_max: int) -> None:
        self._budget_bytes = budget_bytes
        self._entries_max = entries_max
        self._costs: dict[DiskStorage, int] = {}
        self._promises: dict[DiskStorage, int] = {}
        self._kept: OrderedDict[Entry, DiskStorage] = OrderedDict()
        self._kept_bytes = 0
        self.used_bytes = 0

    def __contains__(self, entry: Entry) -> bool:
        return entry in self._kept

    def __len__(self) -> int:
        return len(self._kept)

    # Bodies that are being filled

    def promise(self, storage: DiskStorage, length: int | None) -> bool:
        """False where it could not fit beside the other promises, even with all entries gone."""
        promised = sum(max(cost, self._costs.get(other, 0)) for other, cost in self._promises.items())
        leaving = self.used_bytes - self._kept_bytes - sum(self._costs.get(other, 0) for other in self._promises)
        if promised + leaving + disk_cost(length or 0) > self._budget_bytes:
            return False
        self._promises[storage] = disk_cost(length or 0)
        return True

    def has_reserved(self, storage: DiskStorage, end: int) -> bool:
        return disk_cost(end) <= self._costs.get(storage, 0)

    def room(self, storage: DiskStorage) -> int:
        """How long its file may become with what is reserved."""
        return self._costs[storage] - BLOCK_BYTES

    def growth(self, storage: DiskStorage, end: int) -> tuple[int, int]:
        """What to reserve for a body that grows to `end`: as much as is good, and the least that will do."""
        step = min(max(end, GROW_STEP_BYTES_MIN), GROW_STEP_BYTES_MAX)
        least = disk_cost(end)
        good = disk_cost(end + step)
        promised = self._promises.get(storage, 0)
        return (max(min(good, promised), least) if promised >= least else good), least

    def missing(self, storage: DiskStorage, cost_bytes: int) -> int:
        """What is to be added to what it has."""
        return cost_bytes - self._costs.get(storage, 0)

    def reserve(self, storage: DiskStorage, cost_bytes: int) -> None:
        self.used_bytes += self.missing(storage, cost_bytes)
        self._costs[storage] = cost_bytes

    def end_promise(self, storage: DiskStorage) -> None:
        """It is filled, or never will be. What it has reserved counts on. Idempotent."""
        self._promises.pop(storage, None)

    def given_up(self, storage: DiskStorage) -> None:
        """Its file is closed and on its way out."""
        self.used_bytes -= self._costs.pop(storage, 0)
        self._promises.pop(storage, None)

    # Entries

    def keep(self, entry: Entry, storage: DiskStorage, length: int) -> None:
        """The body is whole; its entry is the most recently used."""
        self.end_promise(storage)
        self.reserve(storage, disk_cost(length))
        self._kept[entry] = storage
        self._kept_bytes += self._costs[storage]

    def forget(self, entry: Entry) -> DiskStorage | None:
        """It is no entry any more; its file still costs. Returns that, None where it was none."""
        storage = self._kept.pop(entry, None)
        if storage is not None:
            self._kept_bytes -= self._costs[storage]
        return storage

    def touch(self, entry: Entry) -> DiskStorage:
        """It is the most recently used now. Returns its file."""
        self._kept.move_to_end(entry)
        return self._kept[entry]

    def storage_of(self, entry: Entry) -> DiskStorage | None:
        return self._kept.get(entry)

    def storages(self) -> list[DiskStorage]:
        """Of the entries."""
        return list(self._kept.values())

    def plan_room(self, more_bytes: int) -> list[Entry] | None:
        """Who must leave for `more_bytes` to fit; None where they can't: nobody leaves in vain."""
        return self.plan_leaving(self.used_bytes + more_bytes - self._budget_bytes)

    def plan_leaving(self, over: int) -> list[Entry] | None:
        """Who must leave for so many bytes to become free."""
        excess = len(self._kept) - self._entries_max
        if over > self._kept_bytes:
            return None
        leaving: list[Entry] = []
        passed_over: list[Entry] = []
        for entry, storage in self._kept.items():
            if (over <= 0 and len(leaving) >= excess) or len(passed_over) >= PASSED_OVER_MAX:
                break
            if entry.body.is_used or storage.is_pinned:
                passed_over.append(entry)
            else:
                leaving.append(entry)
                over -= self._costs[storage]
        for entry in passed_over:
            self._kept.move_to_end(entry)
        return leaving if over <= 0 else None
