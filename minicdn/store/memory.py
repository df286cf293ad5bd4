"""A body's bytes in memory. Written by its fill, frozen to one bytes object when whole."""

from __future__ import annotations


class MemoryStorage:
    medium = "memory"

    __slots__ = ("_bytes", "_growing", "_length")

    def __init__(self, length: int | None = None) -> None:
        """length: what is expected; the buffer is made at once as large, so that growing costs no second copy."""
        self._length = length
        self._growing: bytearray | None = None
        self._bytes = b""

    @classmethod
    def of(cls, whole: bytes) -> MemoryStorage:
        storage = cls(len(whole))
        storage._bytes = whole
        return storage

    def write(self, offset: int, data: bytes) -> None:
        """Most small bodies arrive as one chunk: it is kept as it is, and a second one starts a buffer."""
        if self._growing is None:
            if offset == 0 and not self._bytes:
                self._bytes = bytes(data)
                return
            self._growing = bytearray(self._length or 0)
            self._growing[: len(self._bytes)] = self._bytes
            self._bytes = b""
        end = offset + len(data)
        if end > len(self._growing):
            self._growing.extend(bytes(end - len(self._growing)))
        self._growing[offset:end] = data

    def read(self, offset: int, size: int) -> bytes:
        held = self._bytes if self._growing is None else self._growing
        if offset == 0 and size >= len(held):
            return bytes(held)  # no copy where it is bytes already
        return bytes(memoryview(held)[offset : offset + size])

    async def read_waiting(self, offset: int, size: int) -> bytes:
        return self.read(offset, size)

    def seal(self, length: int) -> None:
        if self._growing is not None:
            self._bytes = bytes(memoryview(self._growing)[:length])
            self._growing = None

    def park(self) -> None:
        """Memory has no handles."""

    def discard(self) -> None:
        """The garbage collector's affair: readers may still hold the bytes."""
