"""A cluster in one process, from one seed: nodes, the network between them, their disks, and chance itself.

While a world runs, `secrets` gives what the seed gives (ids, epochs, names of files), so that two runs of a seed are the same to the byte.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import secrets
import traceback
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from minicdn.settings import Settings
from minicdn.testing.disk import SimDisk
from minicdn.testing.network import Network
from minicdn.testing.nodes import PORT, SimClock, SimNode
from minicdn.testing.simloop import SimLoop

T = TypeVar("T")
WALL_AT = 1_700_000_000.0
MANAGER = "10.0.0.1"
BURIALS_MAX = 3
"""What ends may begin something else once more."""


class Mistakes(logging.Handler):
    """What the nodes' program did not foresee: exceptions that nobody handled."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []
        self.is_over = False

    def emit(self, record: logging.LogRecord) -> None:
        if self.is_over:
            return
        text = record.getMessage()
        if record.exc_info:
            text = told(record.exc_info[1], text)
        self.found.append(text)


def told(error: BaseException | None, text: str) -> str:
    """The error first, then where it was raised, the innermost call first."""
    frames = traceback.extract_tb(error.__traceback__ if error is not None else None)
    where = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in reversed(frames)]
    cause = f" (from {error.__cause__!r})" if error is not None and error.__cause__ is not None else ""
    return f"{type(error).__name__}: {error}{cause}; {text}; at {' < '.join(where)}"


class World:
    """settings: of every node; role, address and folder are filled in."""

    def __init__(self, seed: int, folder: Path, settings: Settings, **network: Any) -> None:
        self.seed = seed
        self.rng = random.Random(f"world {seed}")
        self.loop = SimLoop(random.Random(f"loop {seed}"))
        self.network = Network(self.loop, random.Random(f"network {seed}"), **network)
        self.disk = SimDisk(folder, random.Random(f"disk {seed}"))
        self.clock = SimClock(self.loop, WALL_AT)
        self.nodes: list[SimNode] = []
        self.mistakes = Mistakes()
        self._settings = settings

    @property
    def manager(self) -> SimNode:
        return self.nodes[0]

    @property
    def peers(self) -> list[SimNode]:
        return self.nodes[1:]

    def add_node(self, *, skew_seconds: float = 0.0) -> SimNode:
        """The first is the manager."""
        number = len(self.nodes)
        address = f"10.0.0.{number + 1}"
        role = "peer" if number else "manager"
        name = f"peer{number}" if number else "manager"
        settings = replace(
            self._settings,
            role=role,
            host=address,
            port=PORT,
            upstream=None if number else self._settings.upstream,
            manager=f"http://{MANAGER}:{PORT}" if number else None,
            cache_dir=self.disk.folder_for(name),
        )
        clock = SimClock(self.loop, WALL_AT, skew_seconds)
        seed = self.rng.getrandbits(32)
        node = SimNode(name, address, settings, loop=self.loop, network=self.network, disk=self.disk, clock=clock, seed=seed)
        self.nodes.append(node)
        return node

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """In virtual time, to its end."""
        with self._in_place():
            try:
                return self.loop.run_until_complete(work)
            finally:
                self._bury()

    @contextmanager
    def _in_place(self) -> Iterator[None]:
        self.loop.set_exception_handler(self._unhandled)
        logger = logging.getLogger("uvicorn.error")
        real, secrets._sysrand = secrets._sysrand, random.Random(f"secrets {self.seed}")  # type: ignore[attr-defined]
        logger.addHandler(self.mistakes)
        was_told, logger.propagate = logger.propagate, False
        collects = gc.isenabled()
        gc.disable()  # when a cycle is collected must not depend on anything else
        self.disk.install()
        try:
            yield
        finally:
            self.disk.uninstall()
            logger.removeHandler(self.mistakes)
            logger.propagate = was_told
            secrets._sysrand = real  # type: ignore[attr-defined]
            if collects:
                gc.enable()

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        text = context["message"]
        error = context.get("exception")
        if error is not None:
            text = told(error, text)
        self.mistakes.found.append(text)

    def _bury(self) -> None:
        """The tasks of killed processes, and what else is left, end with the world: nobody hears of it."""
        self.loop.set_exception_handler(lambda loop, context: None)
        self.mistakes.is_over = True
        for node in self.nodes:
            for process in node.dead:
                process.is_dead = False
        for _ in range(BURIALS_MAX):
            tasks = asyncio.all_tasks(self.loop)
            for task in tasks:
                task.cancel()
            if tasks:
                self.loop.run_until_complete(asyncio.wait(tasks, timeout=60))
        for task in asyncio.all_tasks(self.loop):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        self.loop.close()
