"""A body's bytes in a file of its own.

Reads try without waiting first: what is in the page cache, and a hot file is, costs no thread; only what would wait for the disk goes
through one. Writes go to the page cache, as every server's do.

The file handle is open while it is *wanted* (from a read or write until park()) or *pinned* (a thread is using it: were it closed, its
number could be another file's by the time the thread comes to it). When neither holds it is closed, and then, if the
body is discarded, the file is given up for deletion: never while it is open, which Windows would refuse.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import TypeVar

from minicdn.errors import BodyGone, CopyLost, DiskError
from minicdn.store.files import HAS_CACHED_READS, CachedReadsUnknown, claim_space, delete_file, read_at, read_cached, write_at

_BINARY = getattr(os, "O_BINARY", 0)
_INNOCENT = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ECANCELED)
"""Errors that say nothing against the file."""

FEED_BYTES = 256 * 1024
"""Fits the processor's cache: hashing it reads no memory twice."""
PROBE_BYTES = 1024 * 1024

T = TypeVar("T")


class DiskStorage:
    """on_given_up: called once, when the file is closed and is to be deleted. on_damaged: called when bytes that should be there
    can't be read. on_refused: told of a write that failed and how many bytes are left of it; says whether it is worth another try.
    room_bytes: how long the file may become as yet, where that is known; so much is claimed on the disk, since a write into such room takes
    a quarter less of the processor: the file system need not look for each page whether there is some. claimed_bytes: what the disk gave
    before anything was written to it."""

    medium = "disk"

    __slots__ = (
        *(
            "_claimed_until",
            "_fd",
            "_has_cached_reads",
            "_is_created",
            "_is_discarded",
            "_is_given_up",
            "_is_wanted",
            "_pins",
            "_synced_count",
            "_writes_count",
        ),
        *("claimed_bytes", "is_damaged", "on_damaged", "on_given_up", "on_refused", "path", "room_bytes"),
    )

    def __init__(self, path: Path, *, is_found: bool = False, on_given_up: Callable[[DiskStorage], None] | None = None) -> None:
        """is_found: an earlier run wrote it."""
        self.path = path
        self.on_given_up = on_given_up or (lambda storage: delete_file(storage.path))
        self.on_damaged: Callable[[], None] | None = None
        self.on_refused: Callable[[OSError, int], bool] = lambda error, size: False
        self.is_damaged = False
        self._is_created = is_found
        self._writes_count, self._synced_count = 0, 0 if is_found else -1
        self._is_wanted = self._is_discarded = self._is_given_up = False
        self._fd: int | None = None
        self._claimed_until = self.room_bytes = self.claimed_bytes = 0
        self._pins = 0
        self._has_cached_reads = HAS_CACHED_READS

    @property
    def is_pinned(self) -> bool:
        """A thread is using the file."""
        return self._pins > 0

    def write(self, offset: int, data: bytes) -> None:
        if self._is_given_up:
            raise BodyGone(f"{self.path}: it was deleted")
        self._writes_count += 1
        view = memoryview(data)
        try:
            try:
                self._write(offset, view)
            except OSError as error:
                if not self.on_refused(error, len(view)):
                    raise
                self._write(offset, view)
        except OSError as error:
            raise DiskError(f"{self.path}: {error.strerror or error}") from error

    def claim(self, size: int) -> bool:
        """Room on the disk for all of a body that comes in pieces: readers of one that has none half-way would have to be cut off."""
        if size <= 0:
            return True
        try:
            fd = self._open(create=True)
            try:
                self._claim(fd, 0, size)
            except OSError as error:
                if not self.on_refused(error, size):
                    raise
                self._claim(fd, 0, size)
        except OSError:
            return False
        self._claimed_until = size
        return True

    def _claim_ahead(self, fd: int, offset: int) -> None:
        """Where that is refused, the write itself says so, or finds room."""
        start, self._claimed_until = max(offset, self._claimed_until), self.room_bytes
        try:
            self._claim(fd, start, self.room_bytes)
        except OSError:
            pass

    def _claim(self, fd: int, start: int, end: int) -> None:
        if claim_space(fd, end - start, start):
            self.claimed_bytes += end - start

    def _write(self, offset: int, view: memoryview) -> None:
        fd = self._open(create=True)
        if self._claimed_until < offset + len(view) <= self.room_bytes:
            self._claim_ahead(fd, offset)
        while view:
            written = write_at(fd, view, offset)
            offset += written
            view = view[written:]

    def read(self, offset: int, size: int) -> bytes | None:
        if not self._has_cached_reads:
            return None
        try:
            return read_cached(self._open(), size, offset)
        except CachedReadsUnknown:
            self._has_cached_reads = False
        except OSError:
            pass  # it can't be opened: the waiting way says why
        return None

    def read_now(self, offset: int, size: int) -> bytes:
        """The same for what was written just now, on every file system; empty where it can't be read."""
        try:
            return read_at(self._open(), size, offset)
        except OSError:
            return b""

    def cached_file(self, offset: int, size: int) -> int | None:
        """The descriptor of the file, where [offset, offset + size) can be sent from it without waiting for the disk, as far as a byte in
        each PROBE_BYTES and the last one tell; to be used at once. None: read."""
        probes = (*range(offset, offset + size, PROBE_BYTES), offset + size - 1)
        return self._fd if size and all(self.read(probe, 1) for probe in probes) else None

    async def read_waiting(self, offset: int, size: int) -> bytes:
        try:
            data = await self._in_thread(None, read_at, self._open(), size, offset)
        except OSError as error:
            if error.errno not in _INNOCENT:
                self._damaged()
            raise CopyLost(f"the disk copy can't be read: {error.strerror or error}") from error
        if not data:
            self._damaged()
            raise CopyLost("the disk copy is shorter than it was")
        return data

    async def feed(self, take: Callable[[bytes], None], start: int, end: int, executor: Executor | None = None) -> None:
        """`take` the bytes of [start, end) in order, in a thread; fewer where the file can't be read any further. Raises BrokenBody
        where that says nothing against the file."""
        is_wanted = self._is_wanted
        try:
            fd = self._open()
            self._is_wanted = is_wanted
            await self._in_thread(executor, _feed, fd, take, start, end)
        except OSError as error:
            if error.errno in _INNOCENT:
                raise CopyLost(f"the disk copy can't be read: {error.strerror or error}") from error

    def seal(self, length: int) -> None:
        """An empty body has a file too."""
        if not self._is_created:
            self.write(0, b"")

    async def sync(self, executor: Executor | None = None) -> None:
        """Until the bytes written so far are on the disk itself, not only in the page cache. Raises DiskError."""
        if self._synced_count == self._writes_count:
            return
        writes_count = self._writes_count
        is_wanted = self._is_wanted
        try:
            fd = self._open(create=True)
            self._is_wanted = is_wanted  # to sync is no use of the body: nobody would park it afterwards
            await self._in_thread(executor, os.fsync, fd)
        except OSError as error:
            raise DiskError(f"{self.path}: {error.strerror or error}") from error
        self._synced_count = writes_count

    def park(self) -> None:
        self._is_wanted = False
        self._settle()

    def discard(self) -> None:
        self._is_discarded = True
        self.park()

    def _open(self, *, create: bool = False) -> int:
        """The handle, wanted from now on. A new file must be new: nothing that has its name is ever written to."""
        if self._is_given_up:
            raise OSError(errno.ENOENT, "it was deleted")
        if self._fd is None:
            flags = os.O_RDWR
            if create and not self._is_created:
                flags |= os.O_CREAT | os.O_EXCL
            self._fd = os.open(self.path, flags | _BINARY, 0o600)
            self._is_created = True
        self._is_wanted = True
        return self._fd

    async def _in_thread(self, executor: Executor | None, call: Callable[..., T], *arguments: object) -> T:
        """Pinned meanwhile; the pin belongs to the thread's work, not to the task, which may be cancelled."""
        try:
            work = asyncio.get_running_loop().run_in_executor(executor, call, *arguments)
        except RuntimeError:
            self._settle()
            raise OSError(errno.ECANCELED, "the node is closing") from None
        self._pins += 1
        work.add_done_callback(self._unpin)
        return await asyncio.shield(work)

    def _unpin(self, work: asyncio.Future[T]) -> None:
        self._pins -= 1
        if not work.cancelled():
            work.exception()  # told to who waits, if anybody still does
        self._settle()

    def _settle(self) -> None:
        if self._is_wanted or self._pins:
            return
        if self._fd is not None:
            fd, self._fd = self._fd, None
            try:
                os.close(fd)
            except OSError:
                pass  # closed all the same; what could not be written, sync() has told or will tell
        if self._is_discarded and not self._is_given_up:
            self._is_given_up = True
            self.on_given_up(self)

    def _damaged(self) -> None:
        self.is_damaged = True
        if self.on_damaged is not None and not self._is_discarded:
            self.on_damaged()


def _feed(fd: int, take: Callable[[bytes], None], start: int, end: int) -> None:
    while start < end and (data := read_at(fd, min(FEED_BYTES, end - start), start)):
        take(data)
        start += len(data)
