"""The express lane: a plain GET or HEAD of a small, whole, fresh body in memory, answered as soon as its bytes arrive.

The lane decides nothing itself. What it sends was built by the normal way (find_fresh, deliver, the head's writer) and is sent
again as long as that way could not answer otherwise: until the Age ticks, the lifetime ends, or the shelf holds another entry or
other facts for the key (a purge, an update, an eviction). So nobody has to tell the lane of anything.

A request is plain (plain.py) when nothing in it could change the answer but an If-None-Match or a Range; what was said to each of
these is kept beside the whole answer, and holds as long. Entries that vary never take the lane, nor does what may have to wait for a
capped uplink, nor an answer that is an error or has several parts. Everything else falls through to the normal way.

An answer is good for a second at most, and is let go of when others are built after that: the lane holds what was asked for just now, and
no more of it than LANES_BYTES_MAX, whatever the shelf has evicted meanwhile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from minicdn.core.freshness import current_age, is_fresh
from minicdn.core.logline import address_text, line_of
from minicdn.core.message import Request
from minicdn.core.target import parse_target
from minicdn.node.delivery import Delivery, deliver
from minicdn.node.found import Found
from minicdn.node.limits import is_loopback
from minicdn.node.node import Node
from minicdn.store.entry import Entry
from minicdn.web.pages import HAS_PAGES, HEADED_BYTES_MAX, PAGES_BYTES_MIN, Pages, Room, send_pages
from minicdn.web.plain import Asked, Plain, parse_plain
from minicdn.web.protocol import response_head

LANES_MAX = 16_384
LANES_BYTES_MAX = 32 * 1024 * 1024
"""Of bodies in the lane."""
BLOCKS_MAX = 4096
CLIENTS_MAX = 4096
TARGET_BYTES_MAX = 1024
BLOCK_BYTES_MAX = 4096
"""Longer ones go the normal way."""
JOINED_BYTES_MAX = 16 * 1024
"""Head and body of up to this size are kept joined, for one write without copying."""
PAGES_MAX = 64
"""Answers at a time that have pages: those that are asked for most have them first."""
BARE_USES, HEADED_USES = 2, 8
"""The use for which pages are made: of a body, and of an answer with its head, which is over after a second."""
BODY_BYTES_MAX = 1024 * 1024
"""For a larger one the normal way's cost does not show."""
VERSION = b" HTTP/1.1\r\n"
VERSION_BYTES = len(VERSION)
LINE_BYTES_MAX = TARGET_BYTES_MAX + VERSION_BYTES + 5
OTHERS_MAX = 16
"""Answers to HEAD, If-None-Match and Range beside the whole one."""
_METHODS = {b"GET /": (4, "GET"), b"HEAD ": (5, "HEAD")}
_NO_METHOD = (0, "")
_NOBODY = ("", 0)
_HOST_ONLY = ((b"host", b"minicdn"),)


class _Said:
    """An answer's octets. length: of its content. uses_count: pages are made for what is sent again, and only then."""

    __slots__ = ("body", "first", "is_headed", "length", "pages", "status", "uses_count")

    def __init__(self, status: int, head: bytes, body: Any) -> None:
        is_joined = len(body) <= JOINED_BYTES_MAX
        self.status = status
        self.length = len(body)
        self.first = head + body if is_joined else head
        self.body = None if is_joined else body
        self.is_headed = len(body) <= HEADED_BYTES_MAX
        self.pages: Pages | None = None
        self.uses_count = 0

    def take_pages(self, earlier: _Said) -> None:
        """The same body as a moment ago, but not the same head."""
        if not self.is_headed and earlier.body is self.body:
            self.pages, self.uses_count = earlier.pages, earlier.uses_count

    def send(self, transport: Any, fd: int, room: Room) -> None:
        body = self.body
        if body is None:
            transport.write(self.first)
        elif fd < 0 or (self.pages is None and not self._make_pages(room)) or transport.get_write_buffer_size():
            transport.writelines((self.first, body))
        elif self.is_headed:
            self._send_headed(transport, fd)
        else:
            sent_bytes = send_pages(transport, fd, self.first, self.pages.fd, 0, self.length)  # type: ignore[union-attr]
            if sent_bytes < self.length:
                transport.write(memoryview(body)[sent_bytes:])

    def _send_headed(self, transport: Any, fd: int) -> None:
        head_bytes = len(self.first)
        whole_bytes = head_bytes + self.length
        sent_bytes = send_pages(transport, fd, b"", self.pages.fd, 0, whole_bytes)  # type: ignore[union-attr]
        if sent_bytes < head_bytes:
            transport.writelines((self.first[sent_bytes:], self.body))
        elif sent_bytes < whole_bytes:
            transport.write(memoryview(self.body)[sent_bytes - head_bytes :])

    def _make_pages(self, room: Room) -> bool:
        """Whether there are now some. They take as long to make as one use saves, or eight."""
        self.uses_count += 1
        is_due = self.length >= PAGES_BYTES_MIN and self.uses_count >= (HEADED_USES if self.is_headed else BARE_USES)
        if not is_due or not HAS_PAGES or room.left_count <= 0:
            return False
        try:
            self.pages = Pages(room, self.first, self.body) if self.is_headed else Pages(room, self.body)
        except OSError:
            self.uses_count = 0
            return False
        return True


class _Lane:
    """One target's answers, as they are right now. alone: what the shelf's `entries` for the key are, as long as they hold."""

    __slots__ = ("alone", "entries", "entry", "length", "others", "stored", "target", "valid_from", "valid_until", "whole")

    def __init__(self, target: bytes, entries: list[Entry], whole: _Said, valid_from: float, valid_until: float) -> None:
        self.target = target
        self.entries = entries
        self.alone = entries.copy()
        (self.entry,) = entries
        self.stored = self.entry.stored
        self.whole = whole
        self.length = whole.length
        self.others: dict[tuple[str, Asked], _Said | None] = {}
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
        self._room = Room(PAGES_MAX)
        self._blocks: dict[bytes, Plain | None] = {}
        self._clients: dict[tuple[str, int] | None, tuple[bool, str]] = {}
        """Whether what is sent there goes up, and the address as the log has it."""

    def is_open(self) -> bool:
        """Whether plain requests may be answered here."""
        return self._is_open()

    def plain(self, block: bytes) -> Plain | None:
        """What follows a request line, where it is plain."""
        found = self._blocks.get(block, self)
        return self._learn_block(block) if found is self else found  # type: ignore[return-value]

    def offer(self, request: Request, found: Found) -> None:
        """The normal way has just answered this with a hit: the next one may take the lane."""
        target = request.target
        if target in self._lanes or len(target) > TARGET_BYTES_MAX or found.forward is not None or not _may_ride(found.entry):
            return
        if target == request.key.encode("ascii") and found.entry.key == request.key:
            if len(self._lanes) >= LANES_MAX:
                del self._lanes[next(iter(self._lanes))]
            self._lanes[target] = None

    def serve(self, transport: Any, client: tuple[str, int] | None, data: bytes, fd: int = -1) -> bool:
        """Answers the request in `data`; False, with nothing done, where it is not for the lane. fd: pages.plain_socket()."""
        line_end = data.find(VERSION, 4, LINE_BYTES_MAX)
        start, method = _METHODS.get(data[:5], _NO_METHOD)
        if line_end < 0 or not start:
            return False
        target = data[start:line_end]
        lane = self._lanes.get(target, self)
        if lane is self:
            return False
        block = data[line_end + VERSION_BYTES :]
        plain = self._blocks.get(block, self)
        if plain is self:
            plain = self._learn_block(block)
        limits = self._node.limits
        is_up, remote = self._clients.get(client) or self._learn_client(client)
        if plain is None or not self._is_open() or (is_up and limits.has_up):
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
        said = lane.whole if start == 4 and not plain.asked else self._said_otherwise(lane, method, plain.asked, now)  # type: ignore[union-attr]
        if said is None:
            return False
        said.send(transport, fd, self._room)
        if is_up:
            limits.note_up(said.length)
        self._note(lane.entry.key, method, said, remote, plain.user_agent, now)  # type: ignore[union-attr]
        return True

    def _build(self, target: bytes, now: float) -> _Lane | None:
        """Ask the normal way; but not where it would answer otherwise than with a hit, and so do and count more than looking."""
        key = target.decode("ascii")
        entries = self._node.shelf.find(key)
        stored = entries[0].stored if len(entries) == 1 and _may_ride(entries[0]) else None
        is_hit = stored is not None and is_fresh(stored, now) and parse_target(target, self._node.ignored_query) == key
        whole = self._ask(Request("GET", target, key, _HOST_ONLY), entries[0], now) if is_hit else None
        if whole is None or stored is None:
            self._lanes.pop(target, None)
            return None
        earlier = self._lanes.get(target)
        if earlier is not None:
            whole.take_pages(earlier.whole)
        age_ticks_at = now + 1.0 - current_age(stored, now) % 1.0
        lane = _Lane(target, entries, whole, now, min(age_ticks_at, stored.fresh_until))
        self._lanes[target] = lane
        self._keep(lane, now)
        return lane

    def _said_otherwise(self, lane: _Lane, method: str, asked: Asked, now: float) -> _Said | None:
        """What the normal way says to another request than a plain GET; None: let it speak for itself."""
        known = lane.others.get((method, asked), self)
        if known is self:
            if len(lane.others) >= OTHERS_MAX:
                lane.others.clear()
            request = Request(method, lane.target, lane.entry.key, (*_HOST_ONLY, *asked))
            known = lane.others[method, asked] = self._ask(request, lane.entry, now)
        return known  # type: ignore[return-value]

    def _ask(self, request: Request, entry: Entry, now: float) -> _Said | None:
        """The normal way's answer, where it is a hit on this very entry that can be said again."""
        found = self._node.cache.find_fresh(request)
        if found is None:
            return None
        self._node.counters.add("hits_count", -1)  # counted by _note, like all others
        if found.entry is not entry:
            return None
        delivery = deliver(request, found, now, name=self._name, boundary="")
        if delivery.status >= 400 or len(delivery.parts) > 1 or delivery.after:
            return None
        head = response_head(delivery.status, delivery.fields)
        return _Said(delivery.status, head, _content(delivery, found.entry.body.read_whole() or b""))

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

    def _learn_block(self, block: bytes) -> Plain | None:
        """A plain request's fields; None where they are not plain. The same client sends the same block each time."""
        if len(block) > BLOCK_BYTES_MAX:
            return None
        if len(self._blocks) >= BLOCKS_MAX:
            self._blocks.clear()
        found = self._blocks[block] = parse_plain(block)
        return found

    def _learn_client(self, client: tuple[str, int] | None) -> tuple[bool, str]:
        if len(self._clients) >= CLIENTS_MAX:
            self._clients.clear()
        found = self._clients[client] = (not is_loopback(client), address_text(*(client or _NOBODY)))
        return found

    def _note(self, key: str, method: str, said: _Said, remote: str, user_agent: str, now: float) -> None:
        node, length = self._node, said.length
        values = node.counters.values
        values["requests_count"] += 1
        values["hits_count"] += 1
        values["bytes_memory"] += length
        if node.on_log is not None:
            line = (key, remote, user_agent, True, None, method, said.status, length, "memory", 0.0, int(now))
            node.on_log(line_of(line))


def _content(delivery: Delivery, whole: bytes) -> Any:
    """Of one part at most."""
    if not delivery.parts:
        return b""
    (part,) = delivery.parts
    end = len(whole) if part.end is None else part.end
    return whole if end - part.start == len(whole) else memoryview(whole)[part.start : end]


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
