"""The door for other peers: what is here of a key, or is fetched for them from the upstream, head first and bytes as they come."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from minicdn.core.freshness import current_age, to_facts
from minicdn.core.headers import end_to_end
from minicdn.core.journal import Mark
from minicdn.core.message import Inform, Request
from minicdn.core.ranges import Unsatisfiable
from minicdn.core.target import parse_target
from minicdn.core.via import add_via, has_passed
from minicdn.errors import BrokenBody, ClientError, CopyLost, MinicdnError, NotReady, PeerBusy, UpstreamError
from minicdn.node.delivery import head_fields, status_member
from minicdn.node.found import Found
from minicdn.node.mending import rest_of
from minicdn.node.node import Node
from minicdn.node.reading import FollowingReader
from minicdn.node.suppliers import held_tag
from minicdn.node.wanted import wanted_spans
from minicdn.store.body import Body
from minicdn.store.entry import Entry
from minicdn.web.protocol import Connection
from minicdn.web.status import text_fields
from minicdn.web.watching import ClientGone, Receive, Scope, Send, read_message, watching
from minicdn.wire.codec import decode, encode
from minicdn.wire.fetch import FetchAnswer, FetchRequest

REQUEST_BYTES_MAX = 256 * 1024
UNSENT_BYTES_MAX = 128 * 1024
"""Where the kernel holds no more than that, a send waits when the uplink is full, and the node knows how full it is (core/uplink.py)."""
TOOK_SECONDS_MIN = 0.05
"""What took less is not told: so much older is a copy taken for than it is, which is on the safe side."""


class PeerDoor:
    def __init__(self, node: Node) -> None:
        self._node = node
        self._name = f"minicdn-{node.id}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if scope["method"] != "POST":
                raise ClientError(405, "peers ask with POST")
            fetch = FetchRequest.from_wire(decode(await read_message(scope, receive, REQUEST_BYTES_MAX)))
        except ClientError as error:
            await _refuse(send, error)
            return
        try:
            async with watching(receive):
                await self._answer(scope, send, fetch)
        except ClientGone:
            pass

    async def _answer(self, scope: Scope, send: Send, fetch: FetchRequest) -> None:
        request, came_at = _request_of(fetch), self._node.clock.monotonic()
        try:
            check_target(self._node, fetch.key, fetch.target)
            if has_passed(request.fields, self._name):
                raise ClientError(508, "this request has been here before: the upstream leads back to this node")
            mark = Mark.parse(fetch.mark)
            found = await self._node.cache.find(
                request,
                is_forwarded=True,
                wants_fresh=fetch.wants_fresh,
                mark=mark,
                on_interim=self._informing(scope),
                may_deal=fetch.asker is not None,
                exact=fetch.validator if fetch.range is not None else None,
            )
        except MinicdnError as error:
            await self._send_head(send, _no(error), 0)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        try:
            await self._send_found(scope, send, fetch, request, found, came_at)
        finally:
            found.release()

    def _informing(self, scope: Scope) -> Inform | None:
        """Interim answers go on to the peer as what they are."""
        connection: Connection | None = scope.get("minicdn.connection")
        if connection is None:
            return None
        return lambda status, fields: connection.inform(status, add_via(end_to_end(fields), self._name))

    async def _send_found(self, scope: Scope, send: Send, fetch: FetchRequest, request: Request, found: Found, came_at: float) -> None:
        answer = describe(self._node, self._name, fetch, request, found)
        if (took_seconds := self._node.clock.monotonic() - came_at) >= TOOK_SECONDS_MIN:
            answer.took_seconds = took_seconds
        if fetch.asker is not None and answer.kind == "found":
            answer = await self._deal(fetch, request, found, answer)
        body = found.entry.body
        if fetch.method == "HEAD" or answer.kind == "unchanged" or answer.deal:
            found.release()
            await self._send_head(send, answer, 0)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        end = body.length if answer.end is None else answer.end
        reader = self._node.cache.open(body, answer.offset, answer.end)
        found.release()
        is_first_hand, connection = fetch.validator is not None and body in self._node.swarms.streams, scope["minicdn.connection"]
        if is_first_hand:
            connection.bound_unsent(UNSENT_BYTES_MAX)
        try:
            await self._send_head(send, answer, None if end is None else end - answer.offset)
            if is_first_hand and end is not None:
                await self._pass_on(send, body, reader, end)
            else:
                await self._send_from(send, request, found, reader, answer.end)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except (BrokenBody, TimeoutError):
            scope["minicdn.connection"].cut()
        finally:
            reader.close()

    async def _pass_on(self, send: Send, body: Body, reader: FollowingReader, end: int) -> None:
        """A piece for its owner, as it comes from the upstream."""
        streams = self._node.swarms.streams
        with streams.waiting(body):
            while reader.position < end:
                await streams.wait(body, reader.position)
                await self._send_chunk(send, await reader.next())

    async def _deal(self, fetch: FetchRequest, request: Request, found: Found, answer: FetchAnswer) -> FetchAnswer:
        """A large file is fetched in pieces by who asks for it; where it can't be, it must begin to come here after all."""
        deal = self._node.swarms.deal_for(found.entry, request, fetch.asker or "")
        if deal is not None:
            self._node.cache.keep_filling(found.entry.body)
            pairs = tuple((dealer.url, dealer.weight) for dealer in deal.dealers)
            return replace(answer, deal=pairs, hint=deal.hint, offset=0, end=None)
        self._node.swarms.bring(found.entry, request)
        return answer

    async def _send_from(self, send: Send, request: Request, found: Found, reader: FollowingReader, end: int | None) -> None:
        """As to a client: where the disk here refuses, the rest comes from the upstream."""
        cache = self._node.cache
        try:
            while chunk := await reader.next():
                await self._send_chunk(send, chunk)
        except CopyLost:
            rest = await rest_of(cache.load_rest, request, found.entry, reader.position, end, is_forwarded=True)
            again = cache.open(rest.entry.body, 0, None)
            rest.release()
            try:
                while chunk := await again.next():
                    await self._send_chunk(send, chunk)
            finally:
                again.close()

    async def _send_chunk(self, send: Send, chunk: bytes) -> None:
        for part in self._node.limits.up.parts(chunk):
            await self._node.limits.wait_up(len(part))
            await self._send_part(send, part)

    async def _send_part(self, send: Send, chunk: bytes) -> None:
        with metered(self._node, len(chunk)):
            async with asyncio.timeout(self._node.settings.client_stall_seconds):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})

    async def _send_head(self, send: Send, answer: FetchAnswer, length: int | None) -> None:
        head = encode(answer.to_wire())
        await send({"type": "http.response.start", "status": 200, "headers": answer_fields(len(head), length)})
        await send({"type": "http.response.body", "body": head, "more_body": True})


@contextmanager
def metered(node: Node, size: int) -> Iterator[None]:
    """So many bytes go to a peer meanwhile, if nothing is raised."""
    began, sent_bytes = node.uplink.sending(node.clock.monotonic()), 0
    try:
        yield
        sent_bytes = size
    finally:
        node.uplink.sent(began, sent_bytes, node.clock.monotonic())
    node.counters.add("peer_sent_bytes", sent_bytes)


def answer_fields(head_length: int, length: int | None) -> list[tuple[bytes, bytes]]:
    """Of an answer to a peer: a map of so many bytes, and that many of a body (None: as many as come)."""
    fields = [(b"content-type", b"application/x-minicdn"), (b"x-minicdn-head", b"%d" % head_length)]
    if length is not None:
        fields.append((b"content-length", b"%d" % (head_length + length)))
    return fields


def describe(node: Node, name: str, fetch: FetchRequest, request: Request, found: Found) -> FetchAnswer:
    """What is said of what was found. name: this node's pseudonym in Via. The head is the one that is stored: while the body comes,
    the entry has the upstream's own, with its Age and what is private in it."""
    entry, stored = found.entry, found.entry.stored
    kind = "pass" if stored is None else "answered" if entry.head.status >= 400 else "found"
    if fetch.held is not None and fetch.method == "GET" and kind == "found" and held_tag(stored) == fetch.held:
        kind = "unchanged"
    offset, end = found.span or (_span(request, entry) if kind == "found" else (0, None))
    now = node.clock.wall()
    fields = add_via((entry.head if stored is None else stored.head).fields, name)
    if fetch.method == "HEAD":
        fields = head_fields(found, fields)
    return FetchAnswer(
        kind=kind,
        status=entry.head.status,
        fields=fields,
        stored=to_facts(stored) if stored is not None else None,
        age_seconds=current_age(stored, now) if stored is not None else 0.0,
        length=entry.body.length if fetch.method == "GET" else 0,
        offset=offset,
        end=end,
        source=found.source,
        detail=found.detail or found.forward or "hit",
        member=status_member(found, now, name),
        upstream_status=found.forward_status or entry.head.status,
        is_stale=found.is_stale,
    )


def describe_hit(node: Node, name: str, found: Found) -> dict[str, Any]:
    """The same of all of a fresh entry, for a plain GET, as to_wire() would have it."""
    entry, stored, now = found.entry, found.entry.stored, node.clock.wall()
    assert stored is not None
    status = entry.head.status
    return {
        "kind": "answered" if status >= 400 else "found",
        "status": status,
        "fields": add_via(stored.head.fields, name),
        "stored": to_facts(stored),
        "age_seconds": current_age(stored, now),
        "length": entry.body.length,
        "source": found.source,
        "detail": found.detail or found.forward or "hit",
        "member": status_member(found, now, name),
        "upstream_status": found.forward_status or status,
    }


def check_target(node: Node, key: str, target: str | None) -> None:
    """What the upstream is asked for must be what is stored: nobody may have this node keep one file under another's name."""
    if target is not None and parse_target(target.encode("ascii"), node.ignored_query) != key:
        raise ClientError(400, "that target is not of that key")


def _request_of(fetch: FetchRequest) -> Request:
    fields = list(fetch.fields)
    if fetch.range is not None:
        fields.append((b"range", fetch.range))
        if fetch.validator is not None:
            fields.append((b"if-range", fetch.validator))
    return Request(fetch.method, (fetch.target or fetch.key).encode("ascii"), fetch.key, fields)


def _span(request: Request, entry: Entry) -> tuple[int, int | None]:
    """The part that was asked for; nothing, at the end, where there is no such part; or all."""
    spans = wanted_spans(request, entry)
    if isinstance(spans, Unsatisfiable):
        return entry.body.length or 0, entry.body.length
    return spans[0] if spans is not None and len(spans) == 1 else (0, None)


def _no(error: MinicdnError) -> FetchAnswer:
    """The owner's no is an answer too; but one that has just started, or can do no more now, has none yet."""
    if isinstance(error, NotReady | PeerBusy):
        return FetchAnswer("busy", detail=str(error))
    if isinstance(error, ClientError):
        return FetchAnswer("refused", status=error.status, detail=error.reason)
    if isinstance(error, UpstreamError):
        return FetchAnswer("failed", detail=str(error), timed_out=error.timed_out, retry_after_seconds=error.retry_after_seconds)
    return FetchAnswer("failed", detail=str(error))


async def _refuse(send: Send, error: ClientError) -> None:
    text = (error.reason + "\n").encode()
    await send({"type": "http.response.start", "status": error.status, "headers": text_fields(error.status, len(text))})
    await send({"type": "http.response.body", "body": text, "more_body": False})
