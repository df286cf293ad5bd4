"""A manager made of a script, and a clock that a test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from minicdn.core.roster import Member, PeerList
from minicdn.node.clock import Clock
from minicdn.wire.messages import Join, JoinAnswer, Renew, RenewAnswer, SharedSettings

SHARED = SharedSettings("v1", "https://files.example.com", 4 << 20, 60.0, 10.0, True, True, True, 0.02, 0.06)


class FakeClock(Clock):
    """Stands still unless moved."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.wall_now = 1436945573.0

    def wall(self) -> float:
        return self.wall_now

    def monotonic(self) -> float:
        return self.now


class FakeNode:
    """What membership needs of a node."""

    def __init__(self, id: str, clock: Clock | None = None) -> None:
        self.id = id
        self.clock = clock or Clock()
        self.peers = PeerList()
        self.lists: list[PeerList] = []

    def set_peers(self, peers: PeerList) -> None:
        self.peers = peers
        self.lists.append(peers)


def members(*ids: str) -> tuple[Member, ...]:
    return tuple(Member(id, f"http://10.0.0.5:1/{id}") for id in sorted(ids))


def joined(epoch: str, *ids: str, settles_seconds: float = 0.0, shared: SharedSettings = SHARED) -> JoinAnswer:
    return JoinAnswer("joined", "", "http://10.0.0.5:11001", PeerList(epoch, members(*ids)), shared, settles_seconds)


def news(epoch: str, *ids: str, **more: Any) -> RenewAnswer:
    return replace(RenewAnswer("ok", peers=PeerList(epoch, members(*ids))), **more)


class ScriptedManager:
    """Answers each call with the next step of its script, an answer or an error; at the end `is_over` is set and it holds for ever."""

    url = "http://manager:11000"

    def __init__(self, *script: Any) -> None:
        self.script = list(script)
        self.calls: list[Any] = []
        self.is_over = asyncio.Event()
        self.left: list[str] = []
        self.leave_error: Exception | None = None

    async def join(self, join: Join) -> JoinAnswer:
        return await self._next(join)

    async def renew(self, renew: Renew) -> RenewAnswer:
        return await self._next(renew)

    async def leave(self, id: str) -> None:
        self.left.append(id)
        if self.leave_error is not None:
            raise self.leave_error

    async def _next(self, call: Any) -> Any:
        self.calls.append(call)
        if not self.script:
            self.is_over.set()
            await asyncio.Event().wait()
        step = self.script.pop(0)
        if isinstance(step, Callable):
            step = step()
        if isinstance(step, Exception):
            raise step
        return step
