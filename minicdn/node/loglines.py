"""A peer's log lines on their way to the manager.

Making a line is one bounded append: no download ever waits for the log. A background task gathers lines for half a second
and ships them in batches; a batch stays here, under its number, until the manager has it, so a lost answer loses no line
and repeats none.

While the manager is away the buffer fills, and then the *oldest* lines go: who looks after an outage asks what happens now,
and the loss stays one gap in one place. The next batch says how many lines are missing before it; where no line follows, it has none.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable

from minicdn.core.backoff import Backoff
from minicdn.core.counters import Counters
from minicdn.core.logline import LogLine
from minicdn.wire.codec import MESSAGE_BYTES_MAX
from minicdn.wire.manager import ManagerRefused, ManagerUnreachable
from minicdn.wire.messages import LOG_BATCH_MAX, LogBatch

GATHER_SECONDS = 0.5
BATCH_TEXT_MAX = MESSAGE_BYTES_MAX // 16
"""Characters of free text in a batch: JSON with escapes takes up to 12 bytes for one, and the rest of a line some 300."""


class LogShipper:
    """Is on until told otherwise, so that lines made before the first join are kept; `url` is known from the join on."""

    def __init__(
        self,
        send: Callable[[LogBatch], Awaitable[None]],
        id: str,
        *,
        lines_max: int,
        counters: Counters,
        rng: random.Random,
        gather_seconds: float = GATHER_SECONDS,
    ) -> None:
        self._send = send
        self._id = id
        self._lines_max = max(1, lines_max)
        self._counters = counters
        self._rng = rng
        self._gather_seconds = gather_seconds
        self._backoff = Backoff(0.5, 5.0)
        self._buffer: deque[LogLine] = deque()
        self._in_flight: LogBatch | None = None
        self._number = 0
        self._untold_count = 0
        self._is_refused = False
        """The last batch was. Of what is lost the next line's batch tells; one for that alone would be refused again and again."""
        self._url: str | None = None
        self._is_on = True
        self._wake = asyncio.Event()

    @property
    def lines_count(self) -> int:
        """Lines made and not yet at the manager."""
        return len(self._buffer) + (len(self._in_flight.lines) if self._in_flight is not None else 0)

    def emit(self, line: LogLine) -> None:
        """Takes the line, and returns at once in all cases."""
        if not self._is_on:
            return
        self._counters.add("log_lines_count")
        if self.lines_count >= self._lines_max:
            self._note_lost(1)
            if not self._buffer:
                return
            self._buffer.popleft()
        self._buffer.append(line)
        self._wake_up()

    def configure(self, url: str, is_on: bool) -> None:
        """What the manager said at the join: where we are known, and whether it keeps a log at all."""
        self._url, self._is_on = url, is_on
        if not is_on:
            self._buffer.clear()
            self._in_flight, self._untold_count = None, 0
        self._wake_up()

    async def run(self) -> None:
        """Ships until cancelled; what is under way then stays for `flush`."""
        while True:
            await self._wake.wait()
            if len(self._buffer) < LOG_BATCH_MAX:
                await asyncio.sleep(self._gather_seconds)
            self._wake.clear()
            while self._take_batch():
                await self._ship_or_wait()
                if self._in_flight is None and len(self._buffer) < LOG_BATCH_MAX:  # few: a batch of them costs as much as a full one
                    if self._has_something:
                        self._wake.set()
                    break

    async def flush(self, seconds: float) -> int:
        """Ships what is left, once `run` is over, for at most `seconds`; returns the count of lines that were left behind."""
        try:
            async with asyncio.timeout(seconds):
                while self._take_batch():
                    await self._ship_or_wait()
        except TimeoutError:
            pass
        return self.lines_count

    def _wake_up(self) -> None:
        if self._url is not None and not self._wake.is_set():
            self._wake.set()

    def _note_lost(self, count: int) -> None:
        self._untold_count += count
        self._counters.add("log_lines_dropped_count", count)

    @property
    def _has_something(self) -> bool:
        """Lines; or that there is a gap where no line follows."""
        return bool(self._buffer) or (self._untold_count > 0 and not self._is_refused)

    def _take_batch(self) -> bool:
        """True when there is a batch in flight: the one under way before, or a new one."""
        if self._in_flight is not None:
            return True
        if self._url is None or not self._has_something:
            return False
        lines: list[LogLine] = []
        cost = 0
        while self._buffer and len(lines) < LOG_BATCH_MAX:
            cost += _text_length(self._buffer[0])
            if lines and cost > BATCH_TEXT_MAX:
                break
            lines.append(self._buffer.popleft())
        self._number += 1
        self._in_flight = LogBatch(self._id, self._url, self._number, self._untold_count, tuple(lines))
        self._untold_count = 0
        return True

    async def _ship_or_wait(self) -> None:
        batch = self._in_flight
        assert batch is not None
        try:
            await self._send(batch)
            self._is_refused = False
        except ManagerUnreachable:
            await asyncio.sleep(self._backoff.next_seconds(self._rng))
            return
        except ManagerRefused:
            self._is_refused = True
            self._note_lost(len(batch.lines))
            self._untold_count += batch.dropped_count
        self._backoff.reset()
        if self._in_flight is batch:
            self._in_flight = None


def _text_length(line: LogLine) -> int:
    note = line.header_data
    return len(line.key) + len(line.user_agent) + (0 if note is None else len(note if isinstance(note, str) else str(note)))
