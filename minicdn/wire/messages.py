"""What peers and their manager say to each other, as values.

    join    peer → manager   here I am             the answer: seated as this URL, the list, the shared settings; or why not
    renew   peer → manager   still here, I hold the list of that epoch. Held until something changes, so that news is quick:
                             the answer: fine, with what changed; or `unknown`, which means: join again
    leave   peer → manager   take me off the list
    purge   either way           wire/purges.py; what a peer missed comes with the answers to join and renew
    lease   peer → manager   may I ask the upstream for this key as a last resort; or: I am done with it (core/leases.py)
    accuse  peer → manager   that one sent me wrong bytes (core/accusing.py)
    log     peer → manager   lines for the log; a repeated batch number is a repetition, not news

Each has `to_wire()`, a map for the codec, and `from_wire(map)`, which raises ClientError(400) and nothing else.
No message carries a wall-clock instant that anybody compares; log lines carry their node's, to be read by people.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from minicdn.core.journal import Mark
from minicdn.core.logline import SOURCES, LogLine, parse_json_note
from minicdn.core.nodeurl import URL_LENGTH_MAX, parse_node_url
from minicdn.core.roster import Member, PeerList
from minicdn.errors import ClientError
from minicdn.wire.codec import TEXT_MAX, Taker
from minicdn.wire.purges import Missed, take_mark

LOG_BATCH_MAX = 500
"""Lines in one message."""
MEMBERS_MAX = 16 * 1024
ANSWER_BYTES_MAX = 8 * 1024 * 1024
"""The manager's answers may be longer than what it accepts: a full list of long URLs."""
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_FINGERPRINT = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class SharedSettings:
    """What all nodes of a cluster must agree upon; the manager's word counts. `version` changes when anything here does."""

    version: str
    upstream: str
    small_bytes: int
    grace_seconds: float
    negative_seconds: float
    heuristic: bool
    obey_request_directives: bool
    log: bool
    renew_seconds: float
    window_seconds: float
    follows_redirects: bool = False
    ignored_query: tuple[str, ...] = ()
    default_ttls: tuple[tuple[str, float], ...] = ()
    upstream_bytes_per_second: int = 0

    def to_wire(self) -> dict[str, Any]:
        pairs = [list(pair) for pair in self.default_ttls]
        return {**asdict(self), "ignored_query": list(self.ignored_query), "default_ttls": pairs}

    @classmethod
    def from_wire(cls, take: Taker) -> SharedSettings:
        return cls(
            version=take.text("version", length_max=64),
            upstream=take.text("upstream", length_max=2048),
            small_bytes=take.integer("small_bytes"),
            grace_seconds=take.number("grace_seconds"),
            negative_seconds=take.number("negative_seconds"),
            heuristic=take.flag("heuristic"),
            obey_request_directives=take.flag("obey_request_directives"),
            log=take.flag("log"),
            renew_seconds=take.number("renew_seconds", low=0.001),
            window_seconds=take.number("window_seconds", low=0.001),
            follows_redirects=take.flag("follows_redirects", default=False),
            ignored_query=tuple(Taker({"name": name}).text("name", length_max=256) for name in take.items("ignored_query", default=())),
            default_ttls=tuple(_lifetime(item) for item in take.items("default_ttls", default=())),
            upstream_bytes_per_second=take.integer("upstream_bytes_per_second", default=0),
        )


@dataclass(frozen=True, slots=True)
class Join:
    """advertise: the peer's own idea of its URL; None: the address it is seen from, and its port. mark: up to where it knows of purges.

    uplink: what it carries, as far as it is known, in bytes per second; 0: not known. may_ask_upstream: False for a peer that can't own
    anything. fingerprint: of its certificate; empty: it speaks no TLS.
    """

    id: str
    port: int
    advertise: str | None
    version: str
    mark: Mark | None = None
    uplink: float = 0.0
    may_ask_upstream: bool = True
    fingerprint: str = ""

    def to_wire(self) -> dict[str, Any]:
        return {**asdict(self), "mark": str(self.mark or "")}

    @classmethod
    def from_wire(cls, found: Mapping[str, Any]) -> Join:
        take = Taker(found)
        advertise = take.text("advertise", length_max=URL_LENGTH_MAX, default=None)
        return cls(
            id=take_id(take),
            port=take.integer("port", low=1, high=65535),
            advertise=None if advertise is None else _checked_url(advertise),
            version=take.text("version", length_max=64),
            mark=take_mark(take, "mark"),
            uplink=take.number("uplink", default=0.0),
            may_ask_upstream=take.flag("may_ask_upstream", default=True),
            fingerprint=_fingerprint(take.text("fingerprint", length_max=128, default="")),
        )


@dataclass(frozen=True, slots=True)
class JoinAnswer:
    """status: joined, unreachable, full or closing; `reason` is for people. A joined peer gets all the rest.

    settles_seconds: for that long the list may still be incomplete, since the manager has just started. missed: purges since its mark.
    """

    status: str
    reason: str = ""
    url: str = ""
    peers: PeerList | None = None
    settings: SharedSettings | None = None
    settles_seconds: float = 0.0
    missed: Missed | None = None

    def to_wire(self) -> dict[str, Any]:
        return _answer_to_wire(self)

    @classmethod
    def from_wire(cls, found: Mapping[str, Any]) -> JoinAnswer:
        take = Taker(found)
        answer = cls(
            status=take.text("status", length_max=32),
            reason=take.text("reason", length_max=1024, default=""),
            url=take.text("url", length_max=URL_LENGTH_MAX, default=""),
            peers=_take_peers(take),
            settings=_take_settings(take),
            settles_seconds=take.number("settles_seconds", default=0.0),
            missed=Missed.from_wire(take.maybe_map("missed")),
        )
        if answer.status == "joined" and (answer.peers is None or answer.settings is None or not answer.url):
            raise ClientError(400, "the answer to a join lacks url, peers or settings")
        return answer


@dataclass(frozen=True, slots=True)
class Renew:
    """epoch, settings_version and mark: what the peer holds. wait_seconds: how long the answer may be held while nothing changes.
    uplink: as in Join."""

    id: str
    epoch: str
    settings_version: str
    wait_seconds: float
    mark: Mark | None = None
    uplink: float = 0.0

    def to_wire(self) -> dict[str, Any]:
        return {**asdict(self), "mark": str(self.mark or "")}

    @classmethod
    def from_wire(cls, found: Mapping[str, Any]) -> Renew:
        take = Taker(found)
        return cls(
            id=take_id(take),
            epoch=take.text("epoch", length_max=128),
            settings_version=take.text("settings_version", length_max=64),
            wait_seconds=take.number("wait_seconds", high=60.0),
            mark=take_mark(take, "mark"),
            uplink=take.number("uplink", default=0.0),
        )


@dataclass(frozen=True, slots=True)
class RenewAnswer:
    """status: ok, unknown (join again) or closing. peers, settings, missed: None when the peer's are the current ones.

    is_listed: False while the manager's probes of this peer fail, for the `reason`; or (is_shunned) since others say that it lies.
    """

    status: str
    is_listed: bool = True
    reason: str = ""
    peers: PeerList | None = None
    settings: SharedSettings | None = None
    missed: Missed | None = None
    is_shunned: bool = False

    def to_wire(self) -> dict[str, Any]:
        return _answer_to_wire(self)

    @classmethod
    def from_wire(cls, found: Mapping[str, Any]) -> RenewAnswer:
        take = Taker(found)
        return cls(
            status=take.text("status", length_max=32),
            is_listed=take.flag("is_listed", default=True),
            is_shunned=take.flag("is_shunned", default=False),
            reason=take.text("reason", length_max=1024, default=""),
            peers=_take_peers(take),
            settings=_take_settings(take),
            missed=Missed.from_wire(take.maybe_map("missed")),
        )


@dataclass(frozen=True, slots=True)
class LogBatch:
    """Lines of the node `id` at `url`, in order, the oldest first; `dropped_count` lines before them are lost.

    number: grows with each batch of this process, and stays when a batch is sent again.
    """

    id: str
    url: str
    number: int
    dropped_count: int
    lines: tuple[LogLine, ...]

    def to_wire(self) -> dict[str, Any]:
        lines = [_line_to_wire(line) for line in self.lines]
        return {"id": self.id, "url": self.url, "number": self.number, "dropped_count": self.dropped_count, "lines": lines}

    @classmethod
    def from_wire(cls, found: Mapping[str, Any]) -> LogBatch:
        take = Taker(found)
        return cls(
            id=take_id(take),
            url=_checked_url(take.text("url", length_max=URL_LENGTH_MAX)),
            number=take.integer("number", low=1),
            dropped_count=take.integer("dropped_count"),
            lines=tuple(_line_from_wire(line) for line in take.items("lines", count_max=LOG_BATCH_MAX)),
        )


@dataclass(frozen=True, slots=True)
class LeaseCall:
    """The node `id` asks for a lease of the key, or gives it back (is_over)."""

    id: str
    key: str
    is_over: bool = False

    def to_wire(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_wire(cls, found: Mapping[str, Any]) -> LeaseCall:
        take = Taker(found)
        return cls(id=take_id(take), key=take.text("key"), is_over=take.flag("is_over", default=False))


@dataclass(frozen=True, slots=True)
class LeaseAnswer:
    """holders: URLs of those who hold leases of the key, as far as they are listed. seconds: for how long this one does, or until one
    of theirs ends."""

    is_granted: bool
    holders: tuple[str, ...] = ()
    seconds: float = 0.0

    def to_wire(self) -> dict[str, Any]:
        return {**asdict(self), "holders": list(self.holders)}

    @classmethod
    def from_wire(cls, found: Mapping[str, Any]) -> LeaseAnswer:
        take = Taker(found)
        return cls(
            is_granted=take.flag("is_granted"),
            holders=tuple(_checked_url(Taker({"url": url}).text("url")) for url in take.items("holders", default=())),
            seconds=take.number("seconds", default=0.0),
        )


@dataclass(frozen=True, slots=True)
class Accusation:
    """The node `id` says that the peer at `url` sent it wrong bytes of a piece of the key."""

    id: str
    url: str
    key: str
    index: int

    def to_wire(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_wire(cls, found: Mapping[str, Any]) -> Accusation:
        take = Taker(found)
        return cls(take_id(take), _checked_url(take.text("url", length_max=URL_LENGTH_MAX)), take.text("key"), take.integer("index"))


def take_id(take: Taker) -> str:
    id = take.text("id", length_max=64)
    if _ID.fullmatch(id) is None:
        raise ClientError(400, "id has characters other than letters, digits, _ and -")
    return id


def _checked_url(text: str) -> str:
    try:
        return parse_node_url(text)
    except ValueError as error:
        raise ClientError(400, str(error)) from None


def _answer_to_wire(answer: JoinAnswer | RenewAnswer) -> dict[str, Any]:
    found = {name: getattr(answer, name) for name in answer.__dataclass_fields__ if name not in ("peers", "settings", "missed")}
    if answer.peers is not None:
        members = [_member_to_wire(member) for member in answer.peers.members]
        found["peers"] = {"epoch": answer.peers.epoch, "members": members}
    if answer.settings is not None:
        found["settings"] = answer.settings.to_wire()
    if answer.missed is not None:
        found["missed"] = answer.missed.to_wire()
    return found


def _take_peers(take: Taker) -> PeerList | None:
    inner = take.maybe_map("peers")
    if inner is None:
        return None
    members = [_member(item) for item in inner.items("members", count_max=MEMBERS_MAX)]
    return PeerList(inner.text("epoch", length_max=128), tuple(sorted(members, key=lambda member: member.id)))


def _member_to_wire(member: Member) -> list[Any]:
    """A list of four, as there are thousands of them; of five where it has a fingerprint."""
    found = [member.id, member.url, member.weight, member.share]
    return [*found, member.fingerprint] if member.fingerprint else found


def _member(item: Any) -> Member:
    """Of one without a share, the weight is the share."""
    if type(item) is not list or len(item) < 3:
        raise ClientError(400, "a member is not a list of id, url, weight and share")
    take = Taker(dict(zip(("id", "url", "weight", "share", "fingerprint"), item, strict=False)))
    url, weight = take.text("url", length_max=URL_LENGTH_MAX), take.number("weight", high=1e6)
    pin = _fingerprint(take.text("fingerprint", length_max=128, default=""))
    return Member(take_id(take), _checked_url(url), weight, take.number("share", high=1e6, default=weight), pin)


def _fingerprint(text: str) -> str:
    if text and _FINGERPRINT.fullmatch(text) is None:
        raise ClientError(400, "that is no fingerprint")
    return text


def _lifetime(item: Any) -> tuple[str, float]:
    if type(item) not in (list, tuple) or len(item) != 2:
        raise ClientError(400, "a default lifetime is not a pattern and a number of seconds")
    take = Taker({"pattern": item[0], "seconds": item[1]})
    return take.text("pattern", length_max=1024), take.number("seconds")


def _take_settings(take: Taker) -> SharedSettings | None:
    inner = take.maybe_map("settings")
    return None if inner is None else SharedSettings.from_wire(inner)


def _line_to_wire(line: LogLine) -> dict[str, Any]:
    """A note travels as JSON text: msgpack has no whole numbers beyond 64 bits, and its own bounds of nesting."""
    key, remote_addr, user_agent, success, note, method, status, size, source, seconds, timestamp = line
    return {
        "key": key if len(key) <= TEXT_MAX else key[:TEXT_MAX],
        "remote_addr": remote_addr,
        "user_agent": user_agent if len(user_agent) <= TEXT_MAX else user_agent[:TEXT_MAX],
        "success": success, "header_data": None if note is None else json.dumps(note), "method": method, "status": status,
        "bytes": size, "source": source, "duration_seconds": seconds, "timestamp": timestamp,
    }  # fmt: skip


def _line_from_wire(item: Any) -> LogLine:
    take = Taker(item)
    note = take.text("header_data", length_max=1024 * 1024, default=None)
    source = take.text("source", length_max=32)
    if source not in SOURCES:
        raise ClientError(400, f"source is not one of {', '.join(SOURCES)}")
    return LogLine(
        key=take.text("key"),
        remote_addr=take.text("remote_addr", length_max=256),
        user_agent=take.text("user_agent"),
        success=take.flag("success"),
        header_data=None if note is None else parse_json_note(note),
        method=take.text("method", length_max=64),
        status=take.integer("status", high=999),
        bytes=take.integer("bytes"),
        source=source,
        duration_seconds=take.number("duration_seconds"),
        timestamp=take.integer("timestamp", low=-(2**63)),
    )
