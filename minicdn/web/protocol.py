"""uvicorn's HTTP protocols, taught what a cache needs: the target as it came, and a way to cut a connection so that nobody can
mistake a broken body for a whole one."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

UNENDING = 1 << 62
"""Bytes that uvicorn may still expect in a body that ends with its connection."""


def protocol_class() -> type[asyncio.Protocol]:
    """The quickest that is installed: httptools, else pure Python."""
    try:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
    except ImportError:
        return _h11_protocol_class()

    class ContentProtocol(HttpToolsProtocol):
        def on_headers_complete(self) -> None:
            target = self.url
            self.scope["minicdn.target"] = target  # type: ignore[typeddict-unknown-key]
            if not target.isascii():
                self.url = b"".join(b"%c" % octet if octet < 128 else b"%%%02X" % octet for octet in target)
            super().on_headers_complete()
            self.scope["minicdn.connection"] = Connection(self.transport, self.cycle)  # type: ignore[typeddict-unknown-key]

    return ContentProtocol


def _h11_protocol_class() -> type[asyncio.Protocol]:
    from uvicorn.protocols.http.h11_impl import H11Protocol

    return H11Protocol


class Connection:
    """What a handler may do to the connection that a response goes out on."""

    __slots__ = ("_cycle", "_transport")

    def __init__(self, transport: asyncio.Transport, cycle: Any) -> None:
        self._transport = transport
        self._cycle = cycle

    def end_with_close(self) -> None:
        """Call before the response starts: its body ends where the connection does (HTTP/1.0, no length known)."""
        self._cycle.keep_alive = False
        self._cycle.chunked_encoding = False
        self._cycle.expected_content_length = UNENDING

    def ended(self) -> None:
        """Such a body is at its end."""
        self._cycle.expected_content_length = 0

    def cut(self) -> None:
        """The body broke off. A length or chunks tell the client, once what was sent has left; where the end of the connection would
        look like the end of the body, the connection is reset."""
        self._cycle.disconnected = True
        if self._cycle.expected_content_length < UNENDING // 2:
            self._transport.close()
            return
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()


def target_of(scope: dict[str, Any]) -> bytes:
    """The request's target, byte for byte (but for an empty query, where the pure-Python protocol is used)."""
    target: bytes | None = scope.get("minicdn.target")
    if target is None:
        query = scope["query_string"]
        target = scope["raw_path"] + (b"?" + query if query else b"")
    return target
