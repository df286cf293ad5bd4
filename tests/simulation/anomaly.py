"""One small life of a cluster, "fill, restart, serve", in which one thing goes wrong: the n-th call on its disks fails, or the task that
comes to its n-th await is cancelled. For every n, until it passes untouched: `python -m tests.simulation --anomalies` (running.py).
"""

from __future__ import annotations

import asyncio
import errno
import os
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minicdn.errors import CacheFolderUnusable
from minicdn.settings import KIB, MIB, Settings
from minicdn.testing.awaits import Awaits
from minicdn.testing.nodes import SimNode
from minicdn.testing.simloop import Process, Stuck
from minicdn.testing.world import World
from tests.simulation import checks
from tests.simulation.chaos import CLIENT
from tests.simulation.client import Answer, get
from tests.simulation.files import File
from tests.simulation.leftovers import left_behind, left_over
from tests.simulation.origin import ADDRESS, PORT, Origin

WRITING = ("open", "pwrite", "write", "fsync", "replace", "mkdir")
CALLS = {
    "ENOSPC": WRITING,
    "EIO": (*WRITING, "close", "utime", "unlink", "pread", "preadv", "scandir"),
    "EMFILE": ("open", "scandir"),
    "short": ("pwrite", "write"),
}
"""Which calls fail how; a short one takes a part of the bytes."""
TASKS = {
    "answers": ("Answering.run_asgi",),
    "fills": ("Dock._run", "Swarm._run", "Swarm._go", "Swarm._load_one", "Seed._run"),
    "background": ("Recorder._record", "Summer._run", "MarkKeeper._save", "Purger._sweep_all"),
    "clients": ("get",),
}
"""Whose awaits are counted: tasks, by the name of what they run."""
KINDS = (*CALLS, *TASKS)

SMALL_BYTES, STREAMED_BYTES_MAX = 64 * KIB, 512 * KIB
RECORDED_SECONDS = 7.0
"""What is not whole is recorded within this time."""
JOIN_SECONDS, ANSWER_SECONDS, QUIET_SECONDS, STEP_SECONDS = 60.0, 40.0, 45.0, 0.25
FILES = (
    File("/small", 20 * KIB, 600.0),
    File("/large", 300 * KIB, 600.0),
    File("/pieces", 1 * MIB + 5, 600.0),
    File("/part", 900 * KIB, 600.0),
    File("/chunked", 100 * KIB, 600.0, is_chunked=True),
    File("/passed", 80 * KIB, 600.0, is_stored=False),
)
SPANS = {"/part": (100_000, 350_000)}


class DiskAnomaly:
    """fail_at: which call, counted from 0 over those that can fail so; None: none."""

    def __init__(self, kind: str, fail_at: int | None) -> None:
        self.kind, self.fail_at = kind, fail_at
        self.is_armed = False
        self.count = 0
        self.hit = ""

    def __call__(self, name: str, path: str) -> int | None:
        if not self.is_armed or name not in CALLS[self.kind]:
            return None
        number, self.count = self.count, self.count + 1
        if number != self.fail_at:
            return None
        self.hit = f"{name} {path.rpartition('/cache')[2]}"
        if self.kind == "short":
            return 1
        code = getattr(errno, self.kind)
        raise OSError(code, os.strerror(code))


class Life:
    """wrong: what must not be. answers: all that clients got."""

    def __init__(self, kind: str, at: int | None, folder: Path) -> None:
        self.kind = kind
        self.wrong: list[str] = []
        self.answers: list[Answer] = []
        settings = Settings(
            upstream=f"http://{ADDRESS}:{PORT}", memory_bytes=4 * MIB, disk_bytes=64 * MIB, small_bytes=SMALL_BYTES, negative_seconds=2.0
        )
        self.world = World(1, folder, settings)
        self.origin = Origin(self.world, random.Random(1))
        self.clients = Process("clients", CLIENT)
        self.anomaly: DiskAnomaly | Awaits
        if kind in CALLS:
            self.anomaly = self.world.disk.on_call = DiskAnomaly(kind, at)
        else:
            self.anomaly = Awaits(TASKS[kind].__contains__, at)
            self.world.loop.on_task = self.anomaly.watch

    @property
    def hit(self) -> str:
        """What went wrong; empty: nothing did."""
        return self.anomaly.hit

    def run(self) -> None:
        try:
            self.world.run(self._tell())
        except (Stuck, TimeoutError, AssertionError) as error:
            self.wrong.append(f"{type(error).__name__}: {error}")
        self.wrong += [f"unforeseen: {text}" for text in self.world.mistakes.found if not self._is_expected(text)]

    def _is_expected(self, text: str) -> bool:
        """Who cancels a task that answers is told of it."""
        return self.kind == "answers" and text.startswith("CancelledError")

    async def _tell(self) -> None:
        await self._begin()
        self.anomaly.is_armed = True
        await self._ask_all()
        await asyncio.sleep(RECORDED_SECONDS)
        await self._restart()
        await self._ask_all()
        self.anomaly.is_armed = False
        await self._until(self._is_one, JOIN_SECONDS, "no one list everywhere")
        await self._ask_all(must_be_good=True)
        await self._nothing_is_left()

    async def _begin(self) -> None:
        for file in FILES:
            file.versions[:] = [(self.world.loop.time(), file.length)]
            self.origin.files[file.path] = file
        await self.origin.start()
        for _ in range(3):
            node = self.world.add_node()
            node.on_started = _prepare
            await node.start()
        await self._until(self._is_one, JOIN_SECONDS, "the cluster never came together")

    async def _restart(self) -> None:
        """One stops and starts, one is killed."""
        one, other = self.world.peers
        other.kill()
        await self._start(other, other.restart)
        await one.stop()
        await self._start(one, one.start)
        await self._until(self._is_one, JOIN_SECONDS, "no one list after a restart")

    async def _start(self, node: SimNode, start: Callable[[], Any]) -> None:
        """A folder that can't be used ends the program, with a reason; whoever runs it starts it again."""
        try:
            await start()
        except CacheFolderUnusable as error:
            if not self.hit:
                self.wrong.append(f"without any fault: {error}")
            assert node.process is not None
            self.world.network.end_process(node.process)
            await start()

    async def _ask_all(self, *, must_be_good: bool = False) -> None:
        """Each file from both peers at once; the part from one, and then the rest of it with the whole."""
        for file in FILES:
            span = SPANS.get(file.path) if not must_be_good else None
            asking = [self._spawn(get(node.url + file.path, span=span)) for node in self.world.peers]
            done, late = await asyncio.wait(asking, timeout=ANSWER_SECONDS)
            for task in late:
                self.wrong.append(f"no answer to {file.path} within {ANSWER_SECONDS:g} s")
                task.cancel()
            for task in done:
                if not task.cancelled():
                    self._check(task.result(), file, must_be_good=must_be_good or self._must_be_good)

    @property
    def _must_be_good(self) -> bool:
        """A disk that takes nothing costs a copy, never a download."""
        return not self.hit or (self.kind in ("ENOSPC", "short"))

    def _check(self, answer: Answer, file: File, *, must_be_good: bool) -> None:
        self.answers.append(answer)
        if answer.status == 500 and self.kind == "answers" and self.hit:
            return  # who was cancelled for nothing says so
        found = checks.bytes_of_one_version(answer, file)
        if found:
            self.wrong.append(f"{found}: {answer}")
        elif must_be_good and not answer.is_good:
            self.wrong.append(f"not good: {answer} ({answer.body[:100]!r})")

    def _spawn(self, work: Any) -> asyncio.Task[Any]:
        return self.world.loop.create_task(work, context=self.clients.context)

    def _is_one(self) -> bool:
        lists = {(node.role.node.peers.epoch, len(node.role.node.peers.members)) for node in self.world.nodes if node.role is not None}
        return len(lists) == 1 and next(iter(lists))[1] == 2

    async def _until(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        until = self.world.loop.time() + seconds
        while not condition():
            assert self.world.loop.time() < until, what
            await asyncio.sleep(STEP_SECONDS)

    async def _nothing_is_left(self) -> None:
        await asyncio.sleep(QUIET_SECONDS)
        is_unlisted = self.hit.startswith("scandir")  # what could not be listed at a start is found by the next one
        for node in self.world.nodes:
            self.wrong += [f"quiet, and left over at {found}" for found in left_over(node, may_have_strange_files=is_unlisted)]
        for node in reversed(self.world.nodes):
            await node.stop()
        await asyncio.sleep(1)
        for node in self.world.nodes:
            self.wrong += [f"stopped, and {found}" for found in left_behind(node, self.world)]


def _prepare(node: Any) -> None:
    node.role.node.swarms.streamed_bytes_max = STREAMED_BYTES_MAX


def live(kind: str, at: int | None, folder: str | None) -> Life:
    with tempfile.TemporaryDirectory(prefix="minicdn-sim-", dir=folder) as made:
        life = Life(kind, at, Path(made))
        life.run()
        return life
