"""A peer: a node that follows the list of its manager, and learns upstream and settings from it.

It is ready once it has joined for the first time, and then for as long as it runs: without the manager it serves on. A warm
close leaves the list first and keeps the node, for the downloads that are under way; the log's last lines are shipped last.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Set
from dataclasses import replace
from typing import Any

from minicdn.node.loglines import LogShipper
from minicdn.node.membership import Membership
from minicdn.roles.handing import PeerPurges
from minicdn.roles.leasing import PeerLeases
from minicdn.roles.role import Role
from minicdn.roles.spreading import FanOut, Invalidations, Replacements
from minicdn.settings import Settings
from minicdn.wire.manager import LEAVE_SECONDS, ManagerClient, ManagerRefused, ManagerUnreachable
from minicdn.wire.messages import Accusation, SharedSettings
from minicdn.wire.purgeclient import PurgeClient

FLUSH_SECONDS = 2.5
"""Within the time that a close allows for stopping."""


class Peer(Role):
    """`manager` is for tests."""

    name = "peer"

    def __init__(self, settings: Settings, *, manager: ManagerClient | None = None, **role: Any) -> None:
        super().__init__(settings, **role)
        assert settings.manager is not None or manager is not None
        self._manager = manager or ManagerClient(settings.manager or "", settings, signer=self.node.signer)
        self._shared: SharedSettings | None = None
        self._shipper = LogShipper(
            self._manager.send_log, self.node.id, lines_max=settings.log_lines_buffered_max, counters=self.node.counters, rng=self.rng
        )
        self.node.on_log = self._shipper.emit
        fan_out = FanOut(PurgeClient(signer=self.node.signer, pin_of=self.node.pin_of), self.clock.monotonic)
        self.purges = PeerPurges(self.node, self._manager, fan_out, self._hold)
        self.node.on_invalidated = Invalidations(self.node.purger, self.purges.purge, self._hold)
        self.node.on_replaced = Replacements(self.purges.tell_others, self._hold)
        self.node.origins = self._origins
        self.node.leases = PeerLeases(self.node, self._manager, self.rng, self._hold)
        self.node.on_lie = lambda url, key, index: self._hold(self._accuse(Accusation(self.node.id, url, key, index)))
        self.membership: Membership | None = None
        self._following: asyncio.Task[None] | None = None

    # Life

    async def start(self) -> None:
        """OperatorError where the cache folder won't do."""
        await self.node.start()
        # What lies on the disk may have been purged while we were away; the manager's answer to the join says.
        self.node.purger.is_unsure = self.node.purger.has_entries
        self.is_started = True

    def listening(self, port: int) -> None:
        """Only now: the manager's probe must find us."""
        self.membership = Membership(
            self.node,
            self._manager,
            self.settings,
            port=port,
            learn=self._learn,
            purges=self.purges,
            uplink=self.node.uplink_rate,
            say=self.say,
            rng=self.rng,
        )
        self._following = self._keep_running("following the manager", self.membership.run)
        self._keep_running("shipping the log", self._shipper.run)

    async def begin_drain(self) -> None:
        """Off the list, at once; a manager that is away is not waited for longer than LEAVE_SECONDS."""
        if self.is_draining:
            return
        self.is_draining = True
        if self._following is None or self.membership is None:
            return
        self._following.cancel()
        await asyncio.wait({self._following}, timeout=LEAVE_SECONDS)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_SECONDS):
                await self.membership.leave()

    async def stop(self) -> None:
        """Ends the node at once; the goodbye (after a cold close) and the last lines go out meanwhile, within their deadline."""
        await asyncio.gather(self.node.stop(), self._say_last_words())
        await self.purges.close()
        await self._manager.close()

    async def _say_last_words(self) -> None:
        await self.begin_drain()
        await self._end_tasks()
        lost_count = await self._shipper.flush(FLUSH_SECONDS)
        if lost_count:
            self.say(f"log lines that the manager did not take: {lost_count}")

    # What the manager says

    def _learn(self, shared: SharedSettings, url: str) -> None:
        self._shared = shared
        self.settings = replace(
            self.settings,
            upstream=shared.upstream,
            small_bytes=shared.small_bytes,
            grace_seconds=shared.grace_seconds,
            negative_seconds=shared.negative_seconds,
            heuristic=shared.heuristic,
            obey_request_directives=shared.obey_request_directives,
            follows_redirects=shared.follows_redirects,
            ignored_query=shared.ignored_query,
            default_ttls=shared.default_ttls,
            upstream_bytes_per_second=shared.upstream_bytes_per_second,
        )
        self.node.adopt(self.settings)
        self._shipper.configure(url, shared.log)

    def _origins(self) -> Set[str]:
        """Every URL by which a client may have been sent to this site."""
        return {self.url() or "", self._manager.url, *(member.url for member in self.node.peers.members)}

    async def _accuse(self, accusation: Accusation) -> None:
        with contextlib.suppress(ManagerUnreachable, ManagerRefused):
            await self._manager.accuse(accusation)

    # What can be seen

    @property
    def is_ready(self) -> bool:
        return super().is_ready and self.membership is not None and self.membership.has_joined

    def url(self) -> str | None:
        return (self.membership.url if self.membership is not None else None) or self.settings.advertise

    def health(self) -> dict[str, Any]:
        return {**super().health(), "manager": self._manager.url}

    def stats(self) -> dict[str, Any]:
        return {**super().stats(), "log_lines_waiting_count": self._shipper.lines_count}
