"""The express lane: a plain GET of a small, whole, fresh body in memory, answered as soon as its bytes arrive.

The lane decides nothing itself. What it sends was built by the normal way (find_fresh, deliver, the head's writer) and is sent
again as long as that way could not answer otherwise: until the Age ticks, the lifetime ends, or the shelf holds another entry or
other facts for the key (a purge, an update, an eviction). So nobody has to tell the lane of anything.

A request is plain when nothing in it could change the answer: one head and nothing else, and only fields of a known, harmless list.
Entries that vary never take the lane, nor does what may have to wait for a capped uplink. Everything else falls through to the normal way.

An answer is good for a second at most, and is let go of when others are built after that: the lane holds what was asked for just now, and
no more of it than LANES_BYTES_MAX, whatever the shelf has evicted meanwhile.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from typing import Any

from minicdn.core.freshness import current_age, is_fresh
from minicdn.core.logline import LogLine
from minicdn.core.message import Request
from minicdn.core.target import parse_target
from minicdn.node.delivery import deliver
from minicdn.node.found import Found
from minicdn.node.limits import is_loopback
from minicdn.node.node import Node
from minicdn.store.entry import Entry
from minicdn.web.protocol import response_head

LANES_MAX = 16_384
LANES_BYTES_MAX = 32 * 1024 * 1024
"""Of bodies in the lane."""
BLOCKS_MAX = 4096
TARGET_BYTES_MAX = 1024
BLOCK_BYTES_MAX = 4096
"""Longer ones go the normal way."""
JOINED_BYTES_MAX = 16 * 1024
"""Head and body of up to this size are kept joined, for one write without copying."""
BODY_BYTES_MAX = 1024 * 1024
"""For a larger one the normal way's cost does not show."""
VERSION = b" HTTP/1.1\r\n"

_PLAIN_FIELDS = frozenset(
    b"host user-agent accept accept-encoding accept-language accept-charset cookie referer origin dnt priority upgrade-insecure-requests "
    b"sec-fetch-dest sec-fetch-mode sec-fetch-site sec-fetch-user sec-ch-ua sec-ch-ua-mobile sec-ch-ua-platform sec-gpc "
    b"x-forwarded-for x-forwarded-proto x-real-ip".split()
)
_PLAIN_HOST = re.compile(rb"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?")
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")


class _Lane:
    """One target's answer, as it is right now. alone: what the shelf's `entries` for the key are, as long as it holds."""

    __slots__ = ("alone", "body", "entries", "entry", "first", "length", "stored", "target", "valid_from", "valid_until")

    def __init__(self, target: bytes, entries: list[Entry], head: bytes, body: bytes, valid_from: float, valid_until: float) -> None:
        self.target = target
        self.entries = entries
        self.alone = entries.copy()
        (self.entry,) = entries
        self.stored = self.entry.stored
        self.length = len(body)
        self.first = head + body if len(body) <= JOINED_BYTES_MAX else head
        self.body = None if len(body) <= JOINED_BYTES_MAX else body
        self.valid_from = valid_from
        self.valid_until = valid_until


class Express:
    """One node's lane. is_open: whether this node serves (a manager with peers redirects; a node that leaves says so in its answers)."""

    def __init__(self, node: Node, name: str, is_open: Callable[[], bool]) -> None:
        self._node = node
        self._name = name
        self._is_open = is_open
        self._lanes: dict[bytes, _Lane | None] = {}
        self._built: deque[_Lane] = deque()
        self._built_bytes = 0
        self._user_agents: dict[bytes, str | None] = {}

    def offer(self, request: Request, found: Found) -> None:
        """The normal way has just answered this with a hit: the next one may take the lane."""
        target = request.target
        if target in self._lanes or len(target) > TARGET_BYTES_MAX or found.forward is not None or not _may_ride(found.entry):
            return
        if target == request.key.encode("ascii") and found.entry.key == request.key:
            if len(self._lanes) >= LANES_MAX:
                del self._lanes[next(iter(self._lanes))]
            self._lanes[target] = None

    def serve(self, transport: Any, client: tuple[str, int] | None, data: bytes) -> bool:
        """Answers the request in `data`; False, with nothing done, where it is not for the lane."""
        line_end = data.find(VERSION, 4, TARGET_BYTES_MAX + len(VERSION) + 4)
        if line_end < 0 or data[:4] != b"GET ":
            return False
        target = data[4:line_end]
        lane = self._lanes.get(target, self)
        if lane is self:
            return False
        block = data[line_end + len(VERSION) :]
        user_agent = self._user_agents.get(block, self)
        if user_agent is self:
            user_agent = self._learn_block(block)
        limits = self._node.limits
        is_up = not is_loopback(client)
        if user_agent is None or not self._is_open() or (is_up and limits.has_up):
            return False
        now = self._node.clock.wall()
        if (
            lane is None
            or not lane.valid_from <= now < lane.valid_until  # type: ignore[union-attr]
            or lane.entry.stored is not lane.stored  # type: ignore[union-attr]
            or lane.entries != lane.alone  # type: ignore[union-attr]
        ):
            lane = self._build(target, now)
            if lane is None:
                return False
        transport.write(lane.first)  # type: ignore[union-attr]
        if lane.body is not None:  # type: ignore[union-attr]
            transport.write(lane.body)  # type: ignore[union-attr]
        if is_up:
            limits.note_up(lane.length)  # type: ignore[union-attr]
        self._note(target, lane.length, client, user_agent, now)  # type: ignore[arg-type,union-attr]
        return True

    def _build(self, target: bytes, now: float) -> _Lane | None:
        """Ask the normal way; but not where it would answer otherwise than with a hit, and so do and count more than looking."""
        key = target.decode("ascii")
        entries = self._node.shelf.find(key)
        stored = entries[0].stored if len(entries) == 1 and _may_ride(entries[0]) else None
        is_hit = stored is not None and is_fresh(stored, now) and parse_target(target, self._node.ignored_query) == key
        request = Request("GET", target, key, ((b"host", b"minicdn"),))
        found = self._node.cache.find_fresh(request) if is_hit else None
        if found is None or stored is None:
            self._lanes.pop(target, None)
            return None
        self._node.counters.add("hits_count", -1)  # counted by _note, like all others
        delivery = deliver(request, found, now, name=self._name, boundary="")
        body = found.entry.body.read_whole() or b""
        age_ticks_at = now + 1.0 - current_age(stored, now) % 1.0
        lane = _Lane(target, entries, response_head(delivery.status, delivery.fields), body, now, min(age_ticks_at, stored.fresh_until))
        self._lanes[target] = lane
        self._keep(lane, now)
        return lane

    def _keep(self, lane: _Lane, now: float) -> None:
        """Lets go of those that were built before, as far as they are over, or too many. They are built again when asked for."""
        built = self._built
        built.append(lane)
        self._built_bytes += lane.length
        while built[0] is not lane and (built[0].valid_until <= now or self._built_bytes > LANES_BYTES_MAX):
            over = built.popleft()
            self._built_bytes -= over.length
            if self._lanes.get(over.target) is over:
                self._lanes[over.target] = None

    def _learn_block(self, block: bytes) -> str | None:
        """The user agent of a plain request's fields; None where they are not plain. The same client sends the same block each time."""
        if len(block) > BLOCK_BYTES_MAX:
            return None
        if len(self._user_agents) >= BLOCKS_MAX:
            self._user_agents.clear()
        found = self._user_agents[block] = parse_plain(block)
        return found

    def _note(self, target: bytes, length: int, client: tuple[str, int] | None, user_agent: str, now: float) -> None:
        node = self._node
        values = node.counters.values
        values["requests_count"] += 1
        values["hits_count"] += 1
        values["bytes_memory"] += length
        if node.on_log is not None:
            host, port = client or ("", 0)
            remote = f"{host}:{port}" if ":" not in host else f"[{host}]:{port}"
            node.on_log(LogLine(target.decode("ascii"), remote, user_agent, True, None, "GET", 200, length, "memory", 0.0, int(now)))


def _may_ride(entry: Entry) -> bool:
    stored, body = entry.stored, entry.body
    return (
        stored is not None
        and entry.head.status == 200
        and stored.selecting == ()
        and not stored.withheld
        and body.is_whole
        and body.medium == "memory"
        and (body.length or 0) <= BODY_BYTES_MAX
    )


def parse_plain(block: bytes) -> str | None:
    """What follows the request line, up to and with the empty line. The user agent ("" where there is none), or None: not plain."""
    if block[-4:] != b"\r\n\r\n":
        return None
    user_agent: str | None = None
    hosts_count = 0
    for line in block[:-4].split(b"\r\n"):
        match = _FIELD.fullmatch(line)
        if match is None:
            return None
        name, value = match.group(1).lower(), match.group(2).rstrip(b" \t")
        if name == b"connection":
            if value.lower() != b"keep-alive":
                return None
        elif name not in _PLAIN_FIELDS:
            return None
        elif name == b"user-agent" and user_agent is None:
            user_agent = value.decode("utf-8", "replace")
        elif name == b"host":
            if not _PLAIN_HOST.fullmatch(value):
                return None
            hosts_count += 1
    return user_agent or "" if hosts_count == 1 else None
