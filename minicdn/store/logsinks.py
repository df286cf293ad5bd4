"""Where log lines end up, and how the latest are read again. Called from the log's thread; whoever calls holds its lock.

RotatingFile  FILE, and FILE.1 (the youngest) … FILE.n before it. A line is in it whole or not at all: what a full disk let
              through of a line is cut off again, and a half line left by a crash is ended before the next one begins.
Stream        standard output, a pipe, a device. Can't be read, so a bounded ring of lines stays in memory.

Both have `write(lines)`, which raises OSError, and `tail(count)`, an iterator of bytes that is fixed when it is made: what
is written later is not in it.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from minicdn.errors import OperatorError

BLOCK_BYTES = 64 * 1024
RING_LINES_MAX = 10_000
RING_BYTES_MAX = 8 * 1024 * 1024
ROTATE_AGAIN_BYTES = 1024 * 1024
_BINARY = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


def open_sink(path: str, *, file_bytes: int, files_kept: int) -> RotatingFile | Stream:
    """OperatorError where the file can't be opened. `-` is standard output."""
    if path == "-":
        return Stream(1)
    try:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_NONBLOCK", 0) | _BINARY
        fd = os.open(path, flags, 0o644)
        if stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            return RotatingFile(Path(path), file_bytes=file_bytes, files_kept=files_kept)
        os.set_blocking(fd, True)
        return Stream(fd)
    except OSError as error:
        raise OperatorError(f"the log {path} can't be written ({error.strerror or error}): name another file with --log") from None


class RotatingFile:
    """`file_bytes` is a soft bound: a file ends with the block of lines that reaches it."""

    def __init__(self, path: Path, *, file_bytes: int, files_kept: int) -> None:
        self._path = path
        self._file_bytes = file_bytes
        self._files_kept = files_kept
        self._fd: int | None = None
        self._size = 0
        self._rotate_at = file_bytes
        self._open()

    def write(self, lines: Sequence[bytes]) -> int:
        """Appends whole lines; returns how many were written before the disk refused (all of them, when it did not)."""
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

    error: OSError | None = None
    """Why the last write was short."""

    def tail(self, count: int) -> Iterator[bytes]:
        """The last `count` lines, from the rotated files where the newest has fewer."""
        return _tail(self._open_for_reading(), count)

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _open(self) -> None:
        self._fd = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | _BINARY, 0o644)
        self._size = os.fstat(self._fd).st_size
        self._rotate_at = self._file_bytes
        if self._size and _read_at(self._fd, self._size - 1, 1) != b"\n":
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

    def __init__(self, fd: int) -> None:
        self._fd: int | None = fd
        self._ring: deque[bytes] = deque()
        self._ring_bytes = 0

    def write(self, lines: Sequence[bytes]) -> int:
        """Always takes all lines into the ring; `error` says when the stream itself has ended."""
        for line in lines:
            self._ring.append(line)
            self._ring_bytes += len(line)
        while len(self._ring) > RING_LINES_MAX or self._ring_bytes > RING_BYTES_MAX:
            self._ring_bytes -= len(self._ring.popleft())
        for block in _blocks(lines):
            self._write_out(b"".join(block))
        return len(lines)

    def tail(self, count: int) -> Iterator[bytes]:
        kept = list(self._ring)
        return iter(kept[len(kept) - min(count, len(kept)) :])

    def close(self) -> None:
        if self._fd is not None and self._fd > 2:
            os.close(self._fd)
        self._fd = None

    def _write_out(self, data: bytes) -> None:
        view = memoryview(data)
        while view and self._fd is not None:
            try:
                view = view[os.write(self._fd, view) :]
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


def _tail(files: list[tuple[int, int]], count: int) -> Iterator[bytes]:
    """Looks for the beginning from behind, block by block, then reads forward; holds one block at a time."""
    try:
        parts: list[tuple[int, int, int]] = []
        for fd, size in files:
            if count <= 0:
                break
            start, found = _find_start(fd, size, count)
            parts.append((fd, start, size))
            count -= found
        for fd, start, size in reversed(parts):
            while start < size:
                data = _read_at(fd, start, min(BLOCK_BYTES, size - start))
                if not data:
                    break
                yield data
                start += len(data)
    finally:
        for fd, _ in files:
            os.close(fd)


def _find_start(fd: int, size: int, count: int) -> tuple[int, int]:
    """Where the last `count` lines of a file of whole lines begin, and how many there are (fewer in a short file)."""
    found = 0
    end = size
    while end > 0:
        begin = max(0, end - BLOCK_BYTES)
        block = _read_at(fd, begin, end - begin)
        at = len(block)
        while (at := block.rfind(b"\n", 0, at)) >= 0:
            if found == count:
                return begin + at + 1, found
            found += 1
        end = begin
    return 0, found


def _read_at(fd: int, offset: int, length: int) -> bytes:
    """os.pread, which Windows lacks; the descriptors of readers are their own, and the writer's appends wherever it stands."""
    os.lseek(fd, offset, os.SEEK_SET)
    return os.read(fd, length)
