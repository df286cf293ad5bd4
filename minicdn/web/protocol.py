"""uvicorn's HTTP protocols, taught what a cache needs.

Of uvicorn's httptools protocol we keep the connection: parsing, keep-alive, pipelining, flow control, shutdown. Ours are the head's
way in (the target byte for byte, a bound on the head) and the response's way out: names as the upstream wrote them, any status, head
and a whole body in one write, a body without length to an HTTP/1.0 client, and a cut that nobody can mistake for an end.

Without httptools (pure Python) uvicorn's h11 protocol serves (h11_protocol.py): the same answers, with less refinement.
"""

from __future__ import annotations

import asyncio
import http
import re
import socket
import struct
from functools import lru_cache
from itertools import compress
from typing import Any
from urllib.parse import unquote

from minicdn.core.message import Fields
from minicdn.core.names import Names, by_names
from minicdn.web.pages import plain_socket

HEAD_BYTES_MAX = 64 * 1024
"""Request line and header fields together."""
HEAD_SECONDS = 30.0
"""A head that is not whole after this time is answered 408."""
UNENDING = 1 << 62
"""Expected bytes of a body that ends with its connection."""
NOTSENT_LOWAT = getattr(socket, "TCP_NOTSENT_LOWAT", 25 if hasattr(socket, "TCP_INFO") else None)
_NOT_ASCII = re.compile(rb"[\x80-\xff]")
_BREAKS = re.compile(rb"[\r\n\0]")
_OWN = frozenset((b"connection", b"transfer-encoding"))
_OWN_AND_LENGTH = _OWN | {b"content-length"}
_COLON_JOIN = b": ".join
WRITTEN_MAX = 512
"""Of what answers have in common, some lines each."""

Lines = tuple[tuple[bytes, bytes], ...]


def protocol_class() -> type[asyncio.Protocol]:
    """The quickest that is installed: httptools, else pure Python."""
    try:
        from minicdn.web.httptools_protocol import ContentProtocol
    except ImportError:
        from minicdn.web.h11_protocol import PlainProtocol

        return PlainProtocol
    return ContentProtocol


class Connection:
    """What a handler may do to the connection that its response goes out on."""

    __slots__ = ("_cycle", "_transport")

    def __init__(self, transport: asyncio.Transport, cycle: Any) -> None:
        self._transport = transport
        self._cycle = cycle

    def inform(self, status: int, fields: Fields) -> None:
        """An interim answer, where the client can still be given one; a client of HTTP/1.0 can't (RFC 9110 §15.2)."""
        cycle = self._cycle
        if cycle.response_started or cycle.disconnected or self._transport.is_closing() or cycle.scope["http_version"] == "1.0":
            return
        self._transport.write(response_head(status, fields))

    @property
    def is_full(self) -> bool:
        """Whether what is sent now has to wait for the client."""
        return bool(self._cycle.flow.write_paused)

    def bound_unsent(self, bytes_max: int) -> None:
        """At most so many bytes wait in the kernel to be sent for the first time; from now on, as long as the connection lasts."""
        protocol: Any = self._transport.get_protocol()
        if getattr(protocol, "unsent_bytes_max", None) == bytes_max:
            return
        protocol.unsent_bytes_max = bytes_max
        sock = self._transport.get_extra_info("socket")
        if sock is not None and NOTSENT_LOWAT is not None:
            try:
                sock.setsockopt(socket.IPPROTO_TCP, NOTSENT_LOWAT, bytes_max)
            except OSError:
                pass  # a system without it: the uplink is then measured less well, that is all

    @property
    def has_all(self) -> bool:
        """Whether all of the request has come."""
        return not self._cycle.more_body

    @property
    def can_send_files(self) -> bool:
        """Whether the body that is under way may go from a file to the socket in the kernel."""
        send_file = getattr(self._cycle, "send_file", None)
        return send_file is not None and self._cycle.may_send_files(plain_socket(self._transport))

    async def send_file(self, file: int, offset: int, count: int, stall_seconds: float) -> int:
        """How many of these bytes were sent: fewer where the file is shorter. Waits while the client is slow; raises TimeoutError where
        it takes nothing for that long, another OSError where it is gone."""
        return await self._cycle.send_file(file, offset, count, stall_seconds)

    def cut(self) -> None:
        """The body broke off. A length or chunks tell the client, once what was sent has left; where the end of the connection would
        look like the end of the body, the connection is reset."""
        self._cycle.disconnected = True
        self._cycle.message_event.set()
        if self._cycle.expected_content_length < UNENDING // 2:
            self._transport.close()
            return
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()


@lru_cache(1024)
def status_line(status: int) -> bytes:
    """Statuses without a registered phrase have none."""
    try:
        phrase = http.HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}".encode("ascii")


@by_names
def _kept(names: Names) -> tuple[bool, ...] | None:
    """Which lines are not about a connection; None: all of them."""
    kept = tuple([name.lower() not in _OWN for name in names])
    return None if all(kept) else kept


def response_head(status: int, fields: Fields, *, is_chunked: bool = False, keeps_alive: bool = True) -> bytes:
    """A response's head on the wire: names as they are, values on one line, and the fields that belong to this connection."""
    kept = _kept(fields)
    lines = list(map(_COLON_JOIN, fields if kept is None else compress(fields, kept)))
    text = b" ".join(lines)
    if b"\n" in text or b"\r" in text or b"\0" in text:
        whole = [(_BREAKS.sub(b"", name), _BREAKS.sub(b" ", value)) for name, value in fields]
        return response_head(status, whole, is_chunked=is_chunked, keeps_alive=keeps_alive)
    if is_chunked:
        lines.append(b"transfer-encoding: chunked")
    if not keeps_alive:
        lines.append(b"connection: close")
    return b"\r\n".join((status_line(status), *lines, b"\r\n"))


@by_names
def _kept_beside_length(names: Names) -> tuple[bool, ...] | None:
    """The same, without Content-Length."""
    kept = tuple([name.lower() not in _OWN_AND_LENGTH for name in names])
    return None if all(kept) else kept


def whole_head(status: int, fields: Fields, more: Lines, length: int | None, *, keeps_alive: bool = True) -> bytes:
    """response_head() of the same lines without their Content-Length, then `more`, then the length as it is here. more: lines that other
    answers have, too; they are written once."""
    kept = _kept_beside_length(fields)
    lines = list(map(_COLON_JOIN, fields if kept is None else compress(fields, kept)))
    text = b" ".join(lines)
    if b"\n" in text or b"\r" in text or b"\0" in text:
        rest = [line for line in fields if line[0].lower() != b"content-length"]
        sized = [*rest, *more] if length is None else [*rest, *more, (b"Content-Length", b"%d" % length)]
        return response_head(status, sized, keeps_alive=keeps_alive)
    lines.append(_written(more))
    if length is not None:
        lines.append(b"Content-Length: %d" % length)
    if not keeps_alive:
        lines.append(b"connection: close")
    return b"\r\n".join((status_line(status), *lines, b"\r\n"))


@lru_cache(WRITTEN_MAX)
def _written(lines: Lines) -> bytes:
    return b"\r\n".join([_BREAKS.sub(b"", name) + b": " + _BREAKS.sub(b" ", value) for name, value in lines])


def path_of(target: bytes) -> tuple[bytes, bytes]:
    """Raw path and query of an origin-form target; of anything else, the whole as the path."""
    path, _, query = target.partition(b"?")
    return path, query


def ascii_target(raw: bytes) -> bytes:
    """The same with octets beyond ASCII percent-encoded."""
    return _NOT_ASCII.sub(lambda octet: b"%%%02X" % octet.group()[0], raw)


def decoded(raw_path: bytes) -> str:
    path = raw_path.decode("latin-1")
    return unquote(path) if "%" in path else path


def target_of(scope: dict[str, Any]) -> bytes:
    """The request's target, byte for byte (but for an empty query, where the pure-Python protocol is used)."""
    target: bytes | None = scope.get("minicdn.target")
    if target is None:
        query = scope["query_string"]
        target = scope["raw_path"] + (b"?" + query if query else b"")
    return target
