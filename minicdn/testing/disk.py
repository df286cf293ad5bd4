"""Disks of the simulation: real files in a temporary folder, and what a crash leaves of them.

A process that is killed loses nothing that it gave to the system; files are copied, so that what the dead still hold open is not what its
successor reads. A machine that loses power keeps what was synced; of the rest each page (PAGE_BYTES) came to the disk or did not.

Each call on a file there can be told of before it happens (`on_call`), and be made to fail or to do less.
"""

from __future__ import annotations

import builtins
import errno
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from minicdn.settings import Settings

PAGE_BYTES = 4096
BEGAN_NS = 1_700_000_000_000_000_000
STEP_NS = 1_000_000
CALLS = ("open", "close", "fsync", "replace", "utime", "unlink", "pwrite", "write", "pread", "preadv", "mkdir", "scandir")
WRITES = ("pwrite", "write")
OnCall = Callable[[str, str], int | None]
"""Told of the call's name and path before it happens. May raise OSError; of a write it may return how many bytes are taken."""


class SimDisk:
    """folder: everything is below it. While it is installed, os calls on files there are watched."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self._root = folder
        self._below = f"{folder}/"
        self._rng = rng
        self._numbers = count()
        self._synced: dict[str, bytes] = {}
        """By path: what a power cut leaves for sure."""
        self._paths: dict[int, str] = {}
        self._touched: dict[str, int] = {}
        self._restored: list[tuple[Any, str, Any]] = []
        self._full: dict[str, None] = {}
        self.on_call: OnCall | None = None

    def folder_for(self, name: str) -> Path:
        return self._root / f"{name}-{next(self._numbers)}"

    def fill_up(self, folder: Path | None) -> None:
        """There is no room in it any more: nothing can be written, and nothing made."""
        self._full[f"{folder}/"] = None

    def make_room(self, folder: Path | None) -> None:
        self._full.pop(f"{folder}/", None)

    def _look_for_room(self, path: str | None) -> None:
        if path is not None and any(path.startswith(folder) for folder in self._full):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def survive(self, settings: Settings, *, loses_power: bool) -> Settings:
        """The settings of the next process there, with the folder that it will find."""
        old = settings.cache_dir
        if old is None:
            return settings
        new = self.folder_for(old.name.partition("-")[0])
        told, self.on_call = self.on_call, None
        if old.exists():
            shutil.copytree(old, new)
            self._adjust(old, new, loses_power=loses_power)
        self.on_call = told
        return replace(settings, cache_dir=new)

    def _adjust(self, old: Path, new: Path, *, loses_power: bool) -> None:
        for path in sorted(new.rglob("*")):
            if not path.is_file():
                continue
            before = str(old / path.relative_to(new))
            if loses_power and not self._after_power_cut(path, self._synced.get(before)):
                continue
            self._synced[str(path)] = path.read_bytes()
            at = self._touched[str(path)] = self._touched.get(before, BEGAN_NS)
            os.utime(path, ns=(at, at))

    def _after_power_cut(self, path: Path, synced: bytes | None) -> bool:
        """Whether the file is still there."""
        if synced is None and self._rng.random() < 0.5:
            path.unlink()
            return False
        written = path.read_bytes()
        if written != synced:
            path.write_bytes(self._mixed(synced or b"", written))
        return True

    def _mixed(self, synced: bytes, written: bytes) -> bytes:
        mixed = bytearray(synced[: len(written)].ljust(len(written), b"\0"))
        for start in range(0, len(written), PAGE_BYTES):
            if self._rng.random() < 0.5:
                mixed[start : start + PAGE_BYTES] = written[start : start + PAGE_BYTES]
        return bytes(mixed)

    # Watching

    def install(self) -> None:
        for name in CALLS:
            real = getattr(os, name, None)
            if real is not None:
                self._restored.append((os, name, real))
                watched = getattr(self, f"_{name}_with")(real) if hasattr(self, f"_{name}_with") else real
                setattr(os, name, self._told(name, watched))
        self._restored.append((builtins, "open", builtins.open))
        builtins.open = self._told("open", builtins.open)

    def uninstall(self) -> None:
        while self._restored:
            setattr(*self._restored.pop())

    def _told(self, name: str, watched: Callable[..., Any]) -> Callable[..., Any]:
        def call(target: Any = ".", *arguments: Any, **named: Any) -> Any:
            if self.on_call is not None:
                path = self._paths.get(target) if isinstance(target, int) else str(target) if self._is_ours(target) else None
                taken = self._tell(name, path, target, watched) if path is not None else None
                if taken is not None and name in WRITES:
                    arguments = (memoryview(arguments[0])[:taken], *arguments[1:])
            return watched(target, *arguments, **named)

        return call

    def _tell(self, name: str, path: str, target: Any, watched: Callable[..., Any]) -> int | None:
        assert self.on_call is not None
        try:
            return self.on_call(name, path)
        except OSError:
            if name == "close":  # it has closed the file all the same
                watched(target)
            raise

    def _is_ours(self, path: Any) -> bool:
        return isinstance(path, str | os.PathLike) and str(path).startswith(self._below)

    def _real(self, name: str) -> Callable[..., Any]:
        return next(found for module, called, found in self._restored if module is os and called == name)

    def _read(self, path: str) -> bytes:
        told, self.on_call = self.on_call, None
        try:
            return Path(path).read_bytes()
        finally:
            self.on_call = told

    def _tick(self, path: str) -> int:
        at = BEGAN_NS + next(self._numbers) * STEP_NS
        self._touched[path] = at
        return at

    def _open_with(self, real: Callable[..., int]) -> Callable[..., int]:
        def call(path: Any, *arguments: Any, **named: Any) -> int:
            if self._full and self._is_ours(path) and arguments and arguments[0] & os.O_CREAT:
                self._look_for_room(str(path))
            fd = real(path, *arguments, **named)
            if self._is_ours(path):
                self._paths[fd] = str(path)
            return fd

        return call

    def _pwrite_with(self, real: Callable[..., int]) -> Callable[..., int]:
        def call(fd: int, *arguments: Any) -> int:
            if self._full:
                self._look_for_room(self._paths.get(fd))
            return real(fd, *arguments)

        return call

    _write_with = _pwrite_with

    def _close_with(self, real: Callable[[int], None]) -> Callable[[int], None]:
        def call(fd: int) -> None:
            self._paths.pop(fd, None)
            real(fd)

        return call

    def _fsync_with(self, real: Callable[[int], None]) -> Callable[[int], None]:
        def call(fd: int) -> None:
            path = self._paths.get(fd)
            if path is None:
                real(fd)
            else:
                self._synced[path] = self._real("pread")(fd, os.fstat(fd).st_size, 0) if _is_readable(fd) else self._read(path)

        return call

    def _replace_with(self, real: Callable[..., None]) -> Callable[..., None]:
        def call(source: Any, target: Any, **named: Any) -> None:
            real(source, target, **named)
            if self._is_ours(target):
                at = self._tick(str(target))
                self._real("utime")(target, ns=(at, at))
                synced = self._synced.pop(str(source), None)
                if synced is not None:
                    self._synced[str(target)] = synced

        return call

    def _utime_with(self, real: Callable[..., None]) -> Callable[..., None]:
        def call(path: Any, times: Any = None, **named: Any) -> None:
            if self._is_ours(path) and times is None and not named:
                at = self._tick(str(path))
                real(path, ns=(at, at))
            else:
                real(path, times, **named) if times is not None else real(path, **named)

        return call

    def _unlink_with(self, real: Callable[..., None]) -> Callable[..., None]:
        def call(path: Any, **named: Any) -> None:
            real(path, **named)
            if self._is_ours(path):
                self._synced.pop(str(path), None)

        return call


def _is_readable(fd: int) -> bool:
    import fcntl

    return fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE != os.O_WRONLY
