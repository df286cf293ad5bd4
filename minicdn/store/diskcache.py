"""The disk's side of the shelf: the folder, its budget, and who writes what when (budget.py decides, recorder.py writes).

A file is filled, kept and removed here; each of its faults ends here as well. Where the disk refuses, the answer is None or False,
and the body is relayed instead: a full disk costs a copy, never a download. Where other programs have filled it below this cache's
budget, entries leave for what comes, and while it refuses everything nothing is begun on it.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Iterable
from functools import partial
from itertools import count
from pathlib import Path
from secrets import token_hex

from minicdn.core.conditional import strong_validator
from minicdn.core.counters import Counters
from minicdn.core.digests import parse_digests
from minicdn.core.freshness import from_wire
from minicdn.core.pieces import Pieces
from minicdn.errors import CacheFolderUnusable
from minicdn.store.body import Body
from minicdn.store.budget import DiskBudget, disk_cost
from minicdn.store.disk import DiskStorage
from minicdn.store.entry import Entry
from minicdn.store.files import delete_file, free_space
from minicdn.store.folder import CacheFolder
from minicdn.store.growing import Growing
from minicdn.store.index import Record, body_path, delete_record, recover
from minicdn.store.recorder import Recorder
from minicdn.store.summing import Summer

FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
ROOM_BYTES = 8 * 1024 * 1024
"""Freed at least where the disk is full, and kept free where a file begins."""
REFUSED_SECONDS = 5.0
"""After a refusal nothing is begun on the disk for so long."""
TOUCH_SECONDS = 60.0
CLOSE_SECONDS = 5.0
SUM_RECORD_BYTES = 16 * 1024 * 1024
"""Of a smaller body the whole's digest is computed again after a restart: that costs less than a second sync."""


class DiskCache:
    """folder None: nothing is kept on disk. remove: takes an entry off the shelf, here as well."""

    def __init__(
        self, *, folder: Path | None, budget_bytes: int, entries_max: int, counters: Counters, remove: Callable[[Entry], None]
    ) -> None:
        self._path = folder
        self._folder: CacheFolder | None = None
        self._budget = DiskBudget(budget_bytes, entries_max)
        self._recorder = Recorder(counters, is_kept=self._is_recorded, on_failed=remove)
        self._growing = Growing(self._recorder.record)
        self._summer = Summer(is_kept=self._budget.__contains__, on_summed=self._summed)
        self.on_damaged_piece: Callable[[Entry, int, int], None] = lambda entry, start, end: None
        self.on_wrong_file: Callable[[Entry], None] = lambda entry: None
        self._filling: dict[Body, DiskStorage] = {}
        self._counters = counters
        self._remove = remove
        self._refused_until = float("-inf")
        self._is_full = False
        self._names = count()
        self._run = token_hex(4)

    def __contains__(self, entry: Entry) -> bool:
        return entry in self._budget

    def __len__(self) -> int:
        return len(self._budget)

    @property
    def used_bytes(self) -> int:
        return self._budget.used_bytes

    async def open(self, index: Callable[[Entry], None]) -> None:
        """Take the folder and find again what an earlier run left; each is given to `index`, least recently used first. Raises
        CacheFolderUnusable."""
        if self._path is None:
            return
        self._folder = CacheFolder(self._path)
        try:
            records = await asyncio.to_thread(recover, self._folder.objects)
        except OSError as error:
            self._folder.release()
            raise CacheFolderUnusable(
                f"the cache folder {self._path} can't be read ({error.strerror}): choose another with --cache-dir"
            ) from error
        for path, record in records:
            entry = self._found(path, record)
            if entry is not None:
                index(entry)
        self._make_room(0)

    async def close(self) -> None:
        """Finish writing metadata, but wait for it CLOSE_SECONDS at most; let go of every handle and of the folder."""
        try:
            self._growing.record_all()
            self._growing.close()
            await self._summer.close()
            await self._recorder.close(CLOSE_SECONDS)
        finally:
            for storage in [*self._filling.values(), *self._budget.storages()]:
                storage.park()
            if self._folder is not None:
                self._folder.release()

    def _found(self, path: Path, record: Record) -> Entry | None:
        storage = DiskStorage(path, is_found=True, on_given_up=self._given_up)
        digests = record.digests_for(Pieces.of(record.length))
        try:
            stored = from_wire(record.stored) if record.is_whole or any(digests) else None
        except ValueError:
            stored = None
        if stored is None:
            delete_record(path)
            storage.discard()
            return None
        body = Body.found(storage, record.length, digests, is_whole=record.is_whole, sha256=record.sha256)
        entry = Entry(record.key, stored.head, stored, body)
        body.on_damaged_piece(partial(self._piece_damaged, entry))
        self._admit(entry, storage, record.length)
        if not record.is_whole:
            self._growing.add(entry, storage, is_recorded=True)
        return entry

    # Filling

    def new_body(self, key: str, length: int | None) -> Body | None:
        """A body to fill, if it may find room; to be handed back by end_filling() or keep()."""
        if self._folder is None:
            return None
        path = body_path(self._folder.objects, key, f"{self._run}{next(self._names):08x}")
        storage = DiskStorage(path, on_given_up=self._given_up)
        if not self._has_space(length or 0) or not self._budget.promise(storage, length):
            return None
        storage.on_refused = self._refused
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError:
            self._counters.add("disk_errors_count")
            self._budget.given_up(storage)
            return None
        body = Body(storage, length)
        self._filling[body] = storage
        return body

    def _has_space(self, length: int) -> bool:
        """Whether the file system has so much left, with entries gone if need be."""
        if asyncio.get_running_loop().time() < self._refused_until:
            return False
        assert self._folder is not None
        free_bytes = free_space(self._folder.objects)
        if free_bytes is None:
            return True
        coming = sum(_unclaimed_bytes(body, storage) for body, storage in self._filling.items())
        missing = length + coming + ROOM_BYTES - free_bytes
        return missing <= 0 or self._free(missing)

    def _refused(self, error: OSError, size: int) -> bool:
        """A write failed. True: try again."""
        if error.errno in FULL and self._free(max(size, ROOM_BYTES)):
            return True
        self._refused_until = asyncio.get_running_loop().time() + REFUSED_SECONDS
        return False

    def _free(self, bytes_wanted: int) -> bool:
        """Entries leave, and their files at once: the budget has room, the disk has none."""
        leaving = self._budget.plan_leaving(bytes_wanted)
        self._is_full = True
        try:
            self._evict(leaving or ())
        finally:
            self._is_full = False
        return bool(leaving)

    def begin(self, entry: Entry) -> None:
        """Its body begins to fill. Where what comes of it can be gone on with (RFC 9111 §3.4: a strong validator), a restart will find
        that."""
        storage = self._filling.get(entry.body)
        if storage is not None and entry.stored is not None and strong_validator(entry.head) is not None:
            self._growing.add(entry, storage)

    def withdraw(self, entry: Entry) -> None:
        """Of a body that is still filling nothing shall be found. Idempotent."""
        storage = self._growing.discard(entry)
        if storage is not None:
            delete_record(storage.path)

    def has_room_for(self, body: Body, end: int) -> bool:
        """Whether a body that is being filled may grow to `end` bytes; evicts others for it. Always true for those not ours."""
        storage = self._filling.get(body)
        if storage is None or not body.is_kept or self._budget.has_reserved(storage, end):
            return True
        if not any(self._reserve(storage, cost) for cost in self._budget.growth(storage, end)):
            return False
        if body.length is not None:
            storage.room_bytes = min(self._budget.room(storage), body.length)
        return True

    def end_filling(self, body: Body) -> None:
        """It will not be kept: whoever discards the body frees its room. Idempotent."""
        storage = self._filling.pop(body, None)
        if storage is not None:
            self._budget.end_promise(storage)

    def _reserve(self, storage: DiskStorage, cost_bytes: int) -> bool:
        if not self._make_room(self._budget.missing(storage, cost_bytes)):
            return False
        self._budget.reserve(storage, cost_bytes)
        return True

    def _make_room(self, more_bytes: int) -> bool:
        leaving = self._budget.plan_room(more_bytes)
        self._evict(leaving or ())
        return leaving is not None

    def _evict(self, leaving: Iterable[Entry]) -> None:
        for entry in leaving:
            self._counters.add("evictions_count")
            self._remove(entry)

    # Keeping

    def keep(self, entry: Entry) -> bool:
        """A body that was filled here, and is whole or partial. False where it can't be kept."""
        storage = self._filling.get(entry.body)
        if storage is None or storage.is_damaged or not entry.body.is_kept:
            return False
        if not self._reserve(storage, disk_cost(entry.body.length or 0)):  # a partial body has not come with its room
            return False
        if not entry.body.is_whole and not storage.claim(entry.body.length or 0):
            self._counters.add("disk_errors_count")
            return False
        del self._filling[entry.body]
        self._admit(entry, storage, entry.body.length or 0)
        self._make_room(0)
        if entry.body.is_whole:
            self.completed(entry)
        return True

    def completed(self, entry: Entry) -> None:
        """Its body is whole now."""
        self._growing.discard(entry)
        self.record(entry)
        storage = self._budget.storage_of(entry)
        if storage is not None:
            self._summer.add(entry, storage)

    def _admit(self, entry: Entry, storage: DiskStorage, length: int) -> None:
        storage.on_damaged = partial(self._damaged, entry)
        if entry.body.ledger is not None:
            entry.body.ledger.on_rejected = partial(self._rejected, entry)
        self._budget.keep(entry, storage, length)

    def record(self, entry: Entry) -> None:
        """Write its metadata, in the background; the newest, however often it changes. A body that never had a whole piece has none."""
        storage = self._budget.storage_of(entry) or self._growing.storage_of(entry)
        ledger = entry.body.ledger
        if storage is not None and (entry.body.is_whole or (ledger is not None and (ledger.version or ledger.has_digests))):
            self._recorder.record(entry, storage)

    def _is_recorded(self, entry: Entry) -> bool:
        return entry in self._budget or entry in self._growing

    def _summed(self, entry: Entry) -> None:
        named = parse_digests(entry.head.fields).get("sha-256")
        if named is not None and named != entry.body.sha256:
            self._counters.add("wrong_files_count")
            self._remove(entry)
            self.on_wrong_file(entry)
            return
        if (entry.body.length or 0) >= SUM_RECORD_BYTES:
            self.record(entry)

    async def wait_recorded(self) -> None:
        """Returns when a restart would find all that has been recorded up to now."""
        await self._recorder.wait_recorded()

    def touch(self, entry: Entry, now: float) -> None:
        """It was used. now: monotonic seconds."""
        storage = self._budget.touch(entry)
        if now - entry.touched_at > TOUCH_SECONDS:
            entry.touched_at = now
            self._recorder.touch(storage)
        if entry.body.sha256 is None:
            self._summer.add(entry, storage)

    def discard(self, entry: Entry) -> None:
        """No restart finds it any more. Its file goes when the body is discarded and read no more. Idempotent."""
        storage = self._budget.forget(entry)
        if storage is not None:
            storage.on_damaged = None
            delete_record(storage.path)

    def _damaged(self, entry: Entry) -> None:
        self._counters.add("disk_errors_count")
        self._remove(entry)

    def _piece_damaged(self, entry: Entry, index: int) -> None:
        self._counters.add("damaged_pieces_count")
        if entry in self._budget and entry.body.ledger is not None:
            self.on_damaged_piece(entry, *entry.body.ledger.layout.span(index))

    def _rejected(self, entry: Entry) -> None:
        """Of a piece that is gone no record shall speak longer than it must: a restart would find its digest beside its bytes."""
        storage = self._budget.storage_of(entry)
        if storage is not None:
            self._growing.add(entry, storage)
            self.record(entry)

    def _given_up(self, storage: DiskStorage) -> None:
        self._budget.given_up(storage)
        if not (self._is_full and delete_file(storage.path)):
            self._recorder.delete(storage.path)


def _unclaimed_bytes(body: Body, storage: DiskStorage) -> int:
    """What of a body that is being filled the file system still counts as free."""
    return max(0, (body.length or 0) - max(body.have.total_bytes, storage.claimed_bytes))
