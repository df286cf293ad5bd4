"""What a manager and a peer have in common: a node, a life, and what can be seen of it from outside.

A life is start → listening → begin_drain → stop; each step but the first may be left out, when a signal comes early.
Roles do not know HTTP: the doors (web/) ask them, and they answer in values.
"""

from __future__ import annotations

import asyncio
import random
import re
import secrets
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from minicdn import __version__
from minicdn.core.metrics import Metric, gauge, metrics_of
from minicdn.core.roster import Member
from minicdn.node.clock import Clock
from minicdn.node.node import Node
from minicdn.settings import Settings

AGAIN_SECONDS = 1.0
"""A background task that failed in an unforeseen way rests this long."""


class Role:
    """`connections_count`, where the server sets it, tells how many connections are open."""

    name = ""
    connections_count: Callable[[], int] | None = None

    def __init__(
        self,
        settings: Settings,
        *,
        say: Callable[[str], None] | None = None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        node_id: str | None = None,
    ) -> None:
        self.settings = settings
        self.say = say or say_to_stderr
        self.clock = clock or Clock()
        self.rng = rng or random.Random()  # jitter and load balancing: nothing that must not be guessed
        self.node = Node(
            settings,
            node_id=node_id or secrets.token_hex(8),
            upstream=settings.upstream,
            clock=self.clock,
            rng=self.rng,
            say=self.say,
        )
        self.is_started = False
        self.is_draining = False
        self._started_at = self.clock.monotonic()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_ready(self) -> bool:
        return self.is_started and not self.is_draining

    def url(self) -> str | None:
        """Under which this node is known; None until that is known."""
        raise NotImplementedError

    def health(self) -> dict[str, Any]:
        """What `/_health` shows; the status is 200 when `ready`, else 503."""
        return {
            "role": self.name,
            "id": self.node.id,
            "ready": self.is_ready,
            "state": "draining" if self.is_draining else "ready" if self.is_ready else "starting",
            "version": __version__,
            "has_token": self.settings.token is not None,
            "url": self.url(),
            "upstream": without_password(self.upstream()),
            "epoch": self.node.peers.epoch,
            "peers_count": len(self.node.peers.members),
            "uptime_seconds": round(self.uptime_seconds(), 3),
            "clock_at": round(self.clock.wall(), 3),
        }

    def stats(self) -> dict[str, Any]:
        """What `/_stats` shows: the counters of core/counters.py, and what is in use now."""
        found: dict[str, Any] = dict(self.node.stats())
        found["uptime_seconds"] = round(self.uptime_seconds(), 3)
        found["peers_count"] = len(self.node.peers.members)
        if self.connections_count is not None:
            found["connections_count"] = self.connections_count()
        return found

    def metrics(self) -> list[Metric]:
        """What `/_metrics` shows: all of `/_stats`, and what those who watch many nodes want to know besides."""
        return [
            gauge("minicdn_build_info", 1, (("version", __version__), ("role", self.name))),
            gauge("minicdn_ready", int(self.is_ready)),
            *metrics_of(self.stats()),
            gauge("minicdn_memory_budget_bytes", self.settings.memory_bytes),
            gauge("minicdn_disk_budget_bytes", self.settings.disk_bytes),
        ]

    def peers(self) -> dict[str, Any]:
        """What `/_peers` shows: the list that this node follows."""
        members = [shown(member) for member in self.node.peers.members]
        return {"epoch": self.node.peers.epoch, "peers": members}

    def upstream(self) -> str | None:
        return self.settings.upstream

    def uptime_seconds(self) -> float:
        return self.clock.monotonic() - self._started_at

    # Background tasks: held, so that none is lost, and ended with the role

    def _keep_running(self, what: str, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        return self._hold(self._run_again(what, work))

    def _hold(self, work: Any) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _run_again(self, what: str, work: Callable[[], Awaitable[None]]) -> None:
        """What fails in a way that nobody foresaw is said, and goes on: a node without membership would be a ghost."""
        while True:
            try:
                return await work()
            except Exception as error:
                self.say(f"{what} failed unexpectedly and goes on ({type(error).__name__}: {error})")
                await asyncio.sleep(AGAIN_SECONDS)

    async def _end_tasks(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def shown(member: Member) -> dict[str, Any]:
    """As `/_peers` has it; a fingerprint where there is one."""
    found = asdict(member)
    return found if member.fingerprint else {name: value for name, value in found.items() if name != "fingerprint"}


def say_to_stderr(text: str) -> None:
    try:
        print(f"minicdn: {text}", file=sys.stderr, flush=True)
    except (OSError, ValueError):  # a closed terminal is no reason to stop serving
        pass


def without_password(url: str | None) -> str | None:
    """The URL with what is before an @ left out: `/_health` is for everybody."""
    return None if url is None else re.sub(r"//[^/@]*@", "//", url)
