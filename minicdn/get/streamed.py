"""A download into a pipe: in order, and once a byte is out it can't be taken back.

What comes out of order waits in memory, within the look-ahead that the plan keeps to; what is in order waits for the pipe, whose reader
may be slow, on a thread of its own.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections import deque

from minicdn.core.spans import SpanSet
from minicdn.errors import SourcesFailed, TargetUnwritable

LOOK_AHEAD_BYTES = 64 * 1024 * 1024
WAITING_BYTES_MAX = 8 * 1024 * 1024


class Streamed:
    """fd: where the bytes go; it is left open."""

    look_ahead_bytes: int | None = LOOK_AHEAD_BYTES

    def __init__(self, fd: int, shown: str = "-") -> None:
        self._shown = shown
        self.held, self.length, self.validator = SpanSet(), None, None
        self._fd = fd
        self._early: dict[int, bytes] = {}
        self._position = 0
        self._sha256 = hashlib.sha256()
        self._ready: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._filled = threading.Semaphore(0)
        self._loop = asyncio.get_running_loop()
        self._drained = asyncio.Event()
        self._error: OSError | None = None
        threading.Thread(target=self._pour, daemon=True).start()

    @property
    def shown(self) -> str:
        return self._shown

    def load(self) -> int:
        return 0

    def begin(self, length: int | None, validator: bytes | None) -> None:
        if self._position:
            raise SourcesFailed("the file can't be gone on with where it broke off, and what is out can't be taken back")
        self._early.clear()
        self.held, self.length, self.validator = SpanSet(), length, validator

    def write(self, offset: int, data: bytes) -> None:
        self._raise_trouble()
        for start, end in self.held.gaps(offset, offset + len(data)):
            self._early[start] = data[start - offset : end - offset]
        self.held.add(offset, offset + len(data))
        while (block := self._early.pop(self._position, None)) is not None:
            self._position += len(block)
            self._waiting_bytes += len(block)
            self._ready.append(block)
            self._filled.release()

    async def room(self) -> None:
        while self._waiting_bytes > WAITING_BYTES_MAX:
            await self._wait_drained()
        self._raise_trouble()

    async def sha256(self, length: int) -> bytes:
        while self._waiting_bytes:
            await self._wait_drained()
        self._raise_trouble()
        return self._sha256.digest()

    async def commit(self, length: int) -> None:
        """All is out already."""

    def discard(self) -> None:
        """What is out is out."""

    async def keep_saving(self) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None:
        """The thread dies with the process."""

    async def _wait_drained(self) -> None:
        self._raise_trouble()
        self._drained.clear()
        await self._drained.wait()

    def _raise_trouble(self) -> None:
        if isinstance(self._error, BrokenPipeError):
            raise self._error
        if self._error is not None:
            raise TargetUnwritable(f"{self._shown} can't be written: {self._error.strerror or self._error}")

    # On the thread

    def _pour(self) -> None:
        while True:
            self._filled.acquire()
            block = self._ready.popleft()
            view = memoryview(block)
            try:
                while view:
                    view = view[os.write(self._fd, view) :]
            except OSError as error:
                self._tell(0, error)
                return
            self._sha256.update(block)
            self._tell(len(block), None)

    def _tell(self, size: int, error: OSError | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._took, size, error)
        except RuntimeError:  # the loop is closed: nobody waits
            pass

    def _took(self, size: int, error: OSError | None) -> None:
        self._waiting_bytes -= size
        self._error = self._error or error
        self._drained.set()
