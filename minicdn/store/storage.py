"""Where a body's bytes lie: one interface, met by memory.py, disk.py and relay.py."""

from __future__ import annotations

from typing import Protocol


class Storage(Protocol):
    """Bytes by position. The Body above knows which of them are there, and asks for no others."""

    medium: str
    """`memory` or `disk`, for the log and the counters; `none` for what is not kept."""

    def write(self, offset: int, data: bytes) -> None:
        """Keep the bytes. Raises DiskError where they can't be kept."""

    def read(self, offset: int, size: int) -> bytes | None:
        """1 … `size` bytes from `offset`, all known to be there; None where that would have to wait for a disk."""

    async def read_waiting(self, offset: int, size: int) -> bytes:
        """The same, waiting for the disk off the event loop. Raises BrokenBody where the bytes are gone."""

    def seal(self, length: int) -> None:
        """The body is whole; nothing more is written. Raises DiskError."""

    def park(self) -> None:
        """Nobody reads or writes for now: let go of file handles."""

    def discard(self) -> None:
        """Nobody reads it, nor ever will: delete. Idempotent."""
