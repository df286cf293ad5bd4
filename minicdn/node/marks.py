"""The node's mark on the disk: after a restart it says which purges the files in the cache folder have lived through.

It is written only when what it speaks of is done and recorded (swept, and the entries' metadata on the disk). So it may lag behind, and
then purges are carried out once more than needed; it never runs ahead, and no purge is forgotten by a crash.
"""

from __future__ import annotations

import asyncio

from minicdn.core.counters import Counters
from minicdn.core.journal import Mark
from minicdn.node.purger import Purger
from minicdn.store.shelf import Shelf
from minicdn.store.statefile import StateFile

CLOSE_SECONDS = 0.2


class MarkKeeper:
    def __init__(self, file: StateFile, purger: Purger, shelf: Shelf, counters: Counters) -> None:
        self._file = file
        self._purger = purger
        self._shelf = shelf
        self._counters = counters
        self._saved: Mark | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False

    async def load(self) -> None:
        """The cache folder must be ours by now."""
        self._saved = self._purger.mark = Mark.parse(await self._file.load())
        self._purger.on_marked = self._marked

    def _marked(self) -> None:
        if (self._task is None or self._task.done()) and not self._is_closed:
            self._task = asyncio.get_running_loop().create_task(self._save())

    async def _save(self) -> None:
        while self._saved != self._purger.mark:
            mark = self._purger.mark
            await self._purger.wait_swept()
            await self._shelf.wait_recorded()
            try:
                await self._file.save(str(mark or ""))
            except OSError:
                self._counters.add("disk_errors_count")
                return
            self._saved = mark

    async def close(self) -> None:
        self._is_closed = True
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=CLOSE_SECONDS)
            self._task.cancel()
