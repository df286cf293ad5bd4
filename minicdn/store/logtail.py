"""The last lines of files that may be large: looked for from behind, and never more than one block of them in memory."""

from __future__ import annotations

import os
import threading
from collections.abc import Generator, Iterator, Sequence

BLOCK_BYTES = 64 * 1024


class Tail:
    """An iterator of blocks of bytes, and the descriptors that it reads. `close` may come from another thread than `next`."""

    def __init__(self, blocks: Generator[bytes, None, None], fds: Sequence[int] = ()) -> None:
        self._blocks = blocks
        self._fds = fds
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        with self._lock:
            return next(self._blocks)

    def close(self) -> None:
        with self._lock:
            self._blocks.close()
            fds, self._fds = self._fds, ()
            for fd in fds:
                os.close(fd)

    def __del__(self) -> None:
        self.close()


def file_blocks(files: list[tuple[int, int]], count: int) -> Generator[bytes, None, None]:
    """Looks for the beginning from behind, block by block, then reads forward; holds one block at a time."""
    parts: list[tuple[int, int, int]] = []
    for fd, size in files:
        if count <= 0:
            break
        start, found = _find_start(fd, size, count)
        parts.append((fd, start, size))
        count -= found
    for fd, start, size in reversed(parts):
        while start < size and (data := read_at(fd, start, min(BLOCK_BYTES, size - start))):
            yield data
            start += len(data)


def _find_start(fd: int, size: int, count: int) -> tuple[int, int]:
    """Where the last `count` lines of a file of whole lines begin, and how many there are (fewer in a short file)."""
    found = 0
    end = size
    while end > 0:
        begin = max(0, end - BLOCK_BYTES)
        block = read_at(fd, begin, end - begin)
        at = len(block)
        while (at := block.rfind(b"\n", 0, at)) >= 0:
            if found == count:
                return begin + at + 1, found
            found += 1
        end = begin
    return 0, found


def read_at(fd: int, offset: int, length: int) -> bytes:
    """os.pread, which Windows lacks; the descriptors of readers are their own, and the writer's appends wherever it stands."""
    os.lseek(fd, offset, os.SEEK_SET)
    return os.read(fd, length)
