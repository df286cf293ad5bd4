"""A disk that fails when it is told to: os calls on files below one folder, in the order in which they happen."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CALLS = ("open", "pwrite", "write", "pread", "preadv", "fsync", "replace", "unlink", "utime", "close", "mkdir")


class FaultyDisk:
    """`fail(call, errno)` makes every such call fail from now on, `heal()` ends that; `hang(call)` makes it wait for `heal()`.
    `calls` is what happened. before, after: called around each call with its name."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = f"{folder}/"
        self._paths: dict[int, str] = {}
        self._failing: dict[str, int] = {}
        self._hanging: dict[str, threading.Event] = {}
        self.hung = threading.Event()
        self.calls: list[tuple[str, str]] = []
        self.threads: list[tuple[str, int]] = []
        self.after: Callable[[str], None] = lambda name: None
        for name in CALLS:
            if hasattr(os, name):
                monkeypatch.setattr(os, name, self._wrapped(name, getattr(os, name)))

    def fail(self, call: str, errno: int, *, on: str = "") -> None:
        """on: a part of the path."""
        self._failing[call, on] = errno  # type: ignore[index]

    def hang(self, call: str) -> None:
        self._hanging[call] = threading.Event()

    def heal(self) -> None:
        self._failing.clear()
        hanging, self._hanging = self._hanging, {}
        for event in hanging.values():
            event.set()

    def names(self) -> list[str]:
        return [name for name, _ in self.calls]

    def _wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(target: Any, *arguments: Any, **named: Any) -> Any:
            path = self._path(target)
            if path is None:
                return real(target, *arguments, **named)
            self.calls.append((name, path))
            self.threads.append((name, threading.get_ident()))
            if name in self._hanging:
                self.hung.set()
                self._hanging[name].wait(20)
            for (failing, part), errno in self._failing.items():  # type: ignore[misc]
                if failing == name and part in path:
                    raise OSError(errno, os.strerror(errno))
            found = real(target, *arguments, **named)
            if name == "open":
                self._paths[found] = path
            elif name == "close":
                self._paths.pop(target, None)
            self.after(name)
            return found

        return call

    def _path(self, target: Any) -> str | None:
        if isinstance(target, int):
            return self._paths.get(target)
        path = os.fspath(target)
        return path if isinstance(path, str) and path.startswith(self._folder) else None


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    faulty = FaultyDisk(tmp_path, monkeypatch)
    yield faulty
    faulty.heal()
