"""The manager: keeps the list of peers, hands them out, keeps the log; and a node of its own, for when there are no peers.

Its node follows the same list as the peers' nodes but is never in it, so it owns nothing while peers exist, and everything
while none do.

Time passes in one task: each tick ends leases that have run out, and looks at peers not looked at for a while. A tick that
comes much too late means that the manager itself was away, and then nobody's silence counts.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import secrets
from collections.abc import Set
from dataclasses import dataclass, replace
from typing import Any

from minicdn.core.accusing import SHUN_SECONDS, Accusations, Ruling
from minicdn.core.leases import Leases
from minicdn.core.metrics import Metric, metrics_of_peers
from minicdn.core.nodeurl import url_from_address
from minicdn.core.roster import JoinVerdict, Member, Roster
from minicdn.core.targets import targets
from minicdn.node.node import state_file
from minicdn.roles.clusterlog import ClusterLog
from minicdn.roles.journaling import ManagerPurges
from minicdn.roles.leasing import ManagerLeases
from minicdn.roles.preheating import ANSWER_SECONDS, HOLD_SECONDS, Preheats
from minicdn.roles.role import Role, shown
from minicdn.roles.spreading import FanOut, Invalidations
from minicdn.settings import Settings
from minicdn.wire.address import own_url
from minicdn.wire.calling import Caller
from minicdn.wire.messages import Accusation, Join, JoinAnswer, LeaseAnswer, LeaseCall, LogBatch, Renew, RenewAnswer, SharedSettings
from minicdn.wire.prober import Prober
from minicdn.wire.purgeclient import PurgeClient

TICK_SECONDS_MAX = 1.0
PROBES_PER_TICK = 32
NO_TLS = "this manager speaks TLS, and so must its peers: start this one with --tls-cert and --tls-key (minicdn cert makes both)"


@dataclass(slots=True)
class _About:
    """What the manager remembers of a peer besides its seat. address: where it joined from, unless it advertises a URL."""

    address: str | None
    reason: str = ""
    """Why the last probe failed."""


class Manager(Role):
    """`log` is None where no log is kept."""

    name = "manager"

    def __init__(self, settings: Settings, *, prober: Prober | None = None, **role: Any) -> None:
        """`role`: what every role takes (role.py)."""
        super().__init__(settings, **role)
        self.roster = Roster(secrets.token_hex(4), window_seconds=settings.window_seconds, peers_max=settings.peers_max)
        self.log: ClusterLog | None = None
        self._prober = prober or Prober(settings.probe_seconds)
        self._shared = _shared(settings)
        self._changed = asyncio.Event()
        self._last_epoch = self.roster.epoch
        self._about: dict[str, _About] = {}
        fan_out = FanOut(PurgeClient(signer=self.node.signer, pin_of=self.node.pin_of), self.clock.monotonic)
        self.purges = ManagerPurges(self.node, self.roster, state_file(settings, "journal"), fan_out, self._wake_holders)
        self.node.on_invalidated = Invalidations(self.node.purger, self.purges.purge, self._hold)
        self.node.origins = self._origins
        self.leases = ManagerLeases(self.node, Leases(settings.upstream_leases_max, settings.lease_seconds))
        self.node.leases = self.leases
        self._url: str | None = None
        caller = Caller(read_seconds=HOLD_SECONDS + ANSWER_SECONDS, signer=self.node.signer, pin_of=self.node.pin_of)
        self.preheats = Preheats(self.node, self.roster, caller, self._hold, self.url)
        self._accusations = Accusations()
        self.node.on_lie = lambda url, key, index: self._accuse(self._url or "", url, key, index)

    # Life

    async def start(self) -> None:
        """OperatorError where the log, the cache folder or the upstream's URL won't do."""
        if self.settings.log is not None:
            self.log = ClusterLog(self.settings, self.node.counters, wall=self.clock.wall, say=self.say)
            self.node.on_log = self.log.put_own
        try:
            await self.node.start()
            await self.purges.open()
        except BaseException:
            await self._close_log()
            raise
        self._publish()
        self._keep_running("keeping the list", self._tick_forever)
        self.is_started = True

    def listening(self, port: int) -> None:
        self._url = own_url(self.settings.host, port, self.settings.advertise, has_tls=self.settings.tls_cert is not None)
        if self.log is not None:
            self.log.set_url(self._url)

    async def begin_drain(self) -> None:
        """No more joins; who is held is answered, and who follows the log has seen its end."""
        self.is_draining = True
        self._wake_holders()
        self.preheats.end_all()
        if self.log is not None:
            self.log.file.end_follows()

    async def stop(self) -> None:
        await self.begin_drain()
        await self._end_tasks()
        await self.node.stop()
        await self._prober.close()
        await self.purges.close()
        await self.preheats.close()
        await self._close_log()

    # What clients and peers ask

    def choose_peer(self, rng: random.Random) -> Member | None:
        """Where to send a client: any listed peer, each as likely; None when there is none. Constant time."""
        return self.roster.choose(rng)

    async def handle_join(self, join: Join, address: str | None) -> JoinAnswer:
        """Lists the peer once it has answered at its URL. `address` is where the request came from."""
        if self.is_draining:
            return JoinAnswer("closing", "the manager is closing")
        try:
            url = join.advertise or url_from_address(address or "", join.port, "https" if join.fingerprint else "http")
        except ValueError as error:
            return JoinAnswer("unreachable", str(error))
        if self.settings.tls_cert is not None and not url.startswith("https:"):
            return JoinAnswer("refused", NO_TLS, url)
        if not self.roster.may_join(join.id, url):
            return JoinAnswer("full", f"the list is full ({self.settings.peers_max} peers)", url)
        if (reason := await self._prober.probe(url, join.id, join.fingerprint or None)) is not None:
            return JoinAnswer("unreachable", reason, url)
        member = Member(join.id, url, 1.0 if join.may_ask_upstream else 0.0, fingerprint=join.fingerprint)
        answer = self._seat(member, None if join.advertise else address, join.uplink)
        return replace(answer, missed=self.purges.missed(join.mark)) if answer.status == "joined" else answer

    async def handle_renew(self, renew: Renew, address: str | None) -> RenewAnswer:
        """Held while the peer's list and settings are the current ones, for as long as the peer allows."""
        if not self._is_where_it_was(renew.id, address) or not self.roster.renew(renew.id, self.clock.monotonic(), renew.uplink):
            return RenewAnswer("unknown")
        await self._hold_while_unchanged(renew)
        member = self.roster.find(renew.id)
        if member is None:
            return RenewAnswer("unknown")
        self.purges.heard_from(member)
        return RenewAnswer(
            status="closing" if self.is_draining else "ok",
            is_listed=self.roster.is_listed(renew.id),
            is_shunned=self.roster.is_shunned(member.url),
            reason=self._reason(renew.id),
            peers=None if renew.epoch == self.roster.epoch else self.roster.peer_list(),
            settings=None if renew.settings_version == self._shared.version else self._shared,
            missed=self.purges.missed(renew.mark) if self.purges.has_news(renew.id, renew.mark) else None,
        )

    async def handle_leave(self, id: str) -> None:
        self.leases.forget(id)
        if self.roster.leave(id, self.clock.monotonic()):
            self._publish()

    async def handle_lease(self, call: LeaseCall) -> LeaseAnswer:
        """At once: who is refused is not held, as it has others to ask. Who has left may finish what it began, but what it is granted
        is not kept: nothing would end it but time."""
        if call.is_over:
            self.leases.release_for(call.key, call.id)
            return LeaseAnswer(False)
        verdict = self.leases.take_for(call.key, call.id, is_kept=self.roster.find(call.id) is not None)
        members = [self.roster.find(holder) for holder in verdict.holders if holder != call.id]
        return LeaseAnswer(verdict.is_granted, tuple(member.url for member in members if member is not None), verdict.seconds)

    async def handle_accuse(self, accusation: Accusation, address: str | None) -> None:
        """The word of who has a seat, from where it sits."""
        accuser = self.roster.find(accusation.id)
        if accuser is not None and self._is_where_it_was(accusation.id, address):
            self._accuse(accuser.url, accusation.url, accusation.key, accusation.index)

    async def handle_log(self, batch: LogBatch) -> None:
        """Lines of a peer, which may have left the list by now."""
        if self.log is not None:
            member = self.roster.find(batch.id)
            self.log.take(batch, member.url if member is not None else batch.url)

    def set_upstream(self, url: str) -> None:
        """Peers learn of it with their next renewal, which is answered at once."""
        self.settings = replace(self.settings, upstream=url)
        self._shared = _shared(self.settings)
        self.node.set_upstream(url)
        self._wake_holders()

    # What can be seen

    def url(self) -> str | None:
        return self._url

    def stats(self) -> dict[str, Any]:
        found = super().stats()
        if self.log is not None:
            found["log_lines_dropped_count"] = found.get("log_lines_dropped_count", 0) + self.log.file.dropped_count
        return found

    def metrics(self) -> list[Metric]:
        return [*super().metrics(), *metrics_of_peers(self.roster.seats(self.clock.monotonic()))]

    def targets(self) -> list[dict[str, Any]]:
        """What `/_targets` shows: where each node is scraped, those that can't be reached from here included."""
        return targets(self._url, (seat.member.url for seat in self.roster.seats(self.clock.monotonic())))

    def peers(self) -> dict[str, Any]:
        """Besides the list: how long ago each was seen, and who is known but can't be reached from here."""
        listed: list[dict[str, Any]] = []
        unreachable: list[dict[str, Any]] = []
        for seat in self.roster.seats(self.clock.monotonic()):
            member = seat.member
            about = {**shown(member), "uplink": round(seat.uplink), "seen_seconds": round(seat.seen_seconds, 3)}
            if seat.is_listed:
                listed.append(about)
            else:
                unreachable.append({**about, "reason": self._reason(member.id)})
        return {"epoch": self.roster.epoch, "peers": listed, "unreachable": unreachable}

    # Inside

    def _seat(self, member: Member, address: str | None, uplink: float) -> JoinAnswer:
        """The probe took a while: what was true before it may not be true now."""
        if self.is_draining:
            return JoinAnswer("closing", "the manager is closing", member.url)
        verdict = self.roster.join(member, self.clock.monotonic(), uplink)
        if verdict is JoinVerdict.FULL:
            return JoinAnswer("full", f"the list is full ({self.settings.peers_max} peers)", member.url)
        if verdict is JoinVerdict.LEFT:
            return JoinAnswer("closing", "this peer has said goodbye", member.url)
        self._about[member.id] = _About(address)
        self._publish()
        settles_seconds = max(0.0, self.settings.renew_seconds - self.uptime_seconds())
        return JoinAnswer("joined", "", member.url, self.roster.peer_list(), self._shared, settles_seconds)

    def _is_where_it_was(self, id: str, address: str | None) -> bool:
        """A laptop that changed networks renews from elsewhere: it must join again, to be known by its new address."""
        about = self._about.get(id)
        return about is None or about.address is None or about.address == address

    def _reason(self, id: str) -> str:
        about = self._about.get(id)
        member = self.roster.find(id)
        if member is not None and self.roster.is_shunned(member.url):
            return "it sent others wrong bytes"
        return about.reason if about is not None else ""

    def _accuse(self, accuser: str, accused: str, key: str, index: int) -> None:
        roster = self.roster
        if roster.is_shunned(accused):
            return
        now = self.clock.monotonic()
        ruling = self._accusations.take(accuser, accused, now, seats_count=len(roster), shunned_count=roster.shunned_count)
        if ruling is Ruling.IGNORED:
            return
        text = f"{accused} sent wrong bytes to {accuser}: piece {index} of {key}"
        if ruling is Ruling.SHUNNED and roster.shun(accused, now + SHUN_SECONDS):
            text += f"; it is off the list for {SHUN_SECONDS / 60:.0f} min"
            self._publish()
        self.say(text)

    async def _hold_while_unchanged(self, renew: Renew) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + min(renew.wait_seconds, self.settings.renew_seconds)
        while not self.is_draining and not self._has_news(renew):
            changed = self._changed
            try:
                async with asyncio.timeout_at(until):
                    await changed.wait()
            except TimeoutError:
                return

    def _has_news(self, renew: Renew) -> bool:
        is_changed = renew.epoch != self.roster.epoch or renew.settings_version != self._shared.version
        return is_changed or self.purges.has_news(renew.id, renew.mark)

    def _origins(self) -> Set[str]:
        """Every URL by which a client may have been sent to this site."""
        return {self._url or "", *(member.url for member in self.roster.peer_list().members)}

    def _publish(self) -> None:
        """The one place from which a changed list goes out."""
        if self._last_epoch != self.roster.epoch or not self.node.peers.epoch:
            self._last_epoch = self.roster.epoch
            self.node.set_peers(self.roster.peer_list())
            self.preheats.list_changed()
            self._wake_holders()

    def _wake_holders(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _tick_forever(self) -> None:
        tick_seconds = min(TICK_SECONDS_MAX, self.settings.window_seconds / 10)
        ticked_at = self.clock.monotonic()
        while True:
            await asyncio.sleep(tick_seconds)
            now = self.clock.monotonic()
            self.tick(now, now - ticked_at - tick_seconds)
            ticked_at = now

    def tick(self, now: float, late_seconds: float) -> None:
        """One look at all leases; `late_seconds` is by how much it comes too late."""
        if late_seconds > self.settings.window_seconds / 5:
            self.roster.excuse(now)
        self.roster.expire(now)
        self.roster.forgive(now)
        self.roster.reweigh(now)
        for id in [id for id in self._about if self.roster.find(id) is None]:
            del self._about[id]
            self.leases.forget(id)
        self.purges.forget_the_gone()
        for member in self.roster.take_due_probes(now, PROBES_PER_TICK):
            self._hold(self._probe_again(member))
        self._publish()

    async def _probe_again(self, member: Member) -> None:
        reason = await self._prober.probe(member.url, member.id, member.fingerprint or None)
        now = self.clock.monotonic()
        if reason is None:
            self.roster.probe_passed(member.id, member.url, now)
        else:
            self.roster.probe_failed(member.id, member.url, now)
        if member.id in self._about:
            self._about[member.id].reason = reason or ""
        self._publish()

    async def _close_log(self) -> None:
        if self.log is not None:
            await self.log.close()


def _shared(settings: Settings) -> SharedSettings:
    """The version is a digest, so that a restarted manager with the same settings has no news for its peers."""
    shared = SharedSettings(
        version="",
        upstream=settings.upstream or "",
        small_bytes=settings.small_bytes,
        grace_seconds=settings.grace_seconds,
        negative_seconds=settings.negative_seconds,
        heuristic=settings.heuristic,
        obey_request_directives=settings.obey_request_directives,
        log=settings.log is not None,
        renew_seconds=settings.renew_seconds,
        window_seconds=settings.window_seconds,
        follows_redirects=settings.follows_redirects,
        ignored_query=settings.ignored_query,
        default_ttls=settings.default_ttls,
        upstream_bytes_per_second=settings.upstream_bytes_per_second,
    )
    return replace(shared, version=hashlib.sha256(repr(shared).encode()).hexdigest()[:16])
