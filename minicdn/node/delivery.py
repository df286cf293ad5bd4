"""From what was found to what is said: status, field lines and which bytes of the body, for this client's conditions and ranges."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256

from minicdn.core.cachestatus import add_cache_status, cache_status
from minicdn.core.conditional import evaluate, not_modified_fields
from minicdn.core.digests import digest_value, wants_sha256
from minicdn.core.freshness import remaining_seconds, served_fields
from minicdn.core.headers import first, has, without
from minicdn.core.message import Request
from minicdn.core.ranges import (
    Unsatisfiable,
    closing,
    content_range,
    multipart_length,
    part_head,
    unsatisfied_range,
)
from minicdn.core.via import add_via
from minicdn.node.found import Found
from minicdn.node.wanted import wanted_spans

OWN_LENGTH = frozenset((b"content-length",))
OF_THE_WHOLE = frozenset((b"content-length", b"content-digest", b"content-md5"))
OF_THE_CONTENT = OF_THE_WHOLE | {b"content-type"}
"""What a part has others of (RFC 9530 §2: Content-Digest is of what is sent, Repr-Digest of the whole)."""


@dataclass(slots=True)
class Part:
    """Bytes to send before, then [start, end) of the body; end None: to its end."""

    before: bytes
    start: int
    end: int | None


@dataclass(slots=True)
class Delivery:
    """parts: in order, followed by `after`."""

    status: int
    fields: list[tuple[bytes, bytes]]
    parts: list[Part] = field(default_factory=list)
    after: bytes = b""


def deliver(request: Request, found: Found, now: float, *, name: str, boundary: str) -> Delivery:
    """name: this node's pseudonym in Via and Cache-Status. boundary: for several ranges at once; must not occur in the body."""
    head, stored = found.entry.head, found.entry.stored
    fields = served_fields(stored, now, validated=found.forward is not None) if stored is not None else list(head.fields)
    fields = _with_origin(_with_digest(request, found, fields), found, now, name)
    if stored is not None:
        precondition = evaluate(request, head, now)
        if precondition == 304:
            return Delivery(304, not_modified_fields(fields))
        if precondition is not None:
            return Delivery(precondition, [*without(fields, OF_THE_CONTENT), (b"Content-Length", b"0")])
    if request.method == "HEAD":
        return Delivery(head.status, head_fields(found, fields))
    return _ranged(request, found, fields, boundary) or _whole(found, without(fields, OWN_LENGTH))


def _with_digest(request: Request, found: Found, fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Repr-Digest: the upstream's own where it gave one; else of a body on disk when it is known, unasked (RFC 9530 §3), and of one in
    memory for those who want it (§4)."""
    if found.entry.head.status != 200 or has(fields, b"repr-digest"):
        return fields
    is_asked = has(request.fields, b"want-repr-digest")
    if is_asked and not wants_sha256(request.fields):
        return fields
    digest = found.entry.body.sha256
    if digest is None and is_asked:
        whole = found.entry.body.read_whole()
        digest = sha256(whole).digest() if whole is not None else None
    return fields if digest is None else [*fields, (b"Repr-Digest", digest_value({"sha-256": digest}))]


def _with_origin(fields: list[tuple[bytes, bytes]], found: Found, now: float, name: str) -> list[tuple[bytes, bytes]]:
    """Who handled it, and where it came from: Via, Cache-Status, and X-Cache for those who grep."""
    if found.member is not None:
        fields = add_cache_status(fields, found.member)
    fields = add_cache_status(add_via(fields, name), status_member(found, now, name))
    word = "STALE" if found.is_stale else "HIT" if found.forward is None else "MISS"
    return [*fields, (b"X-Cache", f"{word} from {name} ({found.source})".encode())]


def status_member(found: Found, now: float, name: str) -> bytes:
    """What this node did with the request (RFC 9211)."""
    stored = found.entry.stored
    return cache_status(
        name,
        hit=found.forward is None,
        fwd=found.forward,
        fwd_status=found.forward_status,
        ttl=remaining_seconds(stored, now) if stored is not None else None,
        stored=stored is not None and found.entry.body.is_kept,
        collapsed=found.is_collapsed,
        detail=found.detail or found.source,
    )


def head_fields(found: Found, fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The lines of an answer to HEAD: those of GET, with the length where we know it by now."""
    body = found.entry.body
    if first(fields, b"content-length") is None and body.length is not None and body.is_kept:
        return [*fields, (b"Content-Length", str(body.length).encode())]
    return fields


def _whole(found: Found, fields: list[tuple[bytes, bytes]]) -> Delivery:
    status, length = found.entry.head.status, found.entry.body.length
    if length is not None and status not in (204, 304):
        fields.append((b"Content-Length", str(length).encode()))
    return Delivery(status, fields, [Part(b"", 0, None)])


def _ranged(request: Request, found: Found, fields: list[tuple[bytes, bytes]], boundary: str) -> Delivery | None:
    """None: the whole is the answer."""
    spans = wanted_spans(request, found.entry) if found.span is None else [found.span]
    length = found.entry.body.length
    if spans is None or length is None:
        return None
    kept = without(fields, OF_THE_WHOLE)
    if isinstance(spans, Unsatisfiable):
        kept = without(kept, OF_THE_CONTENT)
        return Delivery(416, [*kept, (b"Content-Range", unsatisfied_range(length)), (b"Content-Length", b"0")])
    if len(spans) == 1:
        start, end = spans[0]
        sized = [(b"Content-Range", content_range(start, end, length)), (b"Content-Length", str(end - start).encode())]
        return Delivery(206, [*kept, *sized], [Part(b"", start, end)])
    return _multipart(found, spans, length, kept, boundary)


def _multipart(found: Found, spans: list[tuple[int, int]], length: int, fields: list[tuple[bytes, bytes]], boundary: str) -> Delivery:
    mark = boundary.encode()
    content_type = first(found.entry.head.fields, b"content-type")
    total = multipart_length(mark, content_type, spans, length)
    fields = without(fields, OF_THE_CONTENT)
    fields += [(b"Content-Type", b"multipart/byteranges; boundary=" + mark), (b"Content-Length", str(total).encode())]
    parts = [Part(part_head(mark, content_type, start, end, length), start, end) for start, end in spans]
    return Delivery(206, fields, parts, after=closing(mark))
