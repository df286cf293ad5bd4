"""Counts the awaits of tasks, and cancels the task that comes to the n-th of them, as a client that leaves or a node that stops would."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class Awaits:
    """cancel_at: which await, counted from 0 over all tasks that `is_watched` (a coroutine's qualified name) says yes to; None: none."""

    def __init__(self, is_watched: Callable[[str], bool], cancel_at: int | None = None) -> None:
        self._is_watched = is_watched
        self._cancel_at = cancel_at
        self.is_armed = False
        self.count = 0
        self.hit = ""
        """Whose await it was."""

    def watch(self, coro: Any) -> Any:
        return Counted(coro, self) if self._is_watched(getattr(coro, "__qualname__", "")) else coro

    def came(self, coro: Any) -> None:
        if not self.is_armed:
            return
        if self.count == self._cancel_at:
            task = asyncio.current_task()
            assert task is not None
            self.hit = coro.__qualname__
            task.get_loop().call_soon(task.cancel)  # not before it waits
        self.count += 1


class Counted(Coroutine[Any, Any, Any]):
    """A coroutine that tells of its awaits."""

    def __init__(self, coro: Any, awaits: Awaits) -> None:
        self._coro, self._awaits = coro, awaits

    def __getattr__(self, name: str) -> Any:
        return getattr(self._coro, name)

    def __await__(self) -> Any:
        return self._coro.__await__()

    def send(self, value: Any) -> Any:
        found = self._coro.send(value)
        self._awaits.came(self._coro)
        return found

    def throw(self, *error: Any) -> Any:
        found = self._coro.throw(*error)
        self._awaits.came(self._coro)
        return found

    def close(self) -> None:
        self._coro.close()
