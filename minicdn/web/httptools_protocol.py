"""The httptools protocol (see protocol.py for why): one request after the other, each read where the one before it ends."""

from __future__ import annotations

import asyncio
from typing import Any

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from minicdn.core.headers import first
from minicdn.web.answering import Answering
from minicdn.web.direct import Waiting
from minicdn.web.express import Express
from minicdn.web.inflow import Inflow, Refusal
from minicdn.web.pages import plain_socket
from minicdn.web.places import Placed
from minicdn.web.protocol import Connection, decoded, path_of, response_head

EARLY_BYTES_MAX = 64 * 1024
"""Of requests that come while one is being answered; then the client has to wait, too."""
UNWANTED_BYTES_MAX = 1024 * 1024
"""Of a body that is still coming when all is said; a longer one costs the connection."""


class ContentProtocol(Placed, HttpToolsProtocol):
    """One connection. head_seconds: see HEAD_SECONDS."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._express: Express | None = getattr(self.app, "express", None)
        self._inflow = Inflow()
        self._early = b""
        self._next_app: Any = None
        self._plain_fd = -1
        self._unwanted_bytes = 0
        self._is_body_only = False

    # What the transport tells

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._plain_fd = plain_socket(transport)
        self._begin_waits(getattr(self.app, "shedding", None))

    def connection_lost(self, error: Exception | None) -> None:
        self._end_waits()
        self._early = b""
        if isinstance(self.cycle, Waiting):
            self.cycle.disconnect()
        super().connection_lost(error)

    def data_received(self, data: bytes) -> None:
        if self._inflow.is_between and not self._early and not self._is_over and self._serve_express(data):
            return
        self._received_at = self.loop.time()
        if self._early:
            data, self._early = self._early + data, b""
        self._feed(data)

    def _serve_express(self, data: bytes) -> bool:
        """A request that came whole, on a connection with nothing else under way, may take the express lane."""
        express, cycle, transport = self._express, self.cycle, self.transport
        if express is None or (cycle is not None and not cycle.response_complete) or self.flow.write_paused or transport.is_closing():
            return False
        if not express.serve(transport, self.client, data, self._plain_fd):
            direct = getattr(self.app, "direct", None)
            return direct is not None and direct.take(self, data)
        self.server_state.total_requests += 1
        self._used_at = self.loop.time()
        return True

    def answer_by(self, app: Any, data: bytes, *, keeps_alive: bool) -> None:
        """The request in `data`, which was taken by the direct way, is answered by `app` instead, in place of the whole application."""
        self._next_app = app
        self._feed(data)
        if not keeps_alive and self._is_answering:
            self.cycle.keep_alive = False

    def _feed(self, data: bytes) -> None:
        try:
            while data and not self.transport.is_closing():
                if self._inflow.is_between:
                    data = self._begin(data)
                    if not data:
                        break
                size = self._inflow.piece_bytes(data)
                data = self._parse(data[:size]) + data[size:]
        except Refusal as refusal:
            self._refuse(refusal)
        self._watch_head()

    def _begin(self, data: bytes) -> bytes:
        """The next request's turn comes when the one before it is answered, and its first line is there."""
        if self._is_answering:
            self._early = data
            if len(data) > EARLY_BYTES_MAX:
                self.flow.pause_reading()
            return b""
        found = self._inflow.begin(data)
        if not found:
            self._early = data.lstrip(b"\r\n")
        return found

    def _parse(self, data: bytes) -> bytes:
        """Returns what the parser left over. Raises Refusal."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if not self._inflow.is_between:
                self._begin_body()
            return data[upgrade.args[0] :]
        except httptools.HttpParserError as error:
            cause = error.__context__
            raise cause if isinstance(cause, Refusal) else Refusal(400, "this is no HTTP request that can be understood") from None
        return b""

    def _begin_body(self) -> None:
        """Of a request for another protocol, which a server may ignore (RFC 9110 §7.8); the parser believes that its content is already in
        that protocol, so a new one takes over, and is told that it has just read a head."""
        self.parser = httptools.HttpRequestParser(self)
        self._is_body_only = True
        self.parser.feed_data(self._inflow.framing)
        self._is_body_only = False

    def _refuse(self, refusal: Refusal) -> None:
        """Nobody knows where the next request would begin, so the connection ends; after the answer that is under way, if that is whole."""
        is_busy = self._is_answering
        if is_busy and not refusal.text:
            return
        if is_busy and self.cycle.response_started:  # another answer in the middle of this one would be read as its body
            Connection(self.transport, self.cycle).cut()
            return
        if is_busy:
            self.cycle.disconnect()  # type: ignore[attr-defined]
        if refusal.text:
            text = refusal.text.encode() + b"\n"
            fields = ((b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(text)))
            self.transport.write(response_head(refusal.status, fields, keeps_alive=False) + text)
        self.transport.close()

    # What the parser tells

    def on_message_begin(self) -> None:
        if self._is_body_only:
            return
        if self._inflow.is_between:
            # Behind chunks, the parser went on to the next request by itself. The client will see the connection end, and ask again.
            self.cycle.keep_alive = False
            raise Refusal(400, "")
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        if self._is_body_only:
            return
        self._inflow.count_field(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._inflow.count_field(len(name) + len(value))
        if self._inflow.is_in_head:  # what follows the last chunk is no part of the head (RFC 9110 §6.5.1)
            super().on_header(name, value.rstrip(b" \t"))

    def on_headers_complete(self) -> None:
        if self._is_body_only:
            return
        coding = first(self.headers, b"transfer-encoding")
        if coding is not None and coding.lower() != b"chunked":
            raise Refusal(501, "the only transfer coding that is understood is chunked")
        inflow, scope = self._inflow, self.scope
        inflow.end_head(first(self.headers, b"content-length"), is_chunked=coding is not None)
        version = self.parser.get_http_version()
        self._describe(scope, version)  # type: ignore[arg-type]
        self._unwanted_bytes = 0
        cycle = self.cycle = ContentCycle(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=[],
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue and version == "1.1",
            keep_alive=version == "1.1" and self.parser.should_keep_alive() and not self._is_over,
            on_response=self.on_response_complete,
        )
        scope["minicdn.connection"] = Connection(self.transport, cycle)  # type: ignore[typeddict-unknown-key]
        if self._is_over:
            scope["minicdn.is_over"] = True  # type: ignore[typeddict-unknown-key]
        app, self._next_app = self._next_app or self.app, None
        self._start_asgi_task(cycle, app)

    def _describe(self, scope: dict[str, Any], version: str) -> None:
        target = self.url
        scope["minicdn.target"] = self._inflow.target or target
        scope["method"] = (self._inflow.method or self.parser.get_method()).decode("ascii")
        scope["http_version"] = version
        scope["raw_path"], scope["query_string"] = path_of(target)
        scope["path"] = decoded(scope["raw_path"])

    def on_body(self, body: bytes) -> None:
        cycle = self.cycle
        if cycle.response_complete:
            self._unwanted_bytes += len(body)
            if self._unwanted_bytes > UNWANTED_BYTES_MAX:
                self.transport.close()
            return
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        if self._inflow.has_body and self.parser.should_upgrade():
            return
        self._inflow.end()
        self._used_at = self._received_at
        if not self.cycle.response_complete:
            self.cycle.more_body = False
            self.cycle.message_event.set()

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self._used_at = self.loop.time()
        self.flow.resume_reading()
        if self._early:
            early, self._early = self._early, b""
            self._feed(early)

    # Waits

    def _watch_head(self) -> None:
        self._wait_head(is_waiting=self._inflow.is_in_head or (bool(self._early) and not self._is_answering))

    def _refuse_late(self) -> None:
        self._refuse(Refusal(408, "the request's head took too long"))

    @property
    def _is_in_body(self) -> bool:  # type: ignore[override]
        return not self._inflow.is_between and not self._inflow.is_in_head and not self.flow.read_paused


class ContentCycle(Answering, RequestResponseCycle):
    """One request and its response: uvicorn's way in, ours out."""
