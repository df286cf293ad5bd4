"""The content door: plain ASGI. What is asked is parsed, what the desk found is sent, and a line is logged; no rule lives here."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from secrets import token_hex
from typing import Any

from minicdn.core.cachestatus import add_cache_status, cache_status
from minicdn.core.headers import end_to_end, first, has
from minicdn.core.logline import LogLine, address_text, parse_header_data
from minicdn.core.message import Fields, Request
from minicdn.core.target import parse_target, split_absolute
from minicdn.core.via import add_via, has_passed
from minicdn.errors import BrokenBody, ClientError, CopyLost, MinicdnError
from minicdn.node.delivery import Delivery, Part, deliver
from minicdn.node.found import Begun, Found
from minicdn.node.limits import is_loopback
from minicdn.node.mending import rest_of
from minicdn.node.node import Node
from minicdn.node.passing import Uploads, passed_fields
from minicdn.node.patience import PatientUpstream
from minicdn.node.reading import FollowingReader
from minicdn.node.suppliers import full_key
from minicdn.web.express import Express
from minicdn.web.protocol import Connection, target_of
from minicdn.web.shedding import Shedding
from minicdn.web.status import retry_fields, status_of, text_fields
from minicdn.web.watching import ClientGone, Receive, Scope, Send, watching

_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]+)?(?::[0-9]*)?")
"""RFC 9110 §7.2: uri-host [ ":" port ]."""


class Content:
    """Serves content from a node, to one client at a time per call."""

    def __init__(self, node: Node, shedding: Shedding, is_open: Callable[[], bool] = lambda: True) -> None:
        """is_open: whether plain hits may take the express lane."""
        self._node = node
        self.shedding = shedding
        self.name = f"minicdn-{node.id}"
        """This node's pseudonym in Via and Cache-Status."""
        self.express = Express(node, self.name, is_open)
        self._uploads = Uploads(node.settings.upstream_connections_max, node.settings.upstream_read_seconds)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, from its head to its log line."""
        await self._respond(Response(self._node, scope, receive, send), self._answer)

    async def go_on(self, scope: Scope, receive: Receive, send: Send, *, begun: Begun, begun_at: float) -> None:
        """The same where the request's fill is under way already (direct.py). begun_at: monotonic, of the request."""
        response = Response(self._node, scope, receive, send, begun_at=begun_at)
        await self._respond(response, partial(self._answer_begun, begun=begun))

    async def _respond(self, response: Response, answer: Callable[[Response], Awaitable[None]]) -> None:
        try:
            await answer(response)
        except MinicdnError as error:
            await response.refuse(*status_of(error), retry_fields(error))
        except ClientGone:
            pass
        finally:
            response.log()

    async def _answer(self, response: Response) -> None:
        self.shedding.check(response.scope)
        request = response.request = parse_request(response.scope, self._node.ignored_query)
        if has_passed(request.fields, self.name):
            raise ClientError(508, "this request has been here before: the upstream leads back to this node")
        if request.method not in ("GET", "HEAD"):
            self.shedding.check_memory()
            await self._pass(response, request)
            return
        found = self._node.cache.find_fresh(request)
        if found is not None and found.entry.body.is_whole:
            self.express.offer(request, found)
            await self._send(response, request, found)
            return
        self.shedding.check_memory()
        async with watching(response.receive):
            if found is None:
                found = await self._node.cache.find(request, on_interim=response.inform)
            await self._send(response, request, found)

    async def _answer_begun(self, response: Response, begun: Begun) -> None:
        response.request = begun.request
        async with watching(response.receive):
            found = await self._node.cache.go_on(begun, response.inform)
            await self._send(response, begun.request, found)

    async def _send(self, response: Response, request: Request, found: Found) -> None:
        try:
            response.source = found.source
            now = self._node.clock.wall()
            delivery = deliver(request, found, now, name=self.name, boundary=token_hex(16))
            if not delivery.parts:
                found.release()
                await response.start(delivery.status, delivery.fields, is_followed=True)
                await response.end()
                return
            await self._send_parts(response, request, found, delivery)
        finally:
            found.release()

    async def _send_parts(self, response: Response, request: Request, found: Found, delivery: Delivery) -> None:
        body = found.entry.body
        if len(delivery.parts) == 1 and not delivery.after and delivery.parts[0].end is None and delivery.parts[0].start == 0:
            whole = body.read_whole()
            if whole is not None:
                found.release()
                await response.start(delivery.status, delivery.fields, is_followed=True)
                await response.end(whole)
                return
        # Opened before anything is awaited, so that the fill sees us.
        readers = [(part, self._node.cache.open(body, part.start, part.end)) for part in delivery.parts]
        found.release()
        try:
            await response.start(delivery.status, delivery.fields)
            for part, reader in readers:
                await self._send_from(response, request, found, part, reader)
            await response.end(delivery.after)
        except BrokenBody as error:
            response.cut(str(error))
        finally:
            for _, reader in readers:
                reader.close()

    async def _send_from(self, response: Response, request: Request, found: Found, part: Part, reader: FollowingReader) -> None:
        """A disk that refuses costs a copy, and no download: the rest comes from elsewhere."""
        try:
            await _send_part(response, part, reader)
        except CopyLost:
            cache, start = self._node.cache, reader.position
            rest = await rest_of(cache.load_rest, request, found.entry, start, part.end)
            again = cache.open(rest.entry.body, 0, None)
            rest.release()
            try:
                end = found.entry.body.length if part.end is None else part.end
                await _send_part(response, Part(b"", 0, (end or 0) - start), again)
            finally:
                again.close()

    async def _pass(self, response: Response, request: Request) -> None:
        """Other methods go through, bodies streamed both ways; a success makes what is stored here stale (RFC 9111 §4.4)."""
        node = self._node
        if request.method == "CONNECT":
            raise ClientError(405, "this is no forward proxy")
        if node.upstream is None:
            raise ClientError(503, "the upstream is not known yet: this node has not reached its manager")
        node.counters.add("passes_count")
        if has(request.fields, b"content-length") or has(request.fields, b"transfer-encoding"):
            async with self._uploads.turn():
                await self._pass_on(response, request, node.upstream, _uploaded(response.receive))
        else:
            await self._pass_on(response, request, node.upstream, None)

    async def _pass_on(self, response: Response, request: Request, upstream: PatientUpstream, content: AsyncIterator[bytes] | None) -> None:
        node = self._node
        response.source = "upstream"
        fields = add_via(passed_fields(request.fields), self.name)
        answer = await upstream.send(request.method, full_key(request), fields, content, on_interim=response.inform)
        try:
            await node.invalidate(request, answer.head)
            member = cache_status(self.name, fwd="method", fwd_status=answer.head.status)
            lines = add_cache_status(add_via(answer.head.fields, self.name), member)
            await response.start(answer.head.status, lines)
            async for chunk in answer.chunks():
                node.counters.add("upstream_received_bytes", len(chunk))
                await node.limits.wait_upstream(len(chunk))
                await response.send_body(chunk)
            await response.end()
        except MinicdnError as error:
            if not response.is_started:
                raise
            response.cut(str(error))
        finally:
            await answer.close()


async def _send_part(response: Response, part: Part, reader: Any) -> None:
    if part.before:
        await response.send_body(part.before)
    can_send_files = response.can_send_files
    while True:
        found = reader.next_in_file() if can_send_files else None
        sent_bytes = await response.send_file(found[0], reader.position, found[1]) if found is not None else 0
        if sent_bytes:
            reader.passed(sent_bytes)
        elif chunk := await reader.next():
            await response.send_body(chunk)
        else:
            break
    if part.end is not None and reader.position < part.end:
        raise BrokenBody("the body is shorter than it was said to be")


async def _uploaded(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        if message["body"]:
            yield message["body"]
        if not message.get("more_body"):
            return


def parse_request(scope: Scope, ignored_query: frozenset[str] = frozenset()) -> Request:
    """Raises ClientError for a request that is none of ours, or none at all."""
    target, fields, method = target_of(scope), scope["headers"], scope["method"]
    _check_message(scope["http_version"], fields)
    if not target.startswith(b"/"):
        target = _origin_form(target, scope)
    key = parse_target(target, ignored_query)
    if key.startswith("/_"):
        raise ClientError(404, "paths that begin with /_ belong to minicdn itself")
    return Request(method, target, key, fields)


def _check_message(version: str, fields: Any) -> None:
    """What a parser lets through and RFC 9112 does not (§3.2)."""
    if version not in ("1.0", "1.1"):
        raise ClientError(505 if version > "1.1" else 400, "this server speaks HTTP/1.1")
    hosts = [value for name, value in fields if name == b"host"]
    if len(hosts) > 1 or (version == "1.1" and not hosts):
        raise ClientError(400, "a request names exactly one host")
    if hosts and not _HOST.fullmatch(hosts[0]):
        raise ClientError(400, "the Host field names no host")


def _origin_form(target: bytes, scope: Scope) -> bytes:
    """The path of a target in absolute form, where it names this very node; it is no proxy for others."""
    if scope["method"] == "CONNECT":
        raise ClientError(405, "this is no forward proxy")
    absolute = split_absolute(target)
    if absolute is None:
        raise ClientError(400, "the request target is no path")
    scheme, authority, origin_form = absolute
    host, port = scope["server"]
    own = {f"[{host}]:{port}" if ":" in host else f"{host}:{port}", f"localhost:{port}"}
    if f"{authority}:80" in own and scheme == "http":
        authority += ":80"
    if authority not in own:
        raise ClientError(421, "this is no proxy for other hosts")
    return origin_form


class Response:
    """One response on its way out: what was sent, for the log and the counters, and the deadline of a client that takes nothing."""

    def __init__(self, node: Node, scope: Scope, receive: Receive, send: Send, *, begun_at: float | None = None) -> None:
        self.scope = scope
        self.receive = receive
        self.request: Request | None = None
        self.source = "none"
        self.is_started = False
        self._node = node
        self._send = send
        self._connection: Connection | None = scope.get("minicdn.connection")
        self._is_up = not is_loopback(scope.get("client"))
        self._begun_at = node.clock.monotonic() if begun_at is None else begun_at
        self._status = 0
        self._sent_bytes = 0
        self._is_complete = False

    async def start(self, status: int, fields: Any, *, is_followed: bool = False) -> None:
        """is_followed: all of the body comes at once, so head and body may leave in one write."""
        self.is_started = True
        self._status = status
        await self._send({"type": "http.response.start", "status": status, "headers": fields, "minicdn.is_followed": is_followed})

    def inform(self, status: int, fields: Fields) -> None:
        """An interim answer of the upstream's goes on to its client; nothing of it is kept."""
        if self._connection is not None:
            self._connection.inform(status, add_via(end_to_end(fields), f"minicdn-{self._node.id}"))

    async def send_body(self, chunk: bytes) -> None:
        """Waits while the client is slow, or the node's uplink is capped; raises ClientGone when the client takes nothing for too long."""
        if not self._is_up:
            await self._send_now(chunk)
            return
        limits = self._node.limits
        for part in limits.up.parts(chunk):
            await limits.wait_up(len(part))
            await self._send_now(part)

    async def _send_now(self, chunk: bytes) -> None:
        try:
            async with asyncio.timeout(self._node.settings.client_stall_seconds):
                await self._send({"type": "http.response.body", "body": chunk, "more_body": True})
        except TimeoutError:
            self.cut("the client took nothing for too long")
            raise ClientGone from None
        self._sent_bytes += len(chunk)

    @property
    def can_send_files(self) -> bool:
        """Not where every byte may have to wait for a cap."""
        is_capped = self._is_up and self._node.limits.has_up
        return not is_capped and self._connection is not None and self._connection.can_send_files

    async def send_file(self, file: int, offset: int, count: int) -> int:
        """How many of the bytes were sent; 0 where the file is shorter. As send_body, without reading them."""
        assert self._connection is not None
        try:
            sent_bytes = await self._connection.send_file(file, offset, count, self._node.settings.client_stall_seconds)
        except TimeoutError:
            self.cut("the client took nothing for too long")
            raise ClientGone from None
        if self._is_up:
            self._node.limits.note_up(sent_bytes)
        self._sent_bytes += sent_bytes
        await asyncio.sleep(0)  # others have their turn, too, where this client takes as fast as it is sent to
        return sent_bytes

    async def end(self, chunk: bytes = b"") -> None:
        if self._is_up and chunk and self.scope["method"] != "HEAD":
            *parts, chunk = self._node.limits.up.parts(chunk)
            for part in parts:
                await self.send_body(part)
            await self._node.limits.wait_up(len(chunk))
        await self._send({"type": "http.response.body", "body": chunk, "more_body": False})
        if self.scope["method"] != "HEAD":
            self._sent_bytes += len(chunk)
        self._is_complete = True

    def cut(self, reason: str) -> None:
        """The client must see that this is not the end."""
        if self._connection is not None:
            self._connection.cut()
        else:
            raise ClientGone(reason)

    async def refuse(self, status: int, reason: str, more: Fields = ()) -> None:
        """An answer of our own. more: fields."""
        if self.is_started:
            self.cut(reason)
            return
        text = (reason + "\n").encode("utf-8", "replace")
        await self.start(status, [*text_fields(status, len(text)), *more], is_followed=True)
        await self.end(text)

    def log(self) -> None:
        node, fields = self._node, self.scope["headers"]
        counters = node.counters
        counters.add("requests_count")
        if self._status >= 400:
            counters.add("responses_5xx_count" if self._status >= 500 else "responses_4xx_count")
        if self.source != "none":
            counters.add(f"bytes_{self.source}", self._sent_bytes)
        if node.on_log is None:
            return
        client = self.scope.get("client") or ("", 0)
        node.on_log(
            LogLine(
                key=self.request.key if self.request is not None else target_of(self.scope).decode("latin-1"),
                remote_addr=address_text(*client),
                user_agent=(first(fields, b"user-agent") or b"").decode("utf-8", "replace"),
                success=self._is_complete and self._status < 400,
                header_data=parse_header_data(first(fields, b"x-minicdn-data"), first(fields, b"x-minicdn-type")),
                method=self.scope["method"],
                status=self._status,
                bytes=self._sent_bytes,
                source=self.source,
                duration_seconds=node.clock.monotonic() - self._begun_at,
                timestamp=int(node.clock.wall()),
            )
        )
