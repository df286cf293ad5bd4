"""The cluster's log at the manager: lines of its own node, and batches from the peers, into one file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from minicdn.core.counters import Counters
from minicdn.core.logline import LogLine
from minicdn.settings import Settings
from minicdn.store.logfile import LogFile
from minicdn.wire.messages import LogBatch

CLOSE_SECONDS = 3.0


class ClusterLog:
    """OperatorError where the file can't be opened. `file` is what `GET /_log` reads."""

    def __init__(self, settings: Settings, counters: Counters, *, wall: Callable[[], float], say: Callable[[str], None]) -> None:
        self._counters = counters
        self._peers_max = settings.peers_max
        self._numbers: dict[str, int] = {}
        self._url = ""
        self.file = LogFile(
            settings.log or "-",
            file_bytes=settings.log_file_bytes,
            files_kept=settings.log_files_kept,
            lines_max=settings.log_lines_buffered_max,
            wall=wall,
            say=say,
        )

    def set_url(self, url: str) -> None:
        """Under which the manager's own node is known."""
        self._url = self.file.url = url

    def put_own(self, line: LogLine) -> None:
        self._counters.values["log_lines_count"] += 1
        self.file.put(line, self._url)

    def take(self, batch: LogBatch, url: str) -> None:
        """A batch that comes twice, because the answer to the first was lost, counts once.

        Batches are remembered by their number for each peer, for as many peers as there may be.
        """
        last = self._numbers.pop(batch.id, 0)
        self._numbers[batch.id] = max(last, batch.number)
        if batch.number <= last:
            return
        if len(self._numbers) > self._peers_max:
            del self._numbers[next(iter(self._numbers))]
        if batch.dropped_count:
            self.file.put_dropped(batch.dropped_count, url)
        for line in batch.lines:
            self.file.put(line, url)

    async def close(self) -> None:
        await asyncio.to_thread(self.file.close, CLOSE_SECONDS)
