"""The direct way: a plain request answered from its bytes, without the server's machinery for requests that may be anything.

It takes what the express lane leaves, as far as nothing about it is special: a GET of a small body that is here, a GET of what is not
here yet, and a peer's question for what is here (peerlane.py). What is said of them is decided where it always is (cache.find_fresh,
cache.begin, deliver); only the way to the socket is shorter. A property test compares it with the normal way.

Who waits for a fill stands in the place of uvicorn's cycle. When the fill has its head, and the body is whole with it, the answer leaves in
one write; whatever else has come of it (an error, a body still on its way, an answer that is not for this one), the request is given to the
normal way after all, which goes on from there.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from minicdn.core.headers import end_to_end
from minicdn.core.logline import SOURCES, address_text, line_of
from minicdn.core.message import Fields, Request
from minicdn.core.target import parse_target
from minicdn.core.via import add_via
from minicdn.errors import ClientError
from minicdn.node.delivery import deliver, lines_behind
from minicdn.node.fill import Outcome
from minicdn.node.found import Begun, Found
from minicdn.node.limits import is_loopback
from minicdn.node.node import Node
from minicdn.store.entry import Entry
from minicdn.web.answering import COPIED_BYTES_MAX
from minicdn.web.content import Content
from minicdn.web.peerlane import RPC_LINE, PeerLane
from minicdn.web.plain import Plain
from minicdn.web.protocol import response_head, whole_head

VERSION = b" HTTP/1.1\r\n"
TARGET_BYTES_MAX = 1024
VERSION_BYTES = len(VERSION)
LINE_BYTES_MAX = TARGET_BYTES_MAX + VERSION_BYTES + 4
_BYTES = {source: f"bytes_{source}" for source in SOURCES}
_NOBODY = ("", 0)


class Direct:
    """Of one node. peers: None where they have to prove who they are."""

    def __init__(self, node: Node, content: Content, peers: PeerLane | None) -> None:
        self.node = node
        self.content = content
        self._express = content.express
        self._peers = peers

    def take(self, connection: Any, data: bytes) -> bool:
        """Answers the request in `data`, now or when there is something to say; False, with nothing done, where it is not for this way.
        connection: a ContentProtocol with nothing else under way."""
        if data[:5] != b"GET /":
            is_taken = self._peers is not None and data.startswith(RPC_LINE) and self._peers.serve(connection.transport, data)
            if is_taken:
                connection.on_response_complete()
            return is_taken
        line_end = data.find(VERSION, 4, LINE_BYTES_MAX)
        plain = self._express.plain(data[line_end + VERSION_BYTES :]) if line_end > 0 else None
        if plain is None or not self._express.is_open() or (self.node.limits.has_up and not is_loopback(connection.client)):
            return False
        request = self._request(data[4:line_end], plain)
        if request is None:
            return False
        entries = self.node.cache.stored_for(request.key)
        if entries:
            return self._serve(connection, request, plain, entries)
        return not plain.asked and self._wait(connection, request, plain, data)

    def _request(self, target: bytes, plain: Plain) -> Request | None:
        try:
            key = parse_target(target, self.node.ignored_query)
        except ClientError:
            return None
        return None if key.startswith("/_") or target.startswith(b"/_") else Request("GET", target, key, plain.fields)

    def _serve(self, connection: Any, request: Request, plain: Plain, entries: list[Entry]) -> bool:
        """A hit, where all that it could be lies in memory."""
        if any(not entry.body.is_whole or entry.body.medium != "memory" for entry in entries):
            return False
        if any(name == b"range" and b"," in value for name, value in plain.asked):
            return False
        found = self.node.cache.find_fresh(request)
        if found is None:
            return False
        self._express.offer(request, found)
        exchange = Waiting(self, connection, request, plain, b"")
        exchange.answer(found)
        return True

    def _wait(self, connection: Any, request: Request, plain: Plain, data: bytes) -> bool:
        waiting = Waiting(self, connection, request, plain, data)
        if self.content.shedding.is_short:
            return False
        begun = self.node.cache.begin(request, waiting.inform)
        if begun is None:
            return False
        connection.cycle = waiting
        waiting.wait(begun)
        return True


class _Quiet:
    """Nobody waits for it."""

    def set(self) -> None:
        pass


class Waiting:
    """One request on the direct way, and what uvicorn's protocol has to know of it."""

    __slots__ = ("_begun", "_begun_at", "_connection", "_data", "_direct", "_plain", "_request", "keep_alive", "response_complete")
    response_started = False
    message_event = _Quiet()

    def __init__(self, direct: Direct, connection: Any, request: Request, plain: Plain, data: bytes) -> None:
        self.keep_alive = True
        self.response_complete = False
        self._direct = direct
        self._connection = connection
        self._request = request
        self._plain = plain
        self._data = data
        self._begun: Begun | None = None
        self._begun_at = direct.node.clock.monotonic()

    @property
    def scope(self) -> dict[str, Any]:
        """As far as it is asked for while a server closes."""
        return {"path": self._request.key}

    def wait(self, begun: Begun) -> None:
        self._begun = begun
        begun.fill.join()
        begun.fill.when_answered(self._end_wait)

    def inform(self, status: int, fields: Fields) -> None:
        """An interim answer of the upstream's goes on to its client; nothing of it is kept."""
        transport = self._connection.transport
        if not self.response_complete and not transport.is_closing():
            transport.write(response_head(status, add_via(end_to_end(fields), self._direct.content.name)))

    def disconnect(self) -> None:
        """The client has left. Idempotent."""
        if self.response_complete:
            return
        self.response_complete = True
        if self._begun is not None:
            self._begun.fill.not_when_answered(self._end_wait)
            self._begun.fill.release()
        self._note(0, 0, "none", self._direct.node.clock.wall())

    def _end_wait(self) -> None:
        if self.response_complete:
            return
        if self._connection.transport.is_closing():  # which the connection hears of in a moment; nobody would go on with the request
            self.disconnect()
            return
        begun = self._begun
        assert begun is not None
        outcome = begun.fill.outcome
        assert outcome is not None
        self._begun = None  # the fill knows this request, for interim answers: that circle would wait for the collector, body and all
        limits, client = self._direct.node.limits, self._connection.client
        is_short = _is_short(outcome) and not (limits.has_up and not is_loopback(client))
        found = self._direct.node.cache.settle(begun) if is_short else None
        if found is not None:
            self.answer(found)
            return
        self.response_complete = True
        answer = partial(self._direct.content.go_on, begun=begun, begun_at=self._begun_at)
        self._connection.answer_by(answer, self._data, keeps_alive=self.keep_alive)

    def answer(self, found: Found) -> None:
        """In one write. What was found lies in memory, whole."""
        node, connection = self._direct.node, self._connection
        now = node.clock.wall()
        status, head, content = self._said(found, now)
        found.release()
        self.response_complete = True
        transport, length = connection.transport, len(content)
        if length < COPIED_BYTES_MAX:
            transport.write(head + content)
        else:
            transport.write(head)
            transport.write(content)
        if not self.keep_alive:
            transport.close()
        if not is_loopback(connection.client):
            node.limits.note_up(length)
        self._note(status, length, found.source, now)
        connection.on_response_complete()

    def _said(self, found: Found, now: float) -> tuple[int, bytes, Any]:
        """Status, head and content."""
        name, body = self._direct.content.name, found.entry.body
        more = None if self._plain.asked else lines_behind(found, now, name)
        if more is not None:
            head = found.entry.stored.head  # type: ignore[union-attr] # the entry's own may be as the upstream sent it, where it is not kept
            length = body.length if head.status not in (204, 304) else None
            return head.status, whole_head(head.status, head.fields, more, length, keeps_alive=self.keep_alive), body.read_whole() or b""
        delivery = deliver(self._request, found, now, name=name, boundary="")
        written = response_head(delivery.status, delivery.fields, keeps_alive=self.keep_alive)
        if not delivery.parts:
            return delivery.status, written, b""
        part, content = delivery.parts[0], body.read_whole() or b""
        return delivery.status, written, content if part.end is None else memoryview(content)[part.start : part.end]

    def _note(self, status: int, sent_bytes: int, source: str, now: float) -> None:
        node = self._direct.node
        values = node.counters.values
        values["requests_count"] += 1
        if status >= 400:
            values["responses_4xx_count"] += 1
        if source != "none":
            values[_BYTES[source]] += sent_bytes
        if node.on_log is None:
            return
        remote = address_text(*(self._connection.client or _NOBODY))
        is_sent, seconds = 0 < status < 400, node.clock.monotonic() - self._begun_at
        line = (self._request.key, remote, self._plain.user_agent, is_sent, None, "GET", status, sent_bytes, source, seconds, int(now))
        node.on_log(line_of(line))


def _is_short(outcome: Outcome) -> bool:
    """Whether there is nothing to be said of a fill's outcome but its bytes, and they are here."""
    entry = outcome.entry
    if entry is None or outcome.is_stale or outcome.is_confirmed:
        return False
    return entry.head.status == 200 and entry.body.is_whole and entry.body.medium == "memory"
