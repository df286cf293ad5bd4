"""What the shelf asks of the operating system beyond the obvious: reads and writes at a position, and deleting without ado."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path

_NOWAIT = getattr(os, "RWF_NOWAIT", None) if hasattr(os, "preadv") else None
HAS_CACHED_READS = _NOWAIT is not None
"""Whether the system can read what is in its page cache, and say so where it would have to wait (Linux can)."""


def delete_file(path: Path) -> bool:
    """False where the system refuses. A file that is not there is deleted."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def free_space(folder: Path) -> int | None:
    """Bytes that may still be written in the folder's file system; None where the system does not tell."""
    try:
        found = os.statvfs(folder)
    except (AttributeError, OSError):
        return None
    return found.f_bavail * found.f_frsize


def _find_fallocate() -> Callable[[int, int, int], bool] | None:
    """Linux's own call: os.posix_fallocate would lengthen the file, and write zeros where a file system can't do it."""
    if sys.platform != "linux":
        return None
    try:
        found = ctypes.CDLL(None, use_errno=True).fallocate64
    except (OSError, AttributeError):
        return None
    found.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)

    def claim(fd: int, size: int, offset: int = 0) -> bool:
        if not found(fd, _KEEP_SIZE, offset, size):
            return True
        code = ctypes.get_errno()
        if code in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
            raise OSError(code, os.strerror(code))
        return False

    return claim


_KEEP_SIZE = 1
claim_space = _find_fallocate() or (lambda fd, size, offset=0: False)
"""Room on the disk for so many bytes of a file, from `offset` on, before they are written. Raises OSError where there is none; False: the
system can't do that."""


class CachedReadsUnknown(Exception):
    """This file's file system knows no such reads."""


def read_cached(fd: int, size: int, offset: int) -> bytes | None:
    """What of the bytes is in the page cache; None where that is nothing, at the file's end, or where something is wrong: the
    waiting way tells these apart. Raises CachedReadsUnknown."""
    buffer = bytearray(size)
    try:
        count = os.preadv(fd, [buffer], offset, _NOWAIT)  # type: ignore[arg-type]
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            raise CachedReadsUnknown from None
        return None
    if count == 0:
        return None
    if count < size:
        del buffer[count:]
    return buffer  # type: ignore[return-value]


if hasattr(os, "pwrite"):

    def write_at(fd: int, data: memoryview, offset: int) -> int:
        return os.pwrite(fd, data, offset)

    def read_at(fd: int, size: int, offset: int) -> bytes:
        return os.pread(fd, size, offset)

else:  # Windows has no positioned calls, and a handle has one position: one call at a time, in all threads.
    from threading import Lock

    _SEEKING = Lock()

    def write_at(fd: int, data: memoryview, offset: int) -> int:
        with _SEEKING:
            os.lseek(fd, offset, os.SEEK_SET)
            return os.write(fd, data)

    def read_at(fd: int, size: int, offset: int) -> bytes:
        with _SEEKING:
            os.lseek(fd, offset, os.SEEK_SET)
            return os.read(fd, size)
