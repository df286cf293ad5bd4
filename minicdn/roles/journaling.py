"""Purges at the manager: it gives each its place in the journal, carries it out on its own node, and tells all listed peers.

The journal outlasts the manager, in its cache folder. A peer that was not told learns of it by its renewal, which is answered early
for that; one that comes back after a restart says its mark when it joins.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable

from minicdn.core.journal import Journal, Mark
from minicdn.core.purging import Purge
from minicdn.core.roster import Member, Roster
from minicdn.node.node import Node
from minicdn.roles.spreading import FanOut
from minicdn.store.statefile import StateFile
from minicdn.wire.purges import Missed, PurgeAnswer, PurgeCall

WAKE_SECONDS = 0.3
"""Who has not answered by then learns of it by its renewal."""
SAVE_SECONDS = 2.0
SWEEP_SECONDS = 5.0


class ManagerPurges:
    """wake: has held renewals look again."""

    def __init__(self, node: Node, roster: Roster, file: StateFile, fan_out: FanOut, wake: Callable[[], None]) -> None:
        self._node = node
        self._roster = roster
        self._file = file
        self._fan_out = fan_out
        self._wake = wake
        self._journal = Journal(secrets.token_hex(8))
        self._told: dict[str, Mark] = {}
        self._is_saved = True
        self._saving = asyncio.Lock()

    async def open(self) -> None:
        """Go on with the journal, and tell our own node what it missed. The cache folder must be ours by now."""
        try:
            self._journal = Journal.from_wire(await self._file.load())
        except ValueError:  # none, or none of ours: marks of another journal are unknown in this one, which is the cautious reading
            pass
        missed = self.missed(self._node.purger.mark)
        if missed is not None:
            self._node.purger.catch_up(missed.entries, missed.mark)
        await self._save()

    async def purge(self, purge: Purge) -> PurgeAnswer:
        """Everywhere, this node included."""
        return await self.handle(PurgeCall(self._node.id, secrets.token_hex(8), purge))

    async def handle(self, call: PurgeCall) -> PurgeAnswer:
        """Everywhere but at the peer that says so. A purge that is in the journal already has been told."""
        if self._journal.find(call.token) is not None:
            return PurgeAnswer(0, 0)
        before = self._journal.mark
        self._journal.add(call.token, call.purge)
        mark = self._journal.mark
        sweep = self._node.purger.begin(call.purge, call.token)
        self._node.purger.follow(before, mark)
        told = await self._tell(PurgeCall(self._node.id, call.token, call.purge, before, mark), call.id)
        return PurgeAnswer(await sweep.wait(SWEEP_SECONDS) + told.purged, 1 + told.nodes, told.unreachable, before, mark)

    async def _tell(self, call: PurgeCall, sender: str) -> PurgeAnswer:
        members = {member.url: member for member in self._roster.peer_list().members if member.id != sender}

        def told(url: str, answer: PurgeAnswer) -> None:
            self._note_told(members[url], answer.mark)

        async with asyncio.TaskGroup() as group:
            telling = group.create_task(self._fan_out.tell(members, call, told))
            group.create_task(self._save())
            group.create_task(self._wake_after(telling))
        return telling.result()

    async def _wake_after(self, telling: asyncio.Task[PurgeAnswer]) -> None:
        await asyncio.wait({telling}, timeout=WAKE_SECONDS)
        self._wake()

    # What peers have missed

    def missed(self, mark: Mark | None) -> Missed | None:
        """What came since the mark; None where that is nothing."""
        entries = self._journal.since(mark)
        if mark == self._journal.mark:
            return None
        return Missed(None if entries is None else tuple(entries), self._journal.mark)

    def has_news(self, id: str, mark: Mark | None) -> bool:
        """Whether a peer, who held that mark when it asked, is yet to be told of something. Who speaks of no mark wants none."""
        told = self._told.get(id)
        if told is not None and mark is not None and told.id == mark.id and told.number > mark.number:
            mark = told
        return mark is not None and mark != self._journal.mark

    def heard_from(self, member: Member) -> None:
        self._fan_out.heard_from(member.url)

    def forget_the_gone(self) -> None:
        """Who has no seat any more says its mark when it joins again."""
        for id in [id for id in self._told if self._roster.find(id) is None]:
            del self._told[id]

    def _note_told(self, member: Member, mark: Mark | None) -> None:
        if mark is not None:
            self._told[member.id] = mark

    async def _save(self) -> None:
        """What is not saved for now is saved with the next; a disk that hangs holds nobody for long."""
        self._is_saved = False
        try:
            async with asyncio.timeout(SAVE_SECONDS), self._saving:
                if not self._is_saved:
                    self._is_saved = True
                    await self._file.save(self._journal.to_wire())
        except (OSError, TimeoutError):
            self._node.counters.add("disk_errors_count")

    async def close(self) -> None:
        await self._fan_out.close()
