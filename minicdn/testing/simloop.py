"""An event loop in virtual time: nothing is waited for, the clock jumps to the next timer.

Everything that happens is decided by timers and by one seed. Threads would break that, so what is given to an executor runs on the loop,
after a moment of its own. Callbacks belong to a *process* (by a context variable): one that is frozen runs no more until it is thawed, as
after SIGSTOP; one that is killed never runs again, not even its `finally`.

The order of the ready queue is asyncio's own: interleavings come from delays.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from typing import Any
from zlib import crc32

HERE: ContextVar[Process | None] = ContextVar("minicdn_process", default=None)
BEGAN_AT = 1000.0
"""Where the virtual clock begins."""
EXECUTOR_SECONDS = (0.00002, 0.002)
"""How long a call in an executor takes, from and to."""


class Stuck(Exception):
    """Nothing is ready and no timer is set: whoever waits, waits for ever."""


class Process:
    """Whose callbacks stop together. address: the host on which it runs."""

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self.address = address
        self.is_frozen = False
        self.is_dead = False
        self.tasks: dict[asyncio.Task[Any], None] = {}
        self._held: list[asyncio.Handle] = []
        self.context = copy_context()
        self.context.run(HERE.set, self)

    @property
    def is_running(self) -> bool:
        return not (self.is_frozen or self.is_dead)

    def hold(self, handle: asyncio.Handle) -> None:
        """A callback whose time came while nothing runs here."""
        self._held.append(handle)

    def take_held(self) -> list[asyncio.Handle]:
        held, self._held = self._held, []
        return held


class _Held:
    """Mixed into asyncio's handles: they run where their process does."""

    def _run(self) -> None:
        process = self._context.get(HERE)  # type: ignore[attr-defined]
        if process is None or process.is_running:
            super()._run()  # type: ignore[misc]
        else:
            process.hold(self)


class _SimHandle(_Held, asyncio.Handle):
    __slots__ = ()


class _SimTimer(_Held, asyncio.TimerHandle):
    __slots__ = ()


class SimTask(asyncio.Task[Any]):
    """asyncio keeps tasks in sets, whose order is that of hashes; a hash that were an address would differ from run to run."""

    def __new__(cls, coro: Any, *, loop: SimLoop, **kwargs: Any) -> SimTask:
        task = super().__new__(cls)
        loop.tasks_count += 1
        task.number = loop.tasks_count
        return task

    number: int

    def __hash__(self) -> int:
        return self.number


class _Selector:
    """select() never waits: it tells the loop that the time has passed."""

    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Stuck("nothing is left that could happen")
        self._loop.pass_by(timeout)
        return []


class SimLoop(asyncio.BaseEventLoop):
    """rng: for what takes how long. network: set by who makes one; connections and servers are its."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self._now = BEGAN_AT
        self._selector = _Selector(self)
        self._rng = rng
        self.network: Any = None
        self.steps_count = 0
        self.tasks_count = 0
        self.on_task: Callable[[Any], Any] = lambda coro: coro
        """What each task runs instead of what it was given."""
        self.trace = 0
        """A digest of when what ran in executors and on connections: two runs of a seed are the same where this is."""

    def time(self) -> float:
        return self._now

    def pass_by(self, seconds: float) -> None:
        self._now += seconds
        self.steps_count += 1

    def note(self, what: str, size: int) -> None:
        self.trace = crc32(f"{self._now:.9f} {what} {size}".encode(), self.trace)

    # Callbacks, with their process

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> asyncio.Handle:
        self._check_closed()
        handle = _SimHandle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> asyncio.TimerHandle:
        self._check_closed()
        timer = _SimTimer(when, callback, args, self, context)
        heapq.heappush(self._scheduled, timer)
        timer._scheduled = True
        return timer

    def create_task(self, coro: Any, *, name: str | None = None, context: Context | None = None) -> asyncio.Task[Any]:
        task = SimTask(self.on_task(coro), loop=self, name=name, context=context)
        process = HERE.get() if context is None else context.get(HERE)
        if process is not None:
            process.tasks[task] = None
            task.add_done_callback(lambda done: process.tasks.pop(done, None))
        return task

    def thaw(self, process: Process) -> None:
        process.is_frozen = False
        for handle in process.take_held():
            if not handle.cancelled():
                self._ready.append(handle)

    # Threads, which there are none of

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        self._check_closed()
        if executor is not None and executor._shutdown:
            raise RuntimeError("cannot schedule new futures after shutdown")
        future = self.create_future()
        self.call_later(self._rng.uniform(*EXECUTOR_SECONDS), self._run_here, future, func, args)
        return future

    def _run_here(self, future: asyncio.Future[Any], func: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """A call whose waiter has gone may be under way already, and goes on."""
        if future.cancelled() and self._rng.random() < 0.5:
            return
        try:
            found = func(*args)
        except Exception as error:
            if not future.cancelled():
                future.set_exception(error)
        else:
            if not future.cancelled():
                future.set_result(found)

    # The network

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **named: Any) -> Any:
        return await self.network.connect(protocol_factory, host, port)

    async def create_server(self, protocol_factory: Any, host: Any = None, port: Any = None, **named: Any) -> Any:
        return self.network.listen(protocol_factory, host, port)

    def _process_events(self, event_list: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass
