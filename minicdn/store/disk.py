"""A body's bytes in a file of its own.

Reads try without waiting first (preadv with RWF_NOWAIT, where the system has it): what is in the page cache, and a hot file is, costs
no thread; only what would wait for the disk goes through one. Writes go to the page cache, as every server's do. The file
handle is open only while somebody reads or writes.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from minicdn.errors import BrokenBody, DiskError

_NOWAIT = getattr(os, "RWF_NOWAIT", None)
_BINARY = getattr(os, "O_BINARY", 0)

T = TypeVar("T")


class DiskStorage:
    medium = "disk"

    __slots__ = ("_discarded", "_fd", "_has_nowait", "_is_parked", "_pins", "path")

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None
        self._pins = 0
        self._is_parked = False
        self._discarded = False
        self._has_nowait = _NOWAIT is not None

    def _open(self, *, create: bool = False) -> int:
        self._is_parked = False
        if self._fd is None:
            flags = os.O_RDWR | _BINARY | (os.O_CREAT if create else 0)
            self._fd = os.open(self.path, flags, 0o600)
        return self._fd

    def write(self, offset: int, data: bytes) -> None:
        try:
            fd = self._open(create=True)
            view = memoryview(data)
            while view:
                written = _write_at(fd, view, offset)
                offset += written
                view = view[written:]
        except OSError as error:
            raise DiskError(f"{self.path}: {error.strerror or error}") from error

    def read(self, offset: int, size: int) -> bytes | None:
        if not self._has_nowait:
            return None
        buffer = bytearray(size)
        try:
            count = os.preadv(self._open(), [buffer], offset, _NOWAIT)  # type: ignore[arg-type]
        except BlockingIOError:
            return None
        except OSError:
            # A file system without RWF_NOWAIT, or a real fault: the waiting way tells them apart.
            self._has_nowait = False
            return None
        if count == 0:
            return None
        if count < size:
            del buffer[count:]
        return buffer  # type: ignore[return-value]

    async def read_waiting(self, offset: int, size: int) -> bytes:
        try:
            data = await self._in_thread(_read_at, self._open(), size, offset)
        except OSError as error:
            raise BrokenBody(f"the disk copy can't be read: {error.strerror or error}") from error
        if not data:
            raise BrokenBody("the disk copy is shorter than it was")
        return data

    def seal(self, length: int) -> None:
        """An empty body has a file too."""
        try:
            self._open(create=True)
        except OSError as error:
            raise DiskError(f"{self.path}: {error.strerror or error}") from error

    async def sync(self) -> None:
        """Until the bytes are on the disk itself, not only in the page cache. Raises DiskError."""
        try:
            await self._in_thread(os.fsync, self._open())
        except OSError as error:
            raise DiskError(f"{self.path}: {error.strerror or error}") from error

    async def _in_thread(self, call: Callable[..., T], *arguments: object) -> T:
        """A file handle that a thread is using must not be closed (its number would be another file's): it is pinned, and the pin
        belongs to the thread's work, not to the task that may be cancelled meanwhile."""
        self._pins += 1
        work = asyncio.get_running_loop().run_in_executor(None, call, *arguments)
        work.add_done_callback(self._unpin)
        return await asyncio.shield(work)

    def _unpin(self, work: asyncio.Future[object]) -> None:
        self._pins -= 1
        if not work.cancelled():
            work.exception()  # told to who waits, if anybody still does
        if self._is_parked:
            self.park()

    def park(self) -> None:
        self._is_parked = True
        if self._fd is not None and not self._pins:
            fd, self._fd = self._fd, None
            os.close(fd)

    def touch(self) -> None:
        """Remember on the disk that the body was used, for the order of eviction after a restart."""
        try:
            os.utime(self.path.with_suffix(".meta"))
        except OSError:
            pass  # not written yet: it is young enough

    def discard(self) -> None:
        self.park()
        if not self._discarded:
            self._discarded = True
            try:
                self.path.unlink(missing_ok=True)
            except OSError:
                pass  # the next start's recovery deletes it: it has no metadata


if hasattr(os, "pwrite"):

    def _write_at(fd: int, data: memoryview, offset: int) -> int:
        return os.pwrite(fd, data, offset)

    def _read_at(fd: int, size: int, offset: int) -> bytes:
        return os.pread(fd, size, offset)

else:  # Windows: no positioned calls. One handle, so one at a time.
    from threading import Lock

    _SEEKING = Lock()

    def _write_at(fd: int, data: memoryview, offset: int) -> int:
        with _SEEKING:
            os.lseek(fd, offset, os.SEEK_SET)
            return os.write(fd, data)

    def _read_at(fd: int, size: int, offset: int) -> bytes:
        with _SEEKING:
            os.lseek(fd, offset, os.SEEK_SET)
            return os.read(fd, size)
