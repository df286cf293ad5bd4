"""The SHA-256 of whole files on disk, for Repr-Digest (RFC 9530), computed when the file is there.

Hashing a second time while the bytes come would take 0.65 s of the event loop for each GB, when it is busiest. Here a file is read back
instead, mostly from the page cache, in a thread, one file at a time, and at most half of the time. On the way the pieces that an
earlier run wrote are checked, and digests that are missing are found.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from minicdn.errors import BrokenBody
from minicdn.store.disk import DiskStorage
from minicdn.store.entry import Entry
from minicdn.store.ledger import Hashed

SUM_DELAY_SECONDS = 2.0
"""What is evicted or replaced as soon as that is not worth it."""
SUM_STEP_BYTES = 1024 * 1024


class Summer:
    """is_kept: whether it is still worth it. on_summed: the entry's body has a sha256 now."""

    def __init__(self, *, is_kept: Callable[[Entry], bool], on_summed: Callable[[Entry], None]) -> None:
        self._is_kept = is_kept
        self._on_summed = on_summed
        self._waiting: dict[Entry, DiskStorage] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def add(self, entry: Entry, storage: DiskStorage) -> None:
        """Idempotent."""
        if entry.body.is_whole and entry.body.ledger is not None and entry.body.sha256 is None:
            self._waiting[entry] = storage
            if self._timer is None and self._task is None:
                self._timer = asyncio.get_running_loop().call_later(SUM_DELAY_SECONDS, self._start)

    async def close(self) -> None:
        """What is not summed is not missed."""
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _start(self) -> None:
        self._timer = None
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        try:
            while self._waiting:
                entry = next(iter(self._waiting))
                try:
                    await self._sum(entry, self._waiting[entry])
                except BrokenBody:
                    pass  # its readers say so
                self._waiting.pop(entry, None)
        finally:
            self._task = None

    async def _sum(self, entry: Entry, storage: DiskStorage) -> None:
        body, ledger = entry.body, entry.body.ledger
        assert ledger is not None
        total = Hashed(0)
        for index in range(ledger.layout.count):
            start, end = ledger.layout.span(index)
            if ledger.is_unchecked(index):
                await body.check(start)
            await body.find_digest(index)
            while total.until < end:
                if not body.is_whole or not self._is_kept(entry):
                    return
                await self._step(storage, total, end)
        ledger.sha256 = total.digest()
        self._on_summed(entry)

    async def _step(self, storage: DiskStorage, total: Hashed, end: int) -> None:
        loop, position = asyncio.get_running_loop(), total.until
        began_at = loop.time()
        await storage.feed(total.go_on, position, min(position + SUM_STEP_BYTES, end))
        if total.until == position:
            raise BrokenBody("the disk copy can't be read")
        await asyncio.sleep(loop.time() - began_at)
