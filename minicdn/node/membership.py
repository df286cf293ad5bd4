"""A peer's place in the cluster: join, stay, follow the list, come back.

One loop. Without a seat at the manager it joins; with one it renews, and the manager holds each renewal until something
changes, so the list is followed within moments and a quiet cluster exchanges one message per peer and period. `unknown` as
an answer (the manager restarted, or this machine slept past its window) means: join at once. When the manager can't be
reached the node goes on with its last list and its last settings, and the loop tries again with jitter.

A manager that has just started hears from its peers one after the other. A node that has a list from before keeps it until
the new one has settled: owners must not move to whoever happened to join first.

What a person at this machine should know is said in single lines: once when it begins, seldom while it lasts.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Protocol

from minicdn import __version__
from minicdn.core.backoff import Backoff
from minicdn.core.journal import Mark
from minicdn.core.nodeurl import is_loopback_url
from minicdn.core.roster import PeerList
from minicdn.node.clock import Clock
from minicdn.settings import Settings
from minicdn.wire.manager import ManagerRefused, ManagerUnreachable
from minicdn.wire.messages import Join, JoinAnswer, Renew, RenewAnswer, SharedSettings
from minicdn.wire.purges import Missed
from minicdn.wire.tls import file_fingerprint

WAIT_SECONDS_MAX = 60.0
"""The manager accepts no longer hold."""
SAY_AGAIN_SECONDS = 120.0
RETRY_BASE_SECONDS = 0.25
RETRY_MAX_SECONDS = 2.0
"""A lost manager is tried at least this often in a small cluster; with thousands of peers less (retry_max_seconds)."""


class Follower(Protocol):
    """What membership asks of the node it keeps in the list."""

    id: str
    clock: Clock
    peers: PeerList

    def set_peers(self, peers: PeerList) -> None: ...


class Manager(Protocol):
    """What membership asks of the way to the manager (wire/manager.py)."""

    url: str

    async def join(self, join: Join) -> JoinAnswer: ...
    async def renew(self, renew: Renew) -> RenewAnswer: ...
    async def leave(self, id: str) -> None: ...


class Purges(Protocol):
    """Who carries out what this node missed (roles/handing.py)."""

    @property
    def mark(self) -> Mark | None: ...
    def catch_up(self, missed: Missed | None) -> None: ...
    def manager_answers(self) -> None: ...


class Membership:
    """`learn(shared, url)` is called with each new word of the manager about settings, before the first list is followed.

    uplink: what this node's carries, in bytes per second, 0 while that is not known.
    """

    def __init__(
        self,
        node: Follower,
        manager: Manager,
        settings: Settings,
        *,
        port: int,
        learn: Callable[[SharedSettings, str], None],
        purges: Purges | None = None,
        uplink: Callable[[], float] = float,
        say: Callable[[str], None],
        rng: random.Random,
    ) -> None:
        self._node = node
        self._manager = manager
        self._settings = settings
        self._port = port
        self._fingerprint = file_fingerprint(settings.tls_cert) if settings.tls_cert is not None else ""
        self._learn = learn
        self._purges = purges
        self._uplink = uplink
        self._say = Sayer(say, node.clock)
        self._rng = rng
        self._backoff = Backoff(RETRY_BASE_SECONDS, RETRY_MAX_SECONDS)
        self._renew_seconds = settings.renew_seconds
        self._settings_version = ""
        self._known_epoch = ""
        self._pending: PeerList | None = None
        self._adopt_at = 0.0
        self._is_seated = False
        self._may_be_seated = False
        self._unknown_count = 0
        self._was_told_loopback = False
        self.url: str | None = None
        self.has_joined = False

    async def run(self) -> None:
        """Keeps the seat until cancelled."""
        while True:
            try:
                seconds = await (self._renew() if self._is_seated else self._join())
            except ManagerUnreachable as error:
                seconds = self._after_silence(error)
            except ManagerRefused as error:
                self._is_seated = False
                self._say.trouble("refused", f"{error}; trying again")
                seconds = self._jittered(self._renew_seconds)
            self._adopt_when_due()
            await asyncio.sleep(seconds)

    async def leave(self) -> None:
        """Off the list, once `run` is over. A manager that can't be told finds out by silence."""
        self._node.set_peers(self._node.peers.without(self._node.id))
        if not self._may_be_seated:
            return
        try:
            await self._manager.leave(self._node.id)
        except (ManagerUnreachable, ManagerRefused) as error:
            self._say.trouble("leave", f"leaving without a goodbye: {error}")
        self._is_seated = self._may_be_seated = False

    # One step of the loop; each returns the seconds until the next

    async def _join(self) -> float:
        self._may_be_seated = True
        answer = await self._manager.join(self._here_i_am())
        if answer.status != "joined":
            self._may_be_seated = False
            return self._after_no(answer)
        assert answer.peers is not None and answer.settings is not None
        self._is_seated = True
        self.url = answer.url
        self._take_purges(answer.missed)
        self._take_settings(answer.settings)
        self._take_list(answer.peers, answer.settles_seconds)
        self._tell_joined(answer)
        self.has_joined = True
        return 0.0

    async def _renew(self) -> float:
        began_at = self._now()
        wait_seconds = self._wait_seconds(began_at)
        renew = Renew(self._node.id, self._known_epoch, self._settings_version, wait_seconds, self._mark(), self._uplink())
        answer = await self._manager.renew(renew)
        self._backoff.reset()
        if answer.status == "unknown":
            return self._after_unknown()
        self._unknown_count = 0
        self._say.over("silence")
        self._tell_listed(answer)
        self._take_purges(answer.missed)
        if answer.settings is not None:
            self._take_settings(answer.settings)
        if answer.peers is not None:
            self._take_list(answer.peers, 0.0)
            return self._jittered(follow_pause_seconds(len(answer.peers.members), self._renew_seconds))
        if answer.missed is not None:
            return 0.0
        # A manager that doesn't hold (it is closing) must not be asked in a circle.
        return max(self._jittered(0.1), wait_seconds - (self._now() - began_at))

    def _here_i_am(self) -> Join:
        return Join(
            id=self._node.id,
            port=self._port,
            advertise=self._settings.advertise,
            version=__version__,
            mark=self._mark(),
            uplink=self._uplink(),
            may_ask_upstream=self._settings.may_ask_upstream,
            fingerprint=self._fingerprint,
        )

    # What the answers mean

    def _mark(self) -> Mark | None:
        return self._purges.mark if self._purges is not None else None

    def _take_purges(self, missed: Missed | None) -> None:
        if self._purges is not None:
            self._purges.catch_up(missed)
            self._purges.manager_answers()

    def _take_settings(self, shared: SharedSettings) -> None:
        assert self.url is not None
        self._settings_version = shared.version
        self._renew_seconds = shared.renew_seconds
        self._learn(shared, self.url)

    def _take_list(self, peers: PeerList, settles_seconds: float) -> None:
        self._known_epoch = peers.epoch
        self._backoff.max_seconds = retry_max_seconds(len(peers.members))
        if settles_seconds > 0 and self._node.peers.members and self._node.peers.incarnation != peers.incarnation:
            self._adopt_at = self._now() + settles_seconds
            self._pending = peers
        elif self._pending is not None:
            self._pending = peers
        else:
            self._node.set_peers(peers)

    def _adopt_when_due(self) -> None:
        if self._pending is not None and self._now() >= self._adopt_at:
            pending, self._pending = self._pending, None
            self._node.set_peers(pending)

    def _wait_seconds(self, now: float) -> float:
        seconds = min(self._renew_seconds, WAIT_SECONDS_MAX)
        return seconds if self._pending is None else max(0.0, min(seconds, self._adopt_at - now))

    def _after_unknown(self) -> float:
        """Join at once; but a manager that forgets us right after each join (our address keeps changing?) is not asked in a circle."""
        self._is_seated = False
        self._unknown_count += 1
        return 0.0 if self._unknown_count == 1 else self._jittered(self._renew_seconds)

    def _after_silence(self, error: ManagerUnreachable) -> float:
        """A list that was to be adopted later is forgotten: its manager went before it had heard from everybody."""
        self._pending, self._known_epoch = None, self._node.peers.epoch
        if self.has_joined:
            count = len(self._node.peers.members)
            text = f"lost the manager ({error}); serving on with the last list ({count} peers), trying again"
        else:
            text = f"waiting for the manager ({error}); this peer serves once it has joined"
        self._say.trouble("silence", text)
        return self._backoff.next_seconds(self._rng)

    def _after_no(self, answer: JoinAnswer) -> float:
        if answer.status == "unreachable":
            where = answer.url or f"port {self._port}"
            advice = f"open port {self._port} to it, or name a working address with --advertise URL"
            self._say.trouble("unreachable", f"the manager can't reach this peer at {where} ({answer.reason}): {advice}; trying again")
        else:
            self._say.trouble(answer.status, f"the manager does not take this peer: {answer.reason}; trying again")
        return self._jittered(self._renew_seconds)

    def _tell_joined(self, answer: JoinAnswer) -> None:
        self._say.clear()
        assert answer.peers is not None
        again = " again" if self.has_joined else ""
        self._say.line(f"joined {self._manager.url}{again} as {answer.url} (peers in the list: {len(answer.peers.members)})")
        if is_loopback_url(answer.url) and not self._was_told_loopback:
            self._was_told_loopback = True
            self._say.line(f"only this machine can reach {answer.url}; for others, give --advertise URL or the manager's outer address")

    def _tell_listed(self, answer: RenewAnswer) -> None:
        if answer.is_listed:
            self._say.over("unlisted")
            return
        if answer.is_shunned:
            advice = "check this machine's disk and memory; it is listed again after a while"
            self._say.trouble("unlisted", f"the manager has taken this peer off the list: {answer.reason}: {advice}")
            return
        advice = f"is port {self._port} still open to it? Trying again"
        self._say.trouble("unlisted", f"the manager can't reach this peer at {self.url} any more ({answer.reason}): {advice}")

    def _now(self) -> float:
        return self._node.clock.monotonic()

    def _jittered(self, seconds: float) -> float:
        return seconds * (0.5 + self._rng.random() / 2)


class Sayer:
    """One line when a trouble begins, and again only after a long while; a word when it is over."""

    def __init__(self, say: Callable[[str], None], clock: Clock, again_seconds: float = SAY_AGAIN_SECONDS) -> None:
        self._say = say
        self._clock = clock
        self._again_seconds = again_seconds
        self._said_at: dict[str, float] = {}

    def line(self, text: str) -> None:
        self._say(text)

    def trouble(self, kind: str, text: str) -> None:
        said_at = self._said_at.get(kind)
        now = self._clock.monotonic()
        if said_at is None or now - said_at >= self._again_seconds:
            self._said_at[kind] = now
            self._say(text)

    def over(self, kind: str) -> None:
        if self._said_at.pop(kind, None) is not None:
            self._say("the manager answers again" if kind == "silence" else "the manager lists this peer again")

    def clear(self) -> None:
        self._said_at.clear()


def follow_pause_seconds(peers_count: int, renew_seconds: float) -> float:
    """The rest after a change of the list, before asking for the next: many peers that come at once make fewer, larger news."""
    return min(renew_seconds / 2, 0.1 + peers_count / 1000)


def retry_max_seconds(peers_count: int) -> float:
    """The longest wait between two tries, so that a returning manager isn't met by thousands in one second."""
    return min(8.0, max(RETRY_MAX_SECONDS, peers_count / 500))
