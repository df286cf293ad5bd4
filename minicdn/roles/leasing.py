"""Leases of the upstream (core/leases.py): held by the manager, asked for by its own node and by every peer.

A peer whose manager is away may not wait for it, and may not stop either: it goes on after a moment that chance chooses, so that one peer
asks the upstream first, and the others may find what it got.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

from minicdn.core.leases import Leases, Verdict
from minicdn.node.node import Node
from minicdn.wire.manager import ManagerClient, ManagerRefused, ManagerUnreachable
from minicdn.wire.messages import LeaseCall

ALONE_SECONDS_MAX = 1.0


class ManagerLeases:
    """What `node.leases` is at the manager."""

    def __init__(self, node: Node, leases: Leases) -> None:
        self._node = node
        self._leases = leases

    async def take(self, key: str) -> bool:
        return self.take_for(key, self._node.id).is_granted

    async def ask(self, key: str) -> tuple[bool, tuple[str, ...]]:
        """A manager is no member of its own list, and has nobody to turn to."""
        return await self.take(key), ()

    def release(self, key: str) -> None:
        self._leases.release(key, self._node.id)

    def take_for(self, key: str, holder: str, *, is_kept: bool = True) -> Verdict:
        """is_kept: as Leases.take has it."""
        verdict = self._leases.take(key, holder, self._node.clock.monotonic(), is_kept=is_kept)
        self._node.counters.add("leases_granted_count" if verdict.is_granted else "leases_refused_count")
        return verdict

    def release_for(self, key: str, holder: str) -> None:
        self._leases.release(key, holder)

    def forget(self, holder: str) -> None:
        """A node that is gone asks for nothing any more."""
        self._leases.release_all(holder)

    def __len__(self) -> int:
        return len(self._leases)


class PeerLeases:
    """What `node.leases` is at a peer. hold: keeps a task of the role's."""

    def __init__(self, node: Node, manager: ManagerClient, rng: random.Random, hold: Callable[[Any], asyncio.Task[Any]]) -> None:
        self._node = node
        self._manager = manager
        self._rng = rng
        self._hold = hold

    async def take(self, key: str) -> bool:
        return (await self.ask(key))[0]

    async def ask(self, key: str) -> tuple[bool, tuple[str, ...]]:
        """And who holds one. Who gives up waiting gives back what it is granted all the same."""
        asking: asyncio.Task[tuple[bool, tuple[str, ...]]] = self._hold(self._ask(key))
        try:
            await asyncio.wait([asking])
        except asyncio.CancelledError:
            asking.add_done_callback(lambda asked: self._give_up(asked, key))
            raise
        return (True, ()) if asking.cancelled() else asking.result()  # cancelled: the node is at its end

    def _give_up(self, asked: asyncio.Task[tuple[bool, tuple[str, ...]]], key: str) -> None:
        if not asked.cancelled() and asked.exception() is None and asked.result()[0]:
            self.release(key)

    async def _ask(self, key: str) -> tuple[bool, tuple[str, ...]]:
        try:
            answer = await self._manager.lease(LeaseCall(self._node.id, key))
        except (ManagerUnreachable, ManagerRefused):
            await asyncio.sleep(self._rng.random() * ALONE_SECONDS_MAX)
            return True, ()
        return answer.is_granted, answer.holders

    def release(self, key: str) -> None:
        self._hold(self._give_back(key))

    async def _give_back(self, key: str) -> None:
        try:
            await self._manager.lease(LeaseCall(self._node.id, key, is_over=True))
        except (ManagerUnreachable, ManagerRefused):  # it ends by itself
            pass
