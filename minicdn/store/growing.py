"""Entries on disk whose bodies are not whole. What came of them is recorded every few seconds, so that a crash costs no more than that.

One timer for all. It runs only while there is such an entry, and an entry to which no piece was added costs a comparison.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from minicdn.store.disk import DiskStorage
from minicdn.store.entry import Entry

RECORD_SECONDS = 5.0
"""A sync writes what the system would have written half a minute later; more often would be dearer than fetching again."""


class Growing:
    """record: writes an entry's metadata in the background."""

    def __init__(self, record: Callable[[Entry, DiskStorage], None]) -> None:
        self._record = record
        self._storages: dict[Entry, DiskStorage] = {}
        self._recorded: dict[Entry, int] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __contains__(self, entry: Entry) -> bool:
        return entry in self._storages

    def add(self, entry: Entry, storage: DiskStorage, *, is_recorded: bool = False) -> None:
        """Idempotent. is_recorded: as it is now."""
        ledger = entry.body.ledger
        if ledger is None or entry in self._storages:
            return
        self._storages[entry] = storage
        self._recorded[entry] = ledger.version if is_recorded else 0
        self._arm()

    def discard(self, entry: Entry) -> DiskStorage | None:
        """It is whole, or gone. Returns its file; None where it was not here."""
        self._recorded.pop(entry, None)
        return self._storages.pop(entry, None)

    def storage_of(self, entry: Entry) -> DiskStorage | None:
        return self._storages.get(entry)

    def record_all(self) -> None:
        """All that have changed since they were recorded."""
        for entry, storage in self._storages.items():
            ledger = entry.body.ledger
            if ledger is not None and not entry.body.is_whole and ledger.version != self._recorded[entry]:
                self._recorded[entry] = ledger.version
                self._record(entry, storage)

    def close(self) -> None:
        """Nothing is looked at any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        if self._timer is None and self._storages:
            self._timer = asyncio.get_running_loop().call_later(RECORD_SECONDS, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.record_all()
        self._arm()
