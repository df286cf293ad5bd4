"""What deliver() and response_head() make, line by line: nothing is remembered of other answers."""

from __future__ import annotations

import re

from minicdn.core.cachestatus import add_cache_status, cache_status
from minicdn.core.conditional import evaluate, not_modified_fields
from minicdn.core.freshness import age_seconds, served_fields
from minicdn.core.headers import without
from minicdn.core.message import Fields, Request
from minicdn.core.via import add_via
from minicdn.node import delivery
from minicdn.node.delivery import OF_THE_CONTENT, OWN_LENGTH, Delivery, Part
from minicdn.node.found import Found
from minicdn.web.protocol import status_line

_BREAKS = re.compile(rb"[\r\n\0]")
_OWN = frozenset((b"connection", b"transfer-encoding"))


def plainly_delivered(request: Request, found: Found, now: float, *, name: str, boundary: str) -> Delivery:
    """name: this node's pseudonym in Via and Cache-Status. boundary: for several ranges at once; must not occur in the body."""
    head, stored = found.entry.head, found.entry.stored
    fields = (
        served_fields(stored, age_seconds(stored, now), validated=found.forward is not None) if stored is not None else list(head.fields)
    )
    fields = _with_origin(delivery._with_digest(request.fields, found, fields), found, now, name)
    if stored is not None:
        precondition = evaluate(request, head, now)
        if precondition == 304:
            return Delivery(304, not_modified_fields(fields))
        if precondition is not None:
            return Delivery(precondition, [*without(fields, OF_THE_CONTENT), (b"Content-Length", b"0")])
    if request.method == "HEAD":
        return Delivery(head.status, delivery.head_fields(found, fields))
    return delivery._ranged(request, found, fields, boundary) or _whole(found, without(fields, OWN_LENGTH))


def _with_origin(fields: list[tuple[bytes, bytes]], found: Found, now: float, name: str) -> list[tuple[bytes, bytes]]:
    """Who handled it, and where it came from: Via, Cache-Status, and X-Cache for those who grep."""
    if found.member is not None:
        fields = add_cache_status(fields, found.member)
    fields = add_cache_status(add_via(fields, name), _status_member(found, now, name))
    word = "STALE" if found.is_stale else "HIT" if found.forward is None else "MISS"
    return [*fields, (b"X-Cache", f"{word} from {name} ({found.source})".encode())]


def _status_member(found: Found, now: float, name: str) -> bytes:
    """What this node did with the request (RFC 9211)."""
    stored = found.entry.stored
    return cache_status(
        name,
        hit=found.forward is None,
        fwd=found.forward,
        fwd_status=found.forward_status,
        ttl=int(stored.lifetime_seconds) - age_seconds(stored, now) if stored is not None else None,
        stored=stored is not None and found.entry.body.is_kept,
        collapsed=found.is_collapsed,
        detail=found.detail or found.source,
    )


def _whole(found: Found, fields: list[tuple[bytes, bytes]]) -> Delivery:
    status, length = found.entry.head.status, found.entry.body.length
    if length is not None and status not in (204, 304):
        fields.append((b"Content-Length", str(length).encode()))
    return Delivery(status, fields, [Part(b"", 0, None)])


def plain_head(status: int, fields: Fields, *, is_chunked: bool = False, keeps_alive: bool = True) -> bytes:
    """A response's head on the wire: names as they are, values on one line, and the fields that belong to this connection."""
    lines = [b"%b: %b\r\n" % line for line in fields if line[0].lower() not in _OWN]
    if is_chunked:
        lines.append(b"transfer-encoding: chunked\r\n")
    lines.append(b"\r\n" if keeps_alive else b"connection: close\r\n\r\n")
    head = status_line(status) + b"\r\n" + b"".join(lines)
    count = len(lines) + 1 + (not keeps_alive)
    if head.count(b"\n") != count or head.count(b"\r") != count or b"\0" in head:
        whole = [(_BREAKS.sub(b"", name), _BREAKS.sub(b" ", value)) for name, value in fields]
        return plain_head(status, whole, is_chunked=is_chunked, keeps_alive=keeps_alive)
    return head
