"""A download on its way to its name: FILE.part with holes, FILE.part.state beside it, and FILE at the end.

The state says which bytes are there, of which file: identity, validator and length. It is written after the bytes were synced, so that it
never says more than the disk holds, whatever ends this process or the machine. A part without a state, or of another file, is begun anew.
Nothing appears under the final name before it is whole and verified.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from minicdn.core.spans import SpanSet
from minicdn.errors import TargetUnwritable
from minicdn.get.follower import Follower
from minicdn.wire.threads import in_thread

try:
    from fcntl import LOCK_EX, LOCK_NB, flock
except ImportError:  # Windows: two downloads of one file are not kept apart there
    flock = None  # type: ignore[assignment]

STATE_FORMAT = 1
SAVE_SECONDS = 1.0
SYNC_SHARE = 10
"""A sync that took long is not repeated before ten times as long has passed."""
LAST_SAVE_SECONDS = 5.0
"""A disk that others keep busy takes seconds to sync; who stops a download twice does not wait for it."""


class PartFile:
    """length, validator: of the file that `held` is of; both are set by begin(), or by load() where an earlier download left something."""

    look_ahead_bytes: int | None = None

    def __init__(self, path: Path, identity: str) -> None:
        self.path, self._identity = path, identity
        self._part = path.with_name(path.name + ".part")
        self._state = path.with_name(path.name + ".part.state")
        self.held, self.length, self.validator = SpanSet(), None, None
        self._fd: int | None = None
        self._follower: Follower | None = None
        self._saves_count = 0
        self._saving = threading.Lock()
        self._saved, self._saved_number = SpanSet(), 0
        """What the state says is there, and which save said so."""
        self._is_over = False
        """No state is written any more. (Nobody may wait for a thread that saves: it can't be stopped.)"""

    @property
    def shown(self) -> str:
        return str(self.path)

    def load(self) -> int:
        """Take up what an earlier download left; how many bytes that is."""
        with self._trouble():
            if not self.path.parent.is_dir():
                raise FileNotFoundError(errno.ENOENT, "there is no such folder", str(self.path.parent))
        found = self._read_state()
        if found is None:
            return 0
        with self._trouble():
            self._open()
        self.length, self.validator, self.held = found
        self._saved = SpanSet(self.held)
        # Of a part that is whole one byte is asked for again: whether it is still the file, only a server can say.
        self.held.remove(self.length - 1, self.length)
        self._follow()
        return self.held.total_bytes

    def begin(self, length: int | None, validator: bytes | None) -> None:
        """Anew: whatever is there is dropped."""
        with self._trouble():
            with self._saving:
                self._is_over, self.held, self._saved = False, SpanSet(), SpanSet()
                self._state.unlink(missing_ok=True)
            if self._fd is None:
                self._open()
            os.truncate(self._fd, 0)  # type: ignore[arg-type]
        self.length, self.validator = length, validator
        self._follow()

    def write(self, offset: int, data: bytes) -> None:
        assert self._fd is not None and self._follower is not None
        view = memoryview(data)
        with self._trouble():
            os.lseek(self._fd, offset, os.SEEK_SET)
            while view:
                view = view[os.write(self._fd, view) :]
        self.held.add(offset, offset + len(data))
        self._follower.wake()

    async def room(self) -> None:
        """Always: the disk takes what comes."""

    async def sha256(self, length: int) -> bytes:
        """Of the whole, once it is there."""
        assert self._follower is not None
        with self._trouble():
            return await self._follower.finish(length)

    async def commit(self, length: int) -> None:
        assert self._fd is not None
        with self._trouble():
            os.truncate(self._fd, length)
            await in_thread(os.fsync, self._fd)
            self._close()
            with self._saving:
                self._is_over = True
                try:
                    os.replace(self._part, self.path)
                except OSError:  # the name is another's, or (Windows) a program has that file open
                    self._is_over = False
                    self._open()  # close() writes down that all is there
                    raise
                self._state.unlink(missing_ok=True)

    def discard(self) -> None:
        """What is there is of no use."""
        self._close()
        with self._saving:
            self._is_over = True
            for path in (self._state, self._part):
                path.unlink(missing_ok=True)

    async def keep_saving(self) -> None:
        """Until cancelled."""
        pause = SAVE_SECONDS
        while True:
            await asyncio.sleep(pause)
            began_at = time.monotonic()
            await self._save()
            pause = max(SAVE_SECONDS, SYNC_SHARE * (time.monotonic() - began_at))

    async def close(self) -> None:
        """The download ended too early: what is there is kept, and that it is there is written down. What a disk does not take in time is
        not held any more: nobody would go on from it."""
        if self._fd is None:
            return
        if not self.held or self.validator is None:
            self.discard()
            return
        try:
            async with asyncio.timeout(LAST_SAVE_SECONDS):
                await self._save()
        except TimeoutError:
            pass
        finally:
            self.held = self._saved
            self._close()

    # Inside

    def _open(self) -> None:
        self._fd = os.open(self._part, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0), 0o666)
        if flock is not None:
            try:
                flock(self._fd, LOCK_EX | LOCK_NB)
            except BlockingIOError:
                self._close()
                raise TargetUnwritable(f"another download is writing {self._part}") from None
            except OSError:  # a file system without locks
                pass

    def _follow(self) -> None:
        if self._follower is not None:
            self._follower.stop()
        self._follower = Follower(self._part, self.held)

    def _close(self) -> None:
        if self._follower is not None:
            self._follower.stop()
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    async def _save(self) -> None:
        """A disk that is full can't take the state either; the earlier one stays true."""
        if self._fd is None or self.validator is None or not self.held:
            return
        spans = list(self.held)
        found = {
            "format": STATE_FORMAT,
            "identity": self._identity,
            "length": self.length,
            "validator": self.validator.decode("latin-1"),
            "spans": spans,
        }
        try:
            self._saves_count += 1
            await in_thread(self._sync_and_write, self._fd, self._saves_count, self.held, SpanSet(spans), json.dumps(found))
        except OSError:
            pass

    def _sync_and_write(self, fd: int, number: int, held: SpanSet, saved: SpanSet, text: str) -> None:
        getattr(os, "fdatasync", os.fsync)(fd)
        new = self._state.with_name(self._state.name + ".new")
        with self._saving:
            if self._is_over or held is not self.held:  # begun anew meanwhile: this is of the file before
                return
            if number < self._saved_number:  # two syncs at once may end in any order
                return
            try:
                new.write_text(text, "utf-8")
                os.replace(new, self._state)
                self._saved, self._saved_number = saved, number
            finally:
                new.unlink(missing_ok=True)

    def _read_state(self) -> tuple[int, bytes, SpanSet] | None:
        """(length, validator, what is there), or None where there is nothing to go on from."""
        try:
            found: Any = json.loads(self._state.read_text("utf-8"))
            size = self._part.stat().st_size
            if found["format"] != STATE_FORMAT or found["identity"] != self._identity:
                return None
            length, validator = found["length"], found["validator"].encode("latin-1")
            held = SpanSet((start, end) for start, end in found["spans"])
        except (OSError, ValueError, TypeError, LookupError, AttributeError):
            return None
        is_sound = isinstance(length, int) and held and max(end for _, end in held) <= min(size, length)
        return (length, validator, held) if is_sound else None

    @contextmanager
    def _trouble(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise TargetUnwritable(f"the disk is full, for {self._part}") from error
            raise TargetUnwritable(f"{error.filename or self._part} can't be written: {error.strerror or error}") from error
