"""The sha-256 of a file that is written out of order: follows the first missing byte, so that little is left to read at the end."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

from minicdn.core.spans import SpanSet
from minicdn.wire.threads import in_thread

STEP_BYTES = 4 * 1024 * 1024


class Follower:
    """held: what is written; call wake() when it grew. What was on disk before is read like the rest."""

    def __init__(self, path: Path, held: SpanSet) -> None:
        self._file = path.open("rb", buffering=0)
        self._held, self._position = held, 0
        self._sha256 = hashlib.sha256()
        self._is_feeding = False
        self._grew, self._followed = asyncio.Event(), asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._follow())
        self.wake()

    def wake(self) -> None:
        if self._held.reach(0) - self._position >= STEP_BYTES:
            self._grew.set()

    async def finish(self, length: int) -> bytes:
        """The digest of the first `length` bytes, all of which are written."""
        while self._position < length:
            self._followed.clear()
            self._grew.set()
            followed = asyncio.get_running_loop().create_task(self._followed.wait())
            await asyncio.wait((followed, self._task), return_when=asyncio.FIRST_COMPLETED)
            followed.cancel()
            if self._task.done():
                self._task.result()
        return self._sha256.digest()

    def stop(self) -> None:
        self._task.cancel()
        if not self._is_feeding:  # else its number could become a socket's while the thread still reads from it
            self._file.close()

    async def _follow(self) -> None:
        while True:
            await self._grew.wait()
            self._grew.clear()
            while (end := min(self._held.reach(self._position), self._position + STEP_BYTES)) > self._position:
                self._is_feeding = True
                await in_thread(self._feed, end - self._position)
                self._position = end
            self._followed.set()

    def _feed(self, size: int) -> None:
        while size > 0:
            block = self._file.read(size)
            if not block:
                raise OSError(f"{self._file.name} is shorter than what was written to it")
            self._sha256.update(block)
            size -= len(block)
        self._is_feeding = False
