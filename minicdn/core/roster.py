"""Who is in the cluster, as the manager knows it: a pure list with leases.

A peer has a *seat* from its join until it leaves, is replaced, or has been silent for a whole window. Seats stand in the
order of their last renewal, so expiry looks at the front only. A seat is *listed* (handed out to clients and peers) unless
the last probes of its URL failed in a row: its holder is alive, since it renews, but those who are sent there can't
reach it. One passed probe lists it again. Nor is a seat listed whose holder is said to lie (accusing.py), for a while, by its URL.

Every change of what is listed raises the epoch. An epoch is `<incarnation>.<counter>`: the incarnation differs after each
start of the manager, so two epochs are equal only when the lists are.

A process that said goodbye never comes back under the same id (ids are random for each start), so an id that left stays
barred: a join that was still being probed when the goodbye arrived must not list a peer that is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from operator import attrgetter
from typing import TYPE_CHECKING

from minicdn.core.rendezvous import rank
from minicdn.core.shares import Sharer, has_changed, pause_seconds, shares
from minicdn.core.value import value_class

if TYPE_CHECKING:
    import random

PROBE_FAILURES_MAX = 3
"""Failed probes in a row until a seat is no longer listed: two may be a busy minute."""
LEFT_MAX = 4096


@value_class
class Member:
    """A listed peer. `url` has no trailing slash, e.g. http://10.0.0.5:11001.

    weight: its share among owners of keys, 1, or 0 for a peer that may not ask the upstream. share: its share of the pieces of large
    files (core/shares.py), which follows its uplink; 0 where the weight is. fingerprint: of its certificate; empty: no TLS, or one that an
    authority vouches for.
    """

    id: str
    url: str
    weight: float = 1.0
    share: float = 1.0
    fingerprint: str = ""


@value_class
class PeerList:
    """What all nodes compute owners from; members are sorted by id. The default is the list of a node that has none yet."""

    epoch: str = ""
    members: tuple[Member, ...] = ()

    @property
    def incarnation(self) -> str:
        """Which life of the manager this list is from."""
        return self.epoch.partition(".")[0]

    def without(self, id: str) -> PeerList:
        """The same list, in which `id` owns nothing."""
        return PeerList(self.epoch, tuple(member for member in self.members if member.id != id))


_URL: Callable[[Member], str] = attrgetter("url")


def owners(key: str, members: Collection[Member], count: int | None = None) -> list[Member]:
    """The owner of a key and its backups, in order (rendezvous.py). A member's name among owners is its URL: a peer that was
    restarted has a new id, and the files on its disk are still its own."""
    return rank(key, members, count, name_of=_URL) if members else []


class JoinVerdict(Enum):
    SEATED = "seated"
    FULL = "full"
    LEFT = "left"


@dataclass(slots=True)
class _Seat:
    member: Member
    seen_at: float
    probed_at: float
    seated_at: float
    uplink: float
    failures_count: int = 0

    @property
    def can_be_reached(self) -> bool:
        return self.failures_count < PROBE_FAILURES_MAX


@value_class
class SeatView:
    """A seat as `/_peers` shows it."""

    member: Member
    seen_seconds: float
    is_listed: bool
    uplink: float = 0.0


class Roster:
    """All instants are the manager's own monotonic seconds; no peer's clock is ever read."""

    def __init__(self, incarnation: str, *, window_seconds: float = 15.0, peers_max: int = 4096, probe_every_seconds: float = 30.0) -> None:
        self._incarnation = incarnation
        self._window_seconds = window_seconds
        self._peers_max = peers_max
        self._probe_every_seconds = probe_every_seconds
        self._counter = 0
        self._seats: dict[str, _Seat] = {}
        self._id_by_url: dict[str, str] = {}
        self._left: dict[str, None] = {}
        self._listed: list[Member] = []
        self._place: dict[str, int] = {}
        self._list: PeerList | None = None
        self._reweigh_at = 0.0
        self._shunned: dict[str, float] = {}

    # What changes the list

    def join(self, member: Member, now: float, uplink: float = 0.0) -> JoinVerdict:
        """Seats a member whose URL was just probed. Whoever held that URL before, or this id elsewhere, gives up the seat; its uplink
        is the newcomer's where that knows none. uplink: bytes per second, 0 while unknown. The member's share is found here."""
        if member.id in self._left:
            return JoinVerdict.LEFT
        holder = self._id_by_url.get(member.url)
        if not self.may_join(member.id, member.url):
            return JoinVerdict.FULL
        before = self._seats.get(member.id) or self._seats.get(holder or "")
        if holder is not None and holder != member.id:
            self._remove(holder)
        self._seat(member, now, uplink or (before.uplink if before is not None else 0.0))
        return JoinVerdict.SEATED

    def may_join(self, id: str, url: str) -> bool:
        """Whether there is room, asked before the effort of a probe."""
        return len(self._seats) < self._peers_max or id in self._seats or url in self._id_by_url

    def renew(self, id: str, now: float, uplink: float = 0.0) -> bool:
        """False: not seated here, join (again). uplink: bytes per second; 0, nothing new is known of it."""
        seat = self._seats.pop(id, None)
        if seat is None:
            return False
        seat.seen_at = now
        seat.uplink = uplink or seat.uplink
        self._seats[id] = seat
        return True

    def reweigh(self, now: float) -> bool:
        """True when shares follow the uplinks again: where one of them is far from what is listed, and that is not too soon."""
        if now < self._reweigh_at:
            return False
        seats = list(self._seats.values())
        wanted = shares([Sharer(seat.uplink, now - seat.seated_at, seat.member.weight > 0) for seat in seats])
        if not any(has_changed(seat.member.share, share) for seat, share in zip(seats, wanted, strict=True)):
            return False
        self._reweigh_at = now + pause_seconds(len(seats))
        for seat, share in zip(seats, wanted, strict=True):
            seat.member = replace(seat.member, share=share)
            if seat.member.id in self._place:
                self._listed[self._place[seat.member.id]] = seat.member
        self._changed()
        return True

    def leave(self, id: str, now: float) -> bool:
        """True when somebody left a seat. The id is barred either way: its join may still be on the way."""
        self._left[id] = None
        if len(self._left) > LEFT_MAX:
            del self._left[next(iter(self._left))]
        return self._remove(id)

    def expire(self, now: float) -> list[Member]:
        """Takes the seats of those silent for the window; returns them."""
        gone: list[Member] = []
        for seat in self._seats.values():
            if now - seat.seen_at < self._window_seconds:
                break
            gone.append(seat.member)
        for member in gone:
            self._remove(member.id)
        return gone

    def excuse(self, now: float) -> None:
        """Everybody counts as seen now: the manager itself slept (a stopped process, a closed lid), so silence proves nothing."""
        for seat in self._seats.values():
            seat.seen_at = now

    def probe_passed(self, id: str, url: str, now: float) -> bool:
        """True when this lists the seat again. `url` guards against a seat that moved while the probe was under way."""
        seat = self._seat_at(id, url)
        if seat is None:
            return False
        seat.probed_at, seat.failures_count = now, 0
        return self._list_again(seat.member)

    def probe_failed(self, id: str, url: str, now: float) -> bool:
        """True when this was one failure too many, and the seat is listed no longer."""
        seat = self._seat_at(id, url)
        if seat is None:
            return False
        seat.probed_at = now
        seat.failures_count = min(seat.failures_count + 1, PROBE_FAILURES_MAX)
        return not seat.can_be_reached and self._unlist(id)

    def shun(self, url: str, until: float) -> bool:
        """True when this takes a seat off the list, whoever sits in it until then."""
        id = self._id_by_url.get(url)
        if id is None:
            return False
        self._shunned[url] = until
        return self._unlist(id)

    def forgive(self, now: float) -> None:
        """Lists those again whose time is over."""
        for url in [url for url, until in self._shunned.items() if until <= now]:
            del self._shunned[url]
            seat = self._seats.get(self._id_by_url.get(url, ""))
            if seat is not None and seat.can_be_reached:
                self._list_again(seat.member)

    # What only looks

    @property
    def epoch(self) -> str:
        return f"{self._incarnation}.{self._counter}"

    def peer_list(self) -> PeerList:
        if self._list is None:
            self._list = PeerList(self.epoch, tuple(sorted(self._listed, key=lambda member: member.id)))
        return self._list

    def choose(self, rng: random.Random) -> Member | None:
        """Any listed member, each as likely; constant time."""
        listed = self._listed
        return listed[int(rng.random() * len(listed))] if listed else None

    def find(self, id: str) -> Member | None:
        seat = self._seats.get(id)
        return seat.member if seat is not None else None

    def is_listed(self, id: str) -> bool:
        return id in self._place

    def has_url(self, url: str) -> bool:
        """Whether somebody is listed under it."""
        return self._id_by_url.get(url, "") in self._place

    def is_shunned(self, url: str) -> bool:
        return url in self._shunned

    @property
    def shunned_count(self) -> int:
        """Seats that are off the list for what was said of their holders."""
        return sum(url in self._id_by_url for url in self._shunned)

    def take_due_probes(self, now: float, count_max: int) -> list[Member]:
        """Members not probed for a while, at most `count_max`; they count as probed now."""
        due: list[Member] = []
        for seat in self._seats.values():
            if len(due) < count_max and now - seat.probed_at >= self._probe_every_seconds:
                seat.probed_at = now
                due.append(seat.member)
        return due

    def seats(self, now: float) -> Iterator[SeatView]:
        for seat in sorted(self._seats.values(), key=lambda seat: seat.member.id):
            yield SeatView(seat.member, max(0.0, now - seat.seen_at), seat.member.id in self._place, seat.uplink)

    def __len__(self) -> int:
        """Seats, listed or not."""
        return len(self._seats)

    def _seat(self, member: Member, now: float, uplink: float) -> None:
        """Who joins again unchanged keeps its share, and the time of its first join."""
        seat, seated_at = self._seats.get(member.id), now
        if seat is not None and replace(seat.member, share=member.share) == member:
            member, seated_at = seat.member, seat.seated_at
            del self._seats[member.id]
        else:
            self._remove(member.id)
            member = replace(member, share=self._first_share(member, uplink))
        self._seats[member.id] = _Seat(member, now, now, seated_at, uplink)
        self._id_by_url[member.url] = member.id
        self._list_again(member)

    def _first_share(self, member: Member, uplink: float) -> float:
        """Of a newcomer among those who are seated; their own shares stay until the next time."""
        seats = [seat for seat in self._seats.values() if seat.uplink > 0]
        newcomer = Sharer(uplink, 0.0, member.weight > 0)
        return shares([*(Sharer(seat.uplink, 0.0, seat.member.weight > 0) for seat in seats), newcomer])[-1]

    # Inside: `_listed` is dense so that choosing is one index; leaving it moves the last into the gap.

    def _seat_at(self, id: str, url: str) -> _Seat | None:
        seat = self._seats.get(id)
        return seat if seat is not None and seat.member.url == url else None

    def _remove(self, id: str) -> bool:
        seat = self._seats.pop(id, None)
        if seat is None:
            return False
        if self._id_by_url.get(seat.member.url) == id:
            del self._id_by_url[seat.member.url]
        self._unlist(id)
        return True

    def _list_again(self, member: Member) -> bool:
        if member.id in self._place or member.url in self._shunned:
            return False
        self._place[member.id] = len(self._listed)
        self._listed.append(member)
        self._changed()
        return True

    def _unlist(self, id: str) -> bool:
        place = self._place.pop(id, None)
        if place is None:
            return False
        last = self._listed.pop()
        if last.id != id:
            self._listed[place] = last
            self._place[last.id] = place
        self._changed()
        return True

    def _changed(self) -> None:
        self._counter += 1
        self._list = None
