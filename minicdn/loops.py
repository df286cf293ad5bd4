"""Which event loop: uvloop's where there is one; what ends it; and when Python looks for garbage in it."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from minicdn.closing import Repeats

T = TypeVar("T")

YOUNG_COUNT, MIDDLE_COUNT, NEVER = 5000, 10, 1 << 30
"""Allocations before the youngest objects are looked through, and so many times that before those of middle age are: some milliseconds."""
QUIET_SECONDS = 1.0
TIDY_SECONDS, TIDY_SECONDS_MAX = 60.0, 3600.0
"""Between two looks through everything: when it is quiet, and at the latest."""


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # Windows, PyPy
        return None
    return uvloop.new_event_loop


def run_stoppable(main: Coroutine[Any, Any, T]) -> T:
    """What it returns. Ctrl-C cancels it, as do the other signals that end a program; what that means is its own affair."""

    async def stoppable() -> T:
        task = asyncio.current_task()
        assert task is not None
        _take_signals(task.cancel)
        return await main

    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            return runner.run(stoppable())
    finally:
        main.close()  # a Ctrl-C before it began leaves it unawaited, and Python says so on the terminal


def _take_signals(stop: Callable[[], Any]) -> None:
    """SIGINT is the runner's, but where it may come twice. SIGTERM, and SIGHUP where nohup does not hold it back, do the same."""
    loop, repeats = asyncio.get_running_loop(), Repeats()

    def take(number: int) -> None:
        if not repeats.has(number):
            stop()

    for name in (*(("SIGINT",) if getattr(sys, "frozen", False) else ()), "SIGTERM", "SIGHUP", "SIGBREAK"):
        number = getattr(signal, name, None)
        if number is None or signal.getsignal(number) == signal.SIG_IGN:
            continue
        try:
            loop.add_signal_handler(number, take, number)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda number, _: loop.call_soon_threadsafe(take, number))


def settle_collector() -> None:
    """Python would look through all that lives whenever it has grown by a quarter: a second for each 250,000 cached objects, in which
    nobody is served, and a tenth of a miss's cost. What is imported by now is never looked at; the rest is tidied by keep_tidy()."""
    gc.freeze()
    gc.set_threshold(YOUNG_COUNT, MIDDLE_COUNT, NEVER)
    gc.enable()  # a start goes without (__main__.py)


async def keep_tidy(count_requests: Callable[[], int]) -> None:
    """Looks through everything when nobody asks, and once in a long while in any case."""
    loop = asyncio.get_running_loop()
    done_at = loop.time()
    while True:
        await asyncio.sleep(TIDY_SECONDS)
        before = count_requests()
        await asyncio.sleep(QUIET_SECONDS)
        if count_requests() == before or loop.time() - done_at > TIDY_SECONDS_MAX:
            gc.collect()
            done_at = loop.time()
