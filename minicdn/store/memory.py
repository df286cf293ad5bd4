"""A body's bytes in memory. Written in order by its fill, frozen to one bytes object when whole."""

from __future__ import annotations


class MemoryStorage:
    medium = "memory"

    __slots__ = ("_bytes", "_chunks", "_growing")

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._growing: bytearray | None = None
        self._bytes: bytes | None = None

    def write(self, offset: int, data: bytes) -> None:
        """Most small bodies arrive as one chunk: it is kept as it is, and a second one starts a buffer."""
        if self._growing is None:
            if offset == 0 and not self._chunks:
                self._chunks.append(bytes(data))
                return
            self._growing = bytearray(b"".join(self._chunks))
        end = offset + len(data)
        if end > len(self._growing):
            self._growing.extend(bytes(end - len(self._growing)))
        self._growing[offset:end] = data

    def read(self, offset: int, size: int) -> bytes:
        held = self._bytes
        if held is None:
            held = self._growing if self._growing is not None else self._chunks[0]
        if offset == 0 and size >= len(held):
            return bytes(held)
        return bytes(memoryview(held)[offset : offset + size])

    async def read_waiting(self, offset: int, size: int) -> bytes:
        return self.read(offset, size)

    def seal(self, length: int) -> None:
        if self._growing is not None:
            self._bytes = bytes(memoryview(self._growing)[:length])
        else:
            self._bytes = self._chunks[0] if self._chunks else b""
        self._growing = None
        self._chunks = []

    def park(self) -> None:
        """Memory has no handles."""

    def discard(self) -> None:
        """The garbage collector's affair: readers may still hold the bytes."""
