"""The window of a body that is not kept: bytes [low, high), let go from below as the slowest reader passes.

What was saved before the disk refused stays readable below the window, for those who are still there. The window is one
buffer, not a list of chunks: an upstream that sends byte by byte must not cost a hundred bytes for each of them.
"""

from __future__ import annotations

from collections.abc import Callable

from minicdn.errors import BrokenBody
from minicdn.store.storage import Storage

RELAY_WINDOW_BYTES = 1024 * 1024


class Relay:
    medium = "none"

    __slots__ = ("_low", "_saved", "_start", "_window", "is_awaited")

    def __init__(self, saved: Storage | None, start: int) -> None:
        """saved: holds what lies below `start`."""
        self._saved = saved
        self._start = start
        self._low = start
        self._window = bytearray()
        self.is_awaited: Callable[[], bool] = lambda: False
        """Whether somebody is on his way to read it from its start."""

    @property
    def window_bytes(self) -> int:
        return len(self._window)

    @property
    def is_full(self) -> bool:
        return len(self._window) >= RELAY_WINDOW_BYTES

    def write(self, offset: int, data: bytes) -> None:
        if offset != self._low + len(self._window):
            raise BrokenBody("a body that is not kept can't be filled out of order")
        self._window += data

    def read(self, offset: int, size: int) -> bytes | None:
        if offset < self._start and self._saved is not None:
            return self._saved.read(offset, min(size, self._start - offset))
        skip = offset - self._low
        if skip < 0:
            raise BrokenBody("these bytes have passed: the body is not kept")
        return self._window[skip : skip + size]

    async def read_waiting(self, offset: int, size: int) -> bytes:
        assert self._saved is not None
        return await self._saved.read_waiting(offset, min(size, self._start - offset))

    def drop_below(self, position: int) -> None:
        passed = min(position - self._low, len(self._window))
        if passed > 0:
            del self._window[:passed]
            self._low += passed

    def seal(self, length: int) -> None:
        """Nothing to do: what is in the window is still to be read."""

    def park(self) -> None:
        if self._saved is not None:
            self._saved.park()

    def discard(self) -> None:
        """The window stays, for one who knows of the body and has not opened it yet."""
        if self._saved is not None:
            self._saved.discard()
