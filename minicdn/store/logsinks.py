"""Where log lines end up, and how the latest are read again. Used under the log's lock, but for `write_through`.

RotatingFile  FILE, and FILE.1 (the youngest) … FILE.n before it. A line is in it whole or not at all: what a full disk let
              through of a line is cut off again, and a half line left by a crash is ended before the next one begins.
Stream        standard output, a pipe, a device. Can't be read, so a bounded ring of lines stays in memory.

`write` returns how many lines it took; `error` says why it took fewer, `consequence` what that means. `tail(count)` is fixed
when it is made: what is written later is not in it. `write_through` does what may block for long.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from minicdn.errors import OperatorError
from minicdn.store.logtail import BLOCK_BYTES, Tail, file_blocks, read_at

RING_LINES_MAX = 10_000
RING_BYTES_MAX = 8 * 1024 * 1024
ROTATE_AGAIN_BYTES = 1024 * 1024
_BINARY = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


def open_sink(path: str, *, file_bytes: int, files_kept: int) -> RotatingFile | Stream:
    """OperatorError where the file can't be opened. `-` is standard output."""
    if path == "-":
        return Stream(1)
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            return Stream(_open_special(path))
        return RotatingFile(Path(path), file_bytes=file_bytes, files_kept=files_kept)
    except OSError as error:
        raise OperatorError(f"the log {path} can't be written ({error.strerror or error}): name another file with --log") from None


def _open_special(path: str) -> int:
    """A pipe, a device. Not waiting: a named pipe that nobody reads is an error, as the folder is that is none of these."""
    fd = os.open(path, os.O_WRONLY | getattr(os, "O_NONBLOCK", 0) | _BINARY)
    if os.name != "nt":
        os.set_blocking(fd, True)
    return fd


class RotatingFile:
    """`file_bytes` is a soft bound: a file ends with the block of lines that reaches it."""

    error: OSError | None = None
    consequence = "lines are lost, and counted, until it can"

    def __init__(self, path: Path, *, file_bytes: int, files_kept: int) -> None:
        self._path = path
        self._file_bytes = file_bytes
        self._files_kept = files_kept
        self._fd: int | None = None
        self._size = 0
        self._rotate_at = file_bytes
        self._open()

    def write(self, lines: Sequence[bytes]) -> int:
        """Appends whole lines; all of them, or those before the disk refused."""
        self.error = None
        done = 0
        for block in _blocks(lines):
            try:
                self._make_ready()
                self._append(b"".join(block))
            except OSError as error:
                self.error = error
                return done
            done += len(block)
        return done

    def write_through(self) -> None:
        """Nothing: `write` has done it."""

    def tail(self, count: int) -> Tail:
        """The last `count` lines, from the rotated files where the newest has fewer."""
        files = self._open_for_reading()
        return Tail(file_blocks(files, count), [fd for fd, _ in files])

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _open(self) -> None:
        self._fd = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | _BINARY, 0o644)
        self._size = os.fstat(self._fd).st_size
        self._rotate_at = self._file_bytes
        if self._size and read_at(self._fd, self._size - 1, 1) != b"\n":
            self._append(b"\n")

    def _make_ready(self) -> None:
        if self._fd is not None and self._was_taken_away():
            self.close()
        if self._fd is None:
            self._open()
        if self._size >= self._rotate_at:
            self._rotate()

    def _was_taken_away(self) -> bool:
        """Somebody else renamed or deleted the file (logrotate does): the next line opens a new one."""
        if os.name == "nt":
            return False  # an open file can't be taken away there
        try:
            return os.stat(self._path).st_ino != os.fstat(self._fd or 0).st_ino
        except FileNotFoundError:
            return True

    def _append(self, data: bytes) -> None:
        assert self._fd is not None
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError:
            os.ftruncate(self._fd, self._size)
            raise
        self._size += len(data)

    def _rotate(self) -> None:
        """Where a rename is refused (Windows, while somebody reads the file) the file grows on, and is tried again later."""
        self.close()
        try:
            if self._files_kept < 1:
                self._path.unlink(missing_ok=True)
            for number in range(self._files_kept, 0, -1):
                older = self._numbered(number - 1)
                if older.exists():
                    os.replace(older, self._numbered(number))
        except OSError:
            pass
        self._open()
        if self._size >= self._file_bytes:
            self._rotate_at = self._size + ROTATE_AGAIN_BYTES

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path

    def _open_for_reading(self) -> list[tuple[int, int]]:
        """(descriptor, size) of each file there is, the newest first. Open, they stay the same files through a rotation."""
        found: list[tuple[int, int]] = []
        for number in range(self._files_kept + 1):
            try:
                fd = os.open(self._numbered(number), os.O_RDONLY | _BINARY)
            except OSError:
                continue
            found.append((fd, os.fstat(fd).st_size))
        return found


class Stream:
    """Written through the descriptor: a buffer of Python's would complain about a broken pipe when the process ends."""

    error: OSError | None = None
    consequence = "only the latest lines are kept, for GET /_log"

    def __init__(self, fd: int) -> None:
        self._fd: int | None = fd
        self._ring: deque[bytes] = deque()
        self._ring_bytes = 0
        self._waiting: list[bytes] = []

    def write(self, lines: Sequence[bytes]) -> int:
        """The ring takes them all; `write_through` sends them on."""
        for line in lines:
            self._ring.append(line)
            self._ring_bytes += len(line)
        while len(self._ring) > RING_LINES_MAX or self._ring_bytes > RING_BYTES_MAX:
            self._ring_bytes -= len(self._ring.popleft())
        self._waiting.extend(lines)
        return len(lines)

    def write_through(self) -> None:
        """May block for as long as nobody reads the other end. When the other end is gone, it is gone for good."""
        waiting, self._waiting = self._waiting, []
        for block in _blocks(waiting):
            self._send(b"".join(block))

    def tail(self, count: int) -> Tail:
        kept = list(self._ring)
        lines = kept[len(kept) - min(count, len(kept)) :]
        return Tail(b"".join(block) for block in _blocks(lines))

    def close(self) -> None:
        if self._fd is not None and self._fd > 2:
            os.close(self._fd)
        self._fd = None

    def _send(self, data: bytes) -> None:
        view = memoryview(data)
        while view and self._fd is not None:
            try:
                view = view[os.write(self._fd, view) :]
            except BlockingIOError:  # whoever started us gave us a descriptor that does not wait
                time.sleep(0.05)
            except OSError as error:
                self.error = error
                self.close()


def _blocks(lines: Sequence[bytes]) -> Iterator[list[bytes]]:
    """The lines in groups of about one block each."""
    block: list[bytes] = []
    size = 0
    for line in lines:
        block.append(line)
        size += len(line)
        if size >= BLOCK_BYTES:
            yield block
            block, size = [], 0
    if block:
        yield block
