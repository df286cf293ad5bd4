"""A cache folder belongs to one node at a time: an advisory lock on a file in it, gone with its process however that ends."""

from __future__ import annotations

import os
from pathlib import Path

from minicdn.errors import CacheFolderUnusable

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]
    import msvcrt


class FolderLock:
    """Held from construction to release(). Raises CacheFolderUnusable, with what to do."""

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise CacheFolderUnusable(f"the cache folder {folder} can't be written ({error.strerror}): choose another with --cache-dir") from error
        try:
            if fcntl is not None:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            else:
                msvcrt.locking(self._fd, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError as error:
            os.close(self._fd)
            raise CacheFolderUnusable(f"the cache folder {folder} is in use by another minicdn: choose another with --cache-dir") from error

    def release(self) -> None:
        """Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
