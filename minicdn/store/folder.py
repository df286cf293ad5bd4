"""A cache folder belongs to one node at a time: an advisory lock on a file in it, gone with its process however that ends."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from minicdn.errors import CacheFolderUnusable
from minicdn.store.files import delete_file

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]
    import msvcrt

_HELD = (errno.EAGAIN, errno.EACCES, errno.EDEADLK, getattr(errno, "EDEADLOCK", errno.EDEADLK))


class CacheFolder:
    """Held from construction to release(). Raises CacheFolderUnusable, with what to do."""

    def __init__(self, folder: Path) -> None:
        self.objects = folder / "objects"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise _unusable(folder, "written", error) from error
        try:
            self._lock(folder)
            self._try_writing(folder)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Idempotent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            try:
                os.close(fd)
            except OSError:
                pass  # closed all the same, and nothing was written to it

    def _lock(self, folder: Path) -> None:
        try:
            if fcntl is not None:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            else:
                msvcrt.locking(self._fd, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError as error:
            if error.errno not in _HELD:
                raise _unusable(folder, "locked", error) from error
            raise CacheFolderUnusable(f"the cache folder {folder} is in use by another minicdn: choose another with --cache-dir") from error

    def _try_writing(self, folder: Path) -> None:
        """Better found out now than at the first download."""
        trial = self.objects / "trial"
        try:
            self.objects.mkdir(exist_ok=True)
            os.close(os.open(trial, os.O_WRONLY | os.O_CREAT, 0o600))
        except OSError as error:
            raise _unusable(folder, "written", error) from error
        delete_file(trial)


def _unusable(folder: Path, what: str, error: OSError) -> CacheFolderUnusable:
    return CacheFolderUnusable(f"the cache folder {folder} can't be {what} ({error.strerror or error}): choose another with --cache-dir")
