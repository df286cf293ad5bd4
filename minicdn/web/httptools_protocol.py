"""The httptools protocol (see protocol.py for why)."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from minicdn.core.headers import first
from minicdn.web.protocol import HEAD_BYTES_MAX, UNENDING, Connection, ascii_target, decoded, path_of, response_head

BODILESS = (204, 304)
TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}")
PARSED_METHODS = frozenset(
    b"GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH PURGE COPY LOCK MKCOL MOVE PROPFIND PROPPATCH SEARCH UNLOCK BIND REBIND UNBIND "
    b"ACL REPORT MKACTIVITY CHECKOUT MERGE M-SEARCH NOTIFY SUBSCRIBE UNSUBSCRIBE MKCALENDAR LINK UNLINK SOURCE".split()
)
"""Methods that httptools' parser knows."""


class HeadRefused(Exception):
    """Raised inside the parser's callbacks, to stop it."""


class ContentProtocol(HttpToolsProtocol):
    """One connection."""

    _head_bytes = 0
    _used_at = 0.0
    _method: bytes | None = None
    _raw_target: bytes | None = None
    _is_in_head = True
    _refusal = (400, "this is no HTTP request that can be understood")

    def data_received(self, data: bytes) -> None:
        if self._is_in_head:
            if self._serve_express(data):
                return
            if not self._head_bytes:
                data = self._adapted(data)
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX and self.parser is not None:
                # Fed once more all the same: what is there may be the end of a head and the start of a long body.
                self._refusal = (431, f"the request's head is longer than {HEAD_BYTES_MAX} bytes")
                super().data_received(data)
                if self._is_in_head and not self.transport.is_closing():
                    self.send_400_response("")
                return
        super().data_received(data)

    def _adapted(self, data: bytes) -> bytes:
        """A request line as the parser takes it: it knows only registered methods and only ASCII. What it really said is remembered."""
        method, space, rest = data.partition(b" ")
        self._method = self._raw_target = None
        if space and method not in PARSED_METHODS and TOKEN.fullmatch(method):
            self._method, data = method, b"POST " + rest
        line_end = data.find(b"\r\n")
        line = data if line_end < 0 else data[:line_end]
        if not line.isascii():
            self._raw_target = line.partition(b" ")[2].rpartition(b" ")[0]
            data = ascii_target(line) + data[len(line) :]
        return data

    def _serve_express(self, data: bytes) -> bool:
        """A request that came whole, on a connection with nothing else under way, may take the express lane."""
        express = getattr(self.app, "express", None)
        if express is None or self._head_bytes or self.flow.write_paused or self.transport.is_closing():
            return False
        if self.cycle is not None and (not self.cycle.response_complete or not self.cycle.keep_alive):
            return False
        if not express.serve(self.transport, self.client, data):
            return False
        self.server_state.total_requests += 1
        self._used_at = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)
        return True

    def timeout_keep_alive_handler(self) -> None:
        """The lane leaves the timer alone and notes the time: cheaper than a new timer for each request."""
        idle_until = self._used_at + self.timeout_keep_alive
        if idle_until > self.loop.time() + 0.001:
            self.timeout_keep_alive_task = self.loop.call_at(idle_until, self.timeout_keep_alive_handler)
        else:
            super().timeout_keep_alive_handler()

    def on_url(self, url: bytes) -> None:
        self._check_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._check_head(len(name) + len(value))
        super().on_header(name, value.rstrip(b" \t"))

    def on_message_begin(self) -> None:
        self._field_bytes = 0
        super().on_message_begin()

    def _check_head(self, more: int) -> None:
        self._field_bytes += more
        if self._field_bytes > HEAD_BYTES_MAX:
            self._refusal = (431, f"the request's head is longer than {HEAD_BYTES_MAX} bytes")
            raise HeadRefused

    def on_headers_complete(self) -> None:
        coding = first(self.headers, b"transfer-encoding")
        if coding is not None and coding.lower() != b"chunked":
            self._refusal = (501, "the only transfer coding that is understood is chunked")
            raise HeadRefused
        self._is_in_head = False
        self._head_bytes = 0
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]
        version = self.parser.get_http_version()
        target = self.url
        scope["minicdn.target"] = self._raw_target or target
        scope["method"] = (self._method or self.parser.get_method()).decode("ascii")
        self._method = self._raw_target = None
        scope["http_version"] = version
        scope["raw_path"], scope["query_string"] = path_of(target)
        scope["path"] = decoded(scope["raw_path"])
        previous = self.cycle
        cycle = self.cycle = ContentCycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=[],
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        scope["minicdn.connection"] = Connection(self.transport, cycle)
        if previous is None or previous.response_complete:
            self._start_asgi_task(cycle, self.app)
        else:  # pipelined: its turn comes when the one before it is answered
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))

    def on_message_complete(self) -> None:
        self._is_in_head = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what could not be parsed, and close: nobody knows where the next request would begin."""
        status, reason = self._refusal
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.close()  # an answer is under way: another one in its middle would be read as its body
            return
        text = reason.encode() + b"\n"
        fields = ((b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(text)))
        self.transport.write(response_head(status, fields, keeps_alive=False) + text)
        self.transport.close()


class ContentCycle(RequestResponseCycle):
    """One request and its response."""

    _held_head: bytes | None = None

    async def send(self, message: Any) -> None:
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if message["type"] == "http.response.start":
            self._start(message)
        else:
            self._send_body(message.get("body", b""), is_last=not message.get("more_body", False))

    def _start(self, message: Any) -> None:
        if self.response_started:
            raise RuntimeError("a second response to one request")
        self.response_started = True
        self.waiting_for_100_continue = False
        status = message["status"]
        fields = message.get("headers", ())
        self._settle_framing(status, fields)
        head = response_head(status, fields, is_chunked=bool(self.chunked_encoding), keeps_alive=self.keep_alive)
        if message.get("minicdn.is_followed"):
            self._held_head = head
        else:
            self.transport.write(head)

    def _settle_framing(self, status: int, fields: Any) -> None:
        """How the client will know the end of the body (RFC 9112 §6.3), in the terms of uvicorn's cycle."""
        length = first(fields, b"content-length")
        self.chunked_encoding = False
        self.expected_content_length = int(length) if length is not None else 0
        if b"close" in (first(fields, b"connection") or b"").lower():
            self.keep_alive = False
        if self.scope["method"] == "HEAD" or status in BODILESS or status < 200:
            self.expected_content_length = 0
        elif length is None and self.scope["http_version"] == "1.0":
            self.expected_content_length = UNENDING
            self.keep_alive = False
        elif length is None:
            self.chunked_encoding = True

    def _send_body(self, body: bytes, *, is_last: bool) -> None:
        if self.response_complete or not self.response_started:
            raise RuntimeError("a body without a response")
        if self.scope["method"] == "HEAD":
            body = b""
        if self._held_head is not None and self.chunked_encoding:
            self.transport.write(self._held_head)
            self._held_head = None
        if self._held_head is not None:
            self.transport.write(self._held_head + body if len(body) < 65536 else self._held_head)
            self._held_head = None
            if len(body) >= 65536:
                self.transport.write(body)
        elif self.chunked_encoding:
            parts = [b"%x\r\n" % len(body), body, b"\r\n"] if body else []
            if is_last:
                parts.append(b"0\r\n\r\n")
            self.transport.write(b"".join(parts))
        elif body:
            self.transport.write(body)
        if not self.chunked_encoding:
            self.expected_content_length -= len(body)
            if self.expected_content_length < 0:
                raise RuntimeError("a body longer than its Content-Length")
        if is_last:
            self._end()

    def _end(self) -> None:
        if 0 < self.expected_content_length < UNENDING // 2:
            raise RuntimeError("a body shorter than its Content-Length")
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
