"""The pure-Python protocol, where httptools is missing: uvicorn's own around h11, and what a cache can't do without.

That is the target byte for byte, interim answers, a cut that nobody can mistake for an end, a deadline for each wait of a connection for
its client to say something, and heads that can be read in one way only: h11 is lenient with some (RFC 9112 §2.2, §5.2, §6.3), and what two
readers of one connection take for different requests is how requests are smuggled. Slower than httptools_protocol.py, no express
lane, no files from the kernel's pages; the answers are the same.
"""

from __future__ import annotations

import re
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from minicdn.core.headers import has
from minicdn.web.places import Placed
from minicdn.web.protocol import HEAD_BYTES_MAX, UNENDING, Connection, response_head

HEAD_END = b"\r\n\r\n"
_BARE_LF = re.compile(rb"(?<!\r)\n")
_BARE_CR = re.compile(rb"\r(?!\n)")
_FOLDED = re.compile(rb"\r\n[ \t]")
_FRAMING = re.compile(rb"\r\n(content-length|transfer-encoding):([^\r]*)", re.IGNORECASE)
_OLD = re.compile(rb"[^\r]* HTTP/1\.0\r\n")


class _Reading(h11.Connection):
    """Keeps the target of the request under way as it came, and reads no head that is not strict. status: of the refusal."""

    target = b""
    status = 400
    _checked_bytes = 0

    def next_event(self) -> Any:
        if self.their_state is h11.IDLE:
            octets = self.trailing_data[0]
            head = octets.lstrip(b"\r\n")  # RFC 9112 §2.2; h11 takes an empty line for a request
            if len(head) < len(octets):
                self._receive_buffer._extract(len(octets) - len(head))
            self._check(head)
        event = super().next_event()
        if isinstance(event, h11.Request):
            self.target = event.target
            self._checked_bytes = 0
        return event

    def _check(self, octets: bytes) -> None:
        """What was looked at before is not looked at again, however small the pieces are that a head comes in."""
        since, self._checked_bytes = max(self._checked_bytes - len(HEAD_END), 0), len(octets)
        end = octets.find(HEAD_END, since)
        size = len(octets) if end < 0 else end + 2
        if size > HEAD_BYTES_MAX:
            self.status = 431
            raise h11.RemoteProtocolError("the request's head is too long")
        if _BARE_LF.search(octets, since, size) or (end >= 0 and not _is_strict(octets[:size])):
            raise h11.RemoteProtocolError("a head that can be read in two ways")


def _is_strict(head: bytes) -> bool:
    framing = _FRAMING.findall(head)
    is_coded = any(name.lower() == b"transfer-encoding" for name, _ in framing)
    if len(framing) > 1 or (framing and b"," in framing[0][1]) or (is_coded and _OLD.match(head)):
        return False
    return not _BARE_CR.search(head) and not _FOLDED.search(head)


class PlainProtocol(Placed, H11Protocol):
    """One connection."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.conn = self._reading = _Reading(h11.SERVER, HEAD_BYTES_MAX)

    @property
    def app(self) -> Any:
        """What uvicorn calls; who exchanges the application (server.py does, while it closes) exchanges what is behind it."""
        return self._answer

    @app.setter
    def app(self, content: Any) -> None:
        self._content = content

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._begin_waits(getattr(self._content, "shedding", None))

    def connection_lost(self, error: Exception | None) -> None:
        self._end_waits()
        super().connection_lost(error)

    def data_received(self, data: bytes) -> None:
        self._received_at = self.loop.time()
        super().data_received(data)
        self._watch_head()

    def on_response_complete(self) -> None:
        self._used_at = self.loop.time()
        super().on_response_complete()
        self._unset_keepalive_if_required()  # a body that is still to come would end that wait, and nothing begin it again
        self._watch_head()

    def send_400_response(self, msg: str) -> None:
        """Nobody knows where the next request would begin, so the connection ends; in the middle of an answer by a cut."""
        cycle: Any = self.cycle
        if self._is_answering:
            if cycle.response_started:
                Connection(self.transport, cycle).cut()
                return
            cycle.disconnected = True
            cycle.message_event.set()
        self._refuse(self._reading.status, "this is no HTTP request that can be understood")

    def _refuse(self, status: int, text: str) -> None:
        content = text.encode() + b"\n"
        fields = ((b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(content)))
        self.transport.write(response_head(status, fields, keeps_alive=False) + content)
        self.transport.close()

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        """The application, told of the connection. A request's turn comes when the one before it is answered, so the cycle is its own."""
        cycle: Any = self.cycle
        cycle.expected_content_length = 0
        scope["minicdn.target"] = self._reading.target
        scope["minicdn.connection"] = Connection(self.transport, cycle)
        if self._is_over:
            scope["minicdn.is_over"] = True

        async def send_noting(message: Any) -> None:
            if message["type"] == "http.response.start":
                fields = message.get("headers", ())
                if scope["http_version"] == "1.0" and not has(fields, b"content-length"):
                    cycle.expected_content_length = UNENDING  # its end will be the connection's
                if self._is_over:
                    message = {**message, "headers": [*fields, (b"connection", b"close")]}
            await send(message)

        await self._content(scope, receive, send_noting)

    def _watch_head(self) -> None:
        self._wait_head(is_waiting=self.conn.their_state is h11.IDLE and bool(self.conn.trailing_data[0]))

    def _refuse_late(self) -> None:
        self._refuse(408, "the request's head took too long")

    @property
    def _is_in_body(self) -> bool:  # type: ignore[override]
        return self.conn.their_state is h11.SEND_BODY and not self.flow.read_paused
