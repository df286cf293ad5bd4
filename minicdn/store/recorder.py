"""Makes bodies outlast the process: sync, then metadata, in the background; and deletes files, likewise.

One task per entry. An entry that is restated while its task is under way (a 304, a purge) is written once more by the same task,
so neither order nor number of writes is a question. Syncs have threads of their own: a slow disk must not take those that reads
wait for.

Recording an entry that has left the shelf meanwhile ends with its metadata deleted; so whoever removes an entry need not wait.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from minicdn.core.counters import Counters
from minicdn.core.freshness import to_wire
from minicdn.errors import BrokenBody, DiskError
from minicdn.store.body import Body
from minicdn.store.disk import DiskStorage
from minicdn.store.entry import Entry
from minicdn.store.files import delete_file
from minicdn.store.index import Record, delete_record, meta_path, write_record

SYNC_THREADS = 2
Facts = tuple[bool, int, bytes, bytes | None]
"""What a record says of a body's bytes: whether it is whole, the pieces' size and digests, and the whole's digest."""

STUCK_FILES_MAX = 1024
"""Files that could not be deleted (on Windows, a virus scanner may hold one), to be tried again."""


class Recorder:
    """is_kept: whether the entry is still on the disk's shelf. on_failed: the disk refused; the entry can't be kept."""

    def __init__(self, counters: Counters, *, is_kept: Callable[[Entry], bool], on_failed: Callable[[Entry], None]) -> None:
        self._counters = counters
        self._is_kept = is_kept
        self._on_failed = on_failed
        self._recording: dict[Entry, asyncio.Task[None]] = {}
        self._again: set[Entry] = set()
        self._deleting: set[asyncio.Future[bool]] = set()
        self._stuck: deque[Path] = deque(maxlen=STUCK_FILES_MAX)
        self._threads = ThreadPoolExecutor(SYNC_THREADS, thread_name_prefix="minicdn-sync")
        self._is_closed = False

    def record(self, entry: Entry, storage: DiskStorage) -> None:
        """Write its metadata, as soon as the bytes it speaks of are on the disk; once more, where that is under way."""
        if entry in self._recording:
            self._again.add(entry)
        elif not self._is_closed:
            self._recording[entry] = asyncio.get_running_loop().create_task(self._record(entry, storage))

    async def _record(self, entry: Entry, storage: DiskStorage) -> None:
        try:
            while self._is_kept(entry):
                await _find_digests(entry.body)
                facts = _facts_of(entry.body)  # before the sync: what comes meanwhile may not be on the disk after it
                await storage.sync(self._threads)
                if not self._is_kept(entry):
                    break
                if facts == _facts_of(entry.body):
                    self._again.discard(entry)
                await asyncio.get_running_loop().run_in_executor(self._threads, write_record, storage.path, _record_of(entry, facts))
                if entry not in self._again:
                    break
        except (DiskError, OSError, ValueError):
            if self._is_kept(entry):
                self._counters.add("disk_errors_count")
                self._on_failed(entry)
        finally:
            del self._recording[entry]
            self._again.discard(entry)
            if not self._is_kept(entry):
                delete_record(storage.path)

    async def wait_recorded(self) -> None:
        """Returns when what was to be recorded by now is written, or failed for good."""
        if self._recording:
            await asyncio.wait(list(self._recording.values()))

    def touch(self, storage: DiskStorage) -> None:
        """Remember on the disk that the body was used, for the order of eviction after a restart."""
        try:
            os.utime(meta_path(storage.path))
        except OSError:
            pass  # not written yet: it is young enough

    def delete(self, path: Path) -> None:
        """In a thread: to drop a gigabyte from the page cache takes tens of milliseconds."""
        try:
            work = asyncio.get_running_loop().run_in_executor(None, delete_file, path)
        except RuntimeError:  # no loop, or one that is closing
            delete_file(path)
            return
        self._deleting.add(work)
        work.add_done_callback(lambda done: self._deleted(path, done))

    def _deleted(self, path: Path, work: asyncio.Future[bool]) -> None:
        self._deleting.discard(work)
        if not work.cancelled() and work.result():
            if self._stuck:
                self.delete(self._stuck.popleft())
        else:
            self._counters.add("disk_errors_count")
            self._stuck.append(path)

    async def close(self, seconds: float) -> None:
        """Finish, but wait for a disk that hangs no longer than so: what is not recorded is fetched again, that is all."""
        self._is_closed = True
        waited_for: set[asyncio.Future[None] | asyncio.Future[bool]] = {*self._recording.values(), *self._deleting}
        if waited_for:
            _, late = await asyncio.wait(waited_for, timeout=seconds)
            for work in late:
                work.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)


async def _find_digests(body: Body) -> None:
    """Of a body that is not whole only pieces with a digest are found again."""
    ledger = body.ledger
    if ledger is None or body.is_whole:
        return
    for start, end in body.have:
        for index in ledger.layout.within(start, end):
            try:
                await body.find_digest(index)
            except BrokenBody:
                return  # who reads it will say so


def _facts_of(body: Body) -> Facts:
    ledger = body.ledger
    if ledger is None:
        return body.is_whole, 0, b"", None
    return body.is_whole, ledger.layout.size, ledger.packed, ledger.sha256


def _record_of(entry: Entry, facts: Facts) -> Record:
    assert entry.stored is not None
    is_whole, piece_bytes, digests, sha256 = facts
    length = entry.body.length or 0
    return Record(entry.key, to_wire(entry.stored), length, is_whole=is_whole, piece_bytes=piece_bytes, digests=digests, sha256=sha256)
