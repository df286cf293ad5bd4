"""The manager's log: one thread that writes, so that nobody waits for a disk.

`put` is a bounded append from the event loop. The thread turns lines into JSON, writes them, and hands them to whoever
follows. When the queue is full the oldest lines go (node/loglines.py says why); when the disk refuses, what was to be
written goes. Both are counted, and told in the log itself by a DROPPED line, as soon as there is room for one.

A follower has a bounded queue too: a slow reader loses lines, is told how many, and holds up nobody. Two locks, as the
first may be held for as long as a disk takes: the event loop's thread only ever takes the second.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from minicdn.core.logline import LogLine, dropped_json, encode_line
from minicdn.errors import ClientError
from minicdn.store.logsinks import open_sink
from minicdn.store.logtail import Tail

GATHER_SECONDS = 0.02
"""A longer wait gathers more lines, and to write them holds requests up for longer: at 0.05 a hit's p99 was 3.6 ms, at 0.02 it is 2."""
BATCH_MAX = 500
FOLLOWERS_MAX = 64
FOLLOWER_LINES_MAX = 1000

Item = tuple[LogLine | None, int, str]
"""A line and 0, or None and the count of lines that a peer lost; and the peer's URL."""


class LogFile:
    """`put` and the like belong to the event loop's thread; `tail` and `close` block, so call them in a thread.

    `wall` gives seconds since 1970. `url` is under which this node itself is known, for its own DROPPED lines.
    """

    def __init__(
        self,
        path: str,
        *,
        file_bytes: int,
        files_kept: int,
        lines_max: int,
        wall: Callable[[], float],
        say: Callable[[str], None],
    ) -> None:
        """OperatorError where the file can't be opened."""
        self.path = path
        self.url = ""
        self._sink = open_sink(path, file_bytes=file_bytes, files_kept=files_kept)
        self._wall = wall
        self._say = say
        self._lines_max = max(1, lines_max)
        self._queue: deque[Item] = deque(maxlen=self._lines_max)
        self._overflow_count = 0
        self._overflow_told_count = 0
        self._refused_count = 0
        self._refused_told_count = 0
        self._is_refusing = False
        self._followers: set[Follower] = set()
        self._is_over = False
        self._lock = threading.Lock()
        self._followers_lock = threading.Lock()
        self._wake = threading.Event()
        self._is_woken = False
        """As _wake is, or is about to be; asked for each line, which a look at that would cost as much as the line."""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="minicdn-log", daemon=True)
        self._thread.start()

    # The event loop's side

    def put(self, line: LogLine | None, url: str, lost_count: int = 0) -> None:
        queue = self._queue
        if len(queue) == self._lines_max:
            self._lose_oldest()
        queue.append((line, lost_count, url))
        if not self._is_woken:
            self._is_woken = True
            self._wake.set()

    def put_dropped(self, count: int, url: str) -> None:
        """A peer says that it lost lines here."""
        self.put(None, url, count)

    @property
    def dropped_count(self) -> int:
        """Lines that this process received and could not write."""
        return self._overflow_count + self._refused_count

    def end_follows(self) -> None:
        """Those who follow have seen the last line."""
        with self._followers_lock:
            followers, self._followers, self._is_over = self._followers, set(), True
        for follower in followers:
            follower.end()

    def unfollow(self, follower: Follower) -> None:
        with self._followers_lock:
            follower.is_gone = True
            self._followers.discard(follower)

    def _lose_oldest(self) -> None:
        """Where that is a word of lost lines itself, as many are lost without a word."""
        try:
            line, count, _ = self._queue[0]
        except IndexError:  # the thread has just taken them all
            line, count = None, 0
        self._overflow_count += 1 if line is not None else count

    # Blocking, for a thread of the caller's choice

    def tail(self, count: int, follower: Follower | None = None) -> Tail:
        """The last `count` lines in blocks of bytes; `follower` gets exactly those that come after. To be closed.

        ClientError(503) when too many follow.
        """
        with self._lock:
            if follower is not None:
                self._follow(follower)
            return self._sink.tail(count)

    def _follow(self, follower: Follower) -> None:
        with self._followers_lock:
            if self._is_over:
                follower.end()
                return
            if len(self._followers) >= FOLLOWERS_MAX:
                raise ClientError(503, f"{FOLLOWERS_MAX} readers follow the log already")
            if not follower.is_gone:  # while it waited for a thread
                self._followers.add(follower)

    def close(self, seconds: float) -> bool:
        """Writes what is queued; False when that took longer than `seconds`."""
        self._closing.set()
        self._wake.set()
        self._thread.join(seconds)
        self.end_follows()
        return not self._thread.is_alive()

    # The thread's side

    def _run(self) -> None:
        while not (self._closing.is_set() and not self._queue):
            self._wake.wait()
            self._closing.wait(GATHER_SECONDS)
            if not self._closing.is_set():
                self._wake.clear()
                self._is_woken = False  # in this order: what is put in between is taken below, what comes after wakes
            while len(self._queue) >= BATCH_MAX:
                self._write(self._take())
            if self._queue:  # what comes meanwhile waits its turn: by ones and twos it costs more than the requests it tells of
                self._write(self._take())
        with self._lock:
            self._sink.close()

    def _take(self) -> list[bytes]:
        lines: list[bytes] = []
        while len(lines) < BATCH_MAX:
            try:
                lines.append(self._encoded(*self._queue.popleft()))
            except IndexError:
                break
            except (ValueError, TypeError, RecursionError):  # a line that can't be JSON is a lost line, not a lost log
                self._refused_count += 1
        return lines

    def _encoded(self, line: LogLine | None, count: int, url: str) -> bytes:
        return line.to_text(url) if line is not None else encode_line(self._dropped(count, url))

    def _dropped(self, count: int, url: str) -> dict[str, Any]:
        return dropped_json(count, url, int(self._wall()))

    def _write(self, lines: list[bytes]) -> None:
        overflow, refused = self._overflow_count, self._refused_count
        missing = overflow - self._overflow_told_count + refused - self._refused_told_count
        if missing:
            lines = [encode_line(self._dropped(missing, self.url)), *lines]
        with self._lock:
            done = self._sink.write(lines)
            if done:
                self._feed(lines[:done])
        self._sink.write_through()
        if missing and done:
            self._overflow_told_count, self._refused_told_count = overflow, refused
        lost = len(lines) - done
        self._refused_count += lost - 1 if missing and not done else lost  # the DROPPED line itself is no loss
        self._tell()

    def _feed(self, lines: list[bytes]) -> None:
        with self._followers_lock:
            for follower in self._followers:
                follower.feed(lines)

    def _tell(self) -> None:
        """One line when the trouble begins, one when it is over."""
        error = self._sink.error
        if error is not None and not self._is_refusing:
            self._say(f"the log {self.path} can't be written ({error.strerror or error}): {self._sink.consequence}")
        elif error is None and self._is_refusing:
            self._say(f"the log {self.path} is written again; lines lost so far: {self.dropped_count}")
        self._is_refusing = error is not None


class Follower:
    """A reader of what comes, on the event loop that makes it. `feed` and `end` may be called from any thread."""

    is_gone = False

    def __init__(self, *, lines_max: int = FOLLOWER_LINES_MAX) -> None:
        self._loop = asyncio.get_running_loop()
        self._lines: deque[bytes] = deque()
        self._lines_max = lines_max
        self._missed_count = 0
        self._is_ended = False
        self._wake = asyncio.Event()

    def feed(self, lines: list[bytes]) -> None:
        self._call(self._take, lines)

    def end(self) -> None:
        self._call(self._finish)

    async def wait_lines(self) -> tuple[list[bytes], int]:
        """What has come since (waits for the first), and how many older ones this reader was too slow for; [] at the end."""
        await self._wake.wait()
        lines, missed = list(self._lines), self._missed_count
        self._lines.clear()
        self._missed_count = 0
        if not self._is_ended:
            self._wake.clear()
        return lines, missed

    def _take(self, lines: list[bytes]) -> None:
        self._lines.extend(lines)
        while len(self._lines) > self._lines_max:
            self._lines.popleft()
            self._missed_count += 1
        self._wake.set()

    def _finish(self) -> None:
        self._is_ended = True
        self._wake.set()

    def _call(self, function: Callable[..., None], *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:  # its event loop has closed: nobody reads any more
            pass
