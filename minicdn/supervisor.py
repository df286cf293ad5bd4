"""Keeps a program's workers running, and closes them as one."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from minicdn.closing import Closing, Stage
from minicdn.console import Console
from minicdn.errors import COLD_EXIT_CODE
from minicdn.workers import READY, WORKER_ENV, Place, command

YOUNG_SECONDS = 5.0
"""A worker that dies younger than this may do so again and again."""
PAUSE_SECONDS, PAUSE_SECONDS_MAX = 0.25, 5.0
COLD_SECONDS = 0.6
"""Less than closing.py gives the whole program."""

Sockets = tuple[socket.socket, socket.socket]


def supervise(
    sockets: Sequence[Sockets], closing: Closing, console: Console, announce: Callable[[], None], say: Callable[[str], None]
) -> int:
    """Until a signal ends it, or a worker that can't start. Returns the exit code."""
    with asyncio.Runner() as runner:
        return runner.run(Supervisor(sockets, closing, console, announce, say).run())


class Supervisor:
    """announce: called once, when all workers are ready. say: what the operator should know."""

    def __init__(
        self, sockets: Sequence[Sockets], closing: Closing, console: Console, announce: Callable[[], None], say: Callable[[str], None]
    ) -> None:
        self._sockets, self._closing, self._console = sockets, closing, console
        self._announce, self._say = announce, say
        self._running: dict[int, asyncio.subprocess.Process] = {}
        self._ready: set[int] = set()
        self._was_announced = False

    async def run(self) -> int:
        self._closing.attach(asyncio.get_running_loop())
        keeping = [asyncio.ensure_future(self._keep(index)) for index in range(len(self._sockets))]
        asked = asyncio.ensure_future(self._closing.wait_for(Stage.WARM))
        await asyncio.wait({asked, *keeping}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        failed = next((task.result() for task in keeping if task.done()), None)
        if self._closing.stage < Stage.COLD:
            await self._close_warm(keeping, is_failed=failed is not None)
        if self._closing.stage == Stage.COLD:
            await self._close_cold(keeping)
            return COLD_EXIT_CODE
        return failed or 0

    # One worker

    async def _keep(self, index: int) -> int:
        """Starts it again whenever it dies. Returns its exit code where it could not start at all, or while the program closes."""
        pause_seconds = PAUSE_SECONDS
        while True:
            began_at = time.monotonic()
            code = await self._run_once(index)
            if self._closing.stage > Stage.RUNNING or (index not in self._ready and code > 0):
                return code
            is_young = time.monotonic() - began_at < YOUNG_SECONDS
            self._say(f"worker {index} ended by itself ({_ending(code)}) and is started again")
            if is_young:
                await asyncio.sleep(pause_seconds)
            if self._closing.stage > Stage.RUNNING:
                return 0
            pause_seconds = min(2 * pause_seconds, PAUSE_SECONDS_MAX) if is_young else PAUSE_SECONDS

    async def _run_once(self, index: int) -> int:
        tie, theirs = socket.socketpair()
        with tie, theirs:
            place = Place(index, len(self._sockets), self._sockets[index], theirs)
            process = await asyncio.create_subprocess_exec(
                *command(),
                env={**os.environ, WORKER_ENV: place.to_text()},
                pass_fds=[each.fileno() for each in (*place.sockets, theirs)],
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
            theirs.close()
            self._running[index] = process
            if self._closing.stage > Stage.RUNNING:
                _tell(process, signal.SIGTERM)
            hearing = asyncio.ensure_future(self._hear(index, tie))
            try:
                return await process.wait()
            finally:
                hearing.cancel()
                self._running.pop(index, None)

    async def _hear(self, index: int, tie: socket.socket) -> None:
        tie.setblocking(False)
        said = b""
        with suppress(OSError):
            said = await asyncio.get_running_loop().sock_recv(tie, 1)
        if said == READY:
            self._ready.add(index)
            if len(self._ready) == len(self._sockets) and not self._was_announced:
                self._was_announced = True
                self._announce()

    # The end of all

    async def _close_warm(self, keeping: list[asyncio.Task[int]], *, is_failed: bool) -> None:
        """Each leaves the list, finishes its downloads and goes; its copies of the sockets are then the last."""
        if not is_failed:
            self._console.say(f"closing: {len(self._running)} workers finish running downloads; Ctrl-C again to stop now")
        self._closing.stage = max(self._closing.stage, Stage.WARM)  # where a worker that can't start ends the others
        for pair in self._sockets:
            for each in pair:
                each.close()
        for process in list(self._running.values()):
            _tell(process, signal.SIGTERM)
        cold = asyncio.ensure_future(self._closing.wait_for(Stage.COLD))
        done = asyncio.gather(*keeping)
        await asyncio.wait({cold, done}, return_when=asyncio.FIRST_COMPLETED)
        cold.cancel()
        if done.done() and not is_failed:
            self._console.say("closed: every worker has ended")

    async def _close_cold(self, keeping: list[asyncio.Task[int]]) -> None:
        self._console.say("stopping now")
        for process in list(self._running.values()):
            _tell(process, signal.SIGQUIT)
        await asyncio.wait(keeping, timeout=COLD_SECONDS)
        for process in list(self._running.values()):
            _tell(process, signal.SIGKILL)


def _tell(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(number)


def _ending(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
