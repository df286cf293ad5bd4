"""Purges at a peer: carried out here, then handed to the manager, which tells the others.

A manager that says nothing for HEDGE_SECONDS may be away, so the peer tells the others itself meanwhile (twice is the same as once). If
it is away indeed, the purge is kept, and handed in when it answers again: then it gets its place in the journal, for those who could not
be reached.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable
from typing import Any

from minicdn.core.journal import Mark
from minicdn.core.purging import Purge, merged
from minicdn.node.node import Node
from minicdn.roles.spreading import FanOut
from minicdn.wire.manager import ManagerClient, ManagerRefused, ManagerUnreachable
from minicdn.wire.purges import Missed, PurgeAnswer, PurgeCall

HEDGE_SECONDS = 0.3
KEPT_MAX = 1000
SWEEP_SECONDS = 1.0
"""How long an answer waits for the count; in force is a purge from its first moment."""


class PeerPurges:
    """hold: keeps a task of the role's."""

    def __init__(self, node: Node, manager: ManagerClient, fan_out: FanOut, hold: Callable[[Any], asyncio.Task[None]]) -> None:
        self._node = node
        self._manager = manager
        self._fan_out = fan_out
        self._hold = hold
        self._kept: deque[tuple[str, Purge]] = deque()
        self._handing: asyncio.Task[None] | None = None

    @property
    def kept_count(self) -> int:
        """Purges that the manager is yet to be told of."""
        return len(self._kept)

    async def purge(self, purge: Purge) -> PurgeAnswer:
        """Everywhere, this node included."""
        token = secrets.token_hex(8)
        sweep = self._node.purger.begin(purge, token)
        told = await self._spread(token, purge)
        return PurgeAnswer(await sweep.wait(SWEEP_SECONDS) + told.purged, 1 + told.nodes, told.unreachable)

    async def tell_others(self, purge: Purge) -> PurgeAnswer:
        """Everywhere else: what is here is newer than what it speaks of. Outside the journal, as nobody declared anything out of date: a
        copy that is missed lives as long as its own head says."""
        return await self._fan_out.tell(self._others(), PurgeCall(self._node.id, secrets.token_hex(8), purge))

    async def handle(self, call: PurgeCall) -> PurgeAnswer:
        """The manager, or while it is away another peer, says so: here only."""
        sweep = self._node.purger.begin(call.purge, call.token)
        if call.before is not None and call.mark is not None:
            self._node.purger.follow(call.before, call.mark)
        return PurgeAnswer(await sweep.wait(SWEEP_SECONDS), mark=self._node.purger.mark)

    async def _spread(self, token: str, purge: Purge) -> PurgeAnswer:
        """What all the others answered."""
        asking = asyncio.ensure_future(self._ask_manager(token, purge))
        try:
            await asyncio.wait({asking}, timeout=HEDGE_SECONDS)
            if asking.done() and (answer := asking.result()) is not None:
                return answer
            told = await self._fan_out.tell(self._others(), PurgeCall(self._node.id, token, purge))
            answer = await asking
        finally:
            asking.cancel()
        if answer is None:
            return PurgeAnswer(told.purged, told.nodes, (*told.unreachable, self._manager.url))
        return answer

    def _others(self) -> list[str]:
        return [member.url for member in self._node.peers.members if member.id != self._node.id]

    async def _ask_manager(self, token: str, purge: Purge) -> PurgeAnswer | None:
        """None where it is away: then the purge is kept for it."""
        try:
            answer = await self._manager.purge(PurgeCall(self._node.id, token, purge))
        except (ManagerUnreachable, ManagerRefused):
            self._keep(token, purge)
            return None
        if answer.before is not None and answer.mark is not None:
            self._node.purger.follow(answer.before, answer.mark)
        return answer

    def _keep(self, token: str, purge: Purge) -> None:
        self._kept.append((token, purge))
        if len(self._kept) > KEPT_MAX:
            everything = merged(purge for _, purge in self._kept)
            self._kept.clear()
            self._kept.append((secrets.token_hex(8), everything))

    # What membership asks (node/membership.py)

    @property
    def mark(self) -> Mark | None:
        return self._node.purger.mark

    def catch_up(self, missed: Missed | None) -> None:
        """None: nothing was missed, says the manager."""
        self._node.purger.is_unsure = False
        if missed is not None:
            self._node.purger.catch_up(missed.entries, missed.mark)

    def manager_answers(self) -> None:
        """Hand in what was kept, one after the other."""
        if self._kept and (self._handing is None or self._handing.done()):
            self._handing = self._hold(self._hand_in())

    async def _hand_in(self) -> None:
        for _ in range(len(self._kept)):
            token, purge = self._kept.popleft()
            if await self._ask_manager(token, purge) is None:
                return

    async def close(self) -> None:
        await self._fan_out.close()
