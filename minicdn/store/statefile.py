"""A small file of state in the cache folder, written and read as a whole: the journal of purges, a node's mark in it.

A write replaces the file or leaves the old one: never half of each. Power that fails at the wrong moment may still leave an
empty file; whoever reads it then starts without, and must take that for not knowing.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import msgpack

from minicdn.store.files import delete_file

STATE_BYTES_MAX = 16 * 1024 * 1024
VERSION = 1


class StateFile:
    """path None: nothing is kept."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._turn = asyncio.Lock()

    async def load(self) -> object:
        """What was saved last; None where there is nothing, or nothing of ours."""
        return await asyncio.to_thread(self._read)

    async def save(self, state: object) -> None:
        """Raises OSError. One write at a time."""
        if self._path is None:
            return
        packed = msgpack.packb({"version": VERSION, "state": state})
        async with self._turn:
            await asyncio.to_thread(self._write, self._path, packed)

    def _read(self) -> object:
        if self._path is None:
            return None
        try:
            with open(self._path, "rb") as file:
                found = msgpack.unpackb(file.read(STATE_BYTES_MAX), strict_map_key=True)
        except (OSError, ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException):
            return None
        return found.get("state") if isinstance(found, dict) and found.get("version") == VERSION else None

    def _write(self, path: Path, packed: bytes) -> None:
        temporary = path.with_suffix(".temporary")
        try:
            with open(temporary, "wb") as file:
                file.write(packed)
            os.replace(temporary, path)
        except OSError:
            delete_file(temporary)
            raise
