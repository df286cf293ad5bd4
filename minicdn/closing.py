"""What the signals have asked for: run on, close warm, or stop cold.

First SIGINT, SIGTERM or SIGHUP: warm. A second SIGINT or SIGTERM, or SIGQUIT at any time: cold, and cold means within a
second whatever the rest of the process is doing. So signals are not handled by handlers, which wait for the main thread to
return to the interpreter: they are blocked in every thread, and a thread of their own takes them one by one. That thread
never prints, for whoever prints can be stopped by a full pipe; on cold it tells the event loop, waits, and ends the process.

Windows can't block signals. There handlers run on the main thread, and a timer stands in for the waiting.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from enum import IntEnum
from typing import TYPE_CHECKING

from minicdn.errors import COLD_EXIT_CODE

if TYPE_CHECKING:
    import asyncio

COLD_SECONDS = 0.8
"""A cold close promises to be over within one second; the rest is the exit itself."""

_CLOSING_SIGNALS = ("SIGINT", "SIGTERM", "SIGBREAK")
_WARM_ONLY_SIGNALS = ("SIGHUP",)
"""A closed terminal may send it twice (kernel and shell): the second must not cut downloads."""
_COLD_SIGNALS = ("SIGQUIT",)


REPEAT_SECONDS = 0.25


class Repeats:
    """What came already. The executable of one file has a parent process, which unpacked it and passes its signals on; so a Ctrl-C, which
    the terminal sends to both, arrives twice, and means one. seconds: for so long; 0: nothing is a repeat."""

    def __init__(self, seconds: float | None = None) -> None:
        is_passed_on = os.name == "posix" and getattr(sys, "frozen", False)
        self._seconds = (REPEAT_SECONDS if is_passed_on else 0.0) if seconds is None else seconds
        self._came_at: dict[int, float] = {}

    def has(self, number: int) -> bool:
        """Whether this one, which came now, is one."""
        now = time.monotonic()
        if now - self._came_at.get(number, -self._seconds) < self._seconds:
            return True
        self._came_at[number] = now
        return False


class Stage(IntEnum):
    RUNNING = 0
    WARM = 1
    COLD = 2


class Closing:
    """The stage only ever rises. One writer (the signals' thread), any reader; `wait_for` for the loop given to `attach`."""

    def __init__(self, repeats: Repeats | None = None) -> None:
        self.stage = Stage.RUNNING
        self._repeats = repeats or Repeats()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed: asyncio.Event | None = None

    def listen(self) -> None:
        """Take the signals over. To be called on the main thread, before any other thread exists."""
        signals = {name: getattr(signal, name) for name in _CLOSING_SIGNALS + _WARM_ONLY_SIGNALS + _COLD_SIGNALS if hasattr(signal, name)}
        if "SIGHUP" in signals and signal.getsignal(signals["SIGHUP"]) == signal.SIG_IGN:
            del signals["SIGHUP"]  # nohup asked for that
        for number in signals.values():
            # An ignored signal (SIGINT of a shell's background job) could be dropped before the thread sees it.
            signal.signal(number, self._handle)
        if not hasattr(signal, "pthread_sigmask"):
            return
        signal.pthread_sigmask(signal.SIG_BLOCK, signals.values())
        threading.Thread(target=self._take_signals, args=(set(signals.values()),), name="signals", daemon=True).start()

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        import asyncio  # here, since it takes longer to import than signals should go unheard

        self._changed = asyncio.Event()
        self._loop = loop
        self._wake()  # for a signal that came before there was a loop

    async def wait_for(self, stage: Stage) -> None:
        """Without a deadline: a node runs until somebody ends it."""
        assert self._changed is not None
        while self.stage < stage:
            self._changed.clear()
            await self._changed.wait()

    def take(self, number: int) -> None:
        """What one signal means, given those before it. Returns at once, and never twice from cold."""
        if self._repeats.has(number):
            return
        name = signal.Signals(number).name
        if name in _COLD_SIGNALS or (self.stage >= Stage.WARM and name in _CLOSING_SIGNALS):
            self.stage = Stage.COLD
        else:
            self.stage = max(self.stage, Stage.WARM)
        self._wake()

    def _wake(self) -> None:
        loop, changed = self._loop, self._changed
        if loop is None or changed is None:
            return
        try:
            loop.call_soon_threadsafe(changed.set)
        except RuntimeError:  # the loop is closed: the process is on its last lines
            pass

    def _take_signals(self, signals: set[signal.Signals]) -> None:
        while self.stage < Stage.COLD:
            self.take(signal.sigwait(signals))
        time.sleep(COLD_SECONDS)
        os._exit(COLD_EXIT_CODE)

    def _handle(self, number: int, _frame: object) -> None:
        """Windows, and the moment between taking a signal's disposition and blocking it."""
        self.take(number)
        if self.stage == Stage.COLD:
            exit_within(COLD_SECONDS, COLD_EXIT_CODE)


def exit_within(seconds: float, code: int) -> None:
    """The process ends with `code` after this time at the latest, whichever thread hangs."""
    timer = threading.Timer(seconds, os._exit, args=(code,))
    timer.daemon = True
    timer.start()
