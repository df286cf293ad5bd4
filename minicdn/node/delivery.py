"""From what was found to what is said: status, field lines and which bytes of the body, for this client's conditions and ranges."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from itertools import compress

from minicdn.core.cachestatus import add_cache_status, cache_status
from minicdn.core.conditional import CONDITIONALS, evaluate, not_modified_fields
from minicdn.core.digests import digest_value, wants_sha256
from minicdn.core.freshness import age_line, age_seconds, served_fields
from minicdn.core.headers import first, has, without
from minicdn.core.message import Fields, Request
from minicdn.core.names import Names, by_names
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
_ASKING = CONDITIONALS | {b"range", b"want-repr-digest"}
"""Fields of a request for something else than the whole as it is."""
ALIKE_MAX = 512
ALIKE_BYTES_MAX = 512
"""Of what is remembered: misses of one moment say the same of where they came from, and so do hits on what came with them."""

Lines = tuple[tuple[bytes, bytes], ...]


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
    if found.span is None and request.method == "GET" and _ASKING.isdisjoint(request.names):
        return Delivery(head.status, whole_fields(found, now, name), [Part(b"", 0, None)])
    age = age_seconds(stored, now) if stored is not None else 0
    fields = [*_with_digest(request.fields, found, _own_fields(found, age)), *origin_lines(found, age, name)]
    if stored is not None:
        precondition = evaluate(request, head, now)
        if precondition == 304:
            return Delivery(304, not_modified_fields(fields))
        if precondition is not None:
            return Delivery(precondition, [*without(fields, OF_THE_CONTENT), (b"Content-Length", b"0")])
    if request.method == "HEAD":
        return Delivery(head.status, head_fields(found, fields))
    return _ranged(request, found, fields, boundary) or Delivery(head.status, _sized(found, fields), [Part(b"", 0, None)])


def whole_fields(found: Found, now: float, name: str) -> list[tuple[bytes, bytes]]:
    """The lines of the answer to a GET that asks for the whole, and for nothing else."""
    stored = found.entry.stored
    age = age_seconds(stored, now) if stored is not None else 0
    fields = _own_fields(found, age)
    if found.entry.body.sha256 is not None:
        fields = _with_digest((), found, fields)
    fields += origin_lines(found, age, name)
    return _sized(found, fields)


def lines_behind(found: Found, now: float, name: str) -> Lines | None:
    """What stands behind the stored lines in whole_fields(), but for the length: Age, and where it came from. None where not all of the
    stored lines are sent, or more than that."""
    stored = found.entry.stored
    if stored is None or found.span is not None or found.entry.body.sha256 is not None or (stored.withheld and found.forward is None):
        return None
    return origin_lines(found, age_seconds(stored, now), name, is_aged=True)


def _own_fields(found: Found, age: int) -> list[tuple[bytes, bytes]]:
    stored = found.entry.stored
    return served_fields(stored, age, validated=found.forward is not None) if stored is not None else list(found.entry.head.fields)


def _with_digest(asked: Fields, found: Found, fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Repr-Digest: the upstream's own where it gave one; else of a body on disk when it is known, unasked (RFC 9530 §3), and of one in
    memory for those who want it (§4)."""
    if found.entry.head.status != 200 or has(fields, b"repr-digest"):
        return fields
    is_asked = has(asked, b"want-repr-digest")
    if is_asked and not wants_sha256(asked):
        return fields
    digest = found.entry.body.sha256
    if digest is None and is_asked:
        whole = found.entry.body.read_whole()
        digest = sha256(whole).digest() if whole is not None else None
    return fields if digest is None else [*fields, (b"Repr-Digest", digest_value({"sha-256": digest}))]


def origin_lines(found: Found, age: int, name: str, *, is_aged: bool = False) -> Lines:
    """Who handled it, and where it came from: the owner's Cache-Status, Via, our Cache-Status, and X-Cache for those who grep.
    age: of what is stored, in seconds. is_aged: that is said before."""
    stored, detail = found.entry.stored, found.detail
    ttl = int(stored.lifetime_seconds) - age if stored is not None else None  # negative once stale (RFC 9211 §2.4)
    is_stored = stored is not None and found.entry.body.is_kept
    forward = found.forward, found.forward_status, found.is_collapsed
    say = _remembered if len(detail) <= ALIKE_BYTES_MAX and (found.member is None or len(found.member) <= ALIKE_BYTES_MAX) else _said_lines
    return say(name, found.member, found.source, detail, forward, ttl, is_stored, found.is_stale, age if is_aged else None)


def _said_lines(
    name: str,
    member: bytes | None,
    source: str,
    detail: str,
    forwarded: tuple[str | None, int | None, bool],
    ttl: int | None,
    is_stored: bool,
    is_stale: bool,
    age: int | None,
) -> Lines:
    forward, status, is_collapsed = forwarded
    own = cache_status(
        name,
        hit=forward is None,
        fwd=forward,
        fwd_status=status,
        ttl=ttl,
        stored=is_stored,
        collapsed=is_collapsed,
        detail=detail or source,
    )
    word = "STALE" if is_stale else "HIT" if forward is None else "MISS"
    before = [] if age is None else [age_line(age)]
    before = before if member is None else add_cache_status(before, member)
    return (*add_cache_status(add_via(before, name), own), (b"X-Cache", f"{word} from {name} ({source})".encode()))


_remembered = lru_cache(ALIKE_MAX)(_said_lines)


def status_member(found: Found, now: float, name: str) -> bytes:
    """What this node did with the request (RFC 9211)."""
    stored = found.entry.stored
    return origin_lines(found, age_seconds(stored, now) if stored is not None else 0, name)[-2][1]


def head_fields(found: Found, fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The lines of an answer to HEAD: those of GET, with the length where we know it by now."""
    body = found.entry.body
    if first(fields, b"content-length") is None and body.length is not None and body.is_kept:
        return [*fields, (b"Content-Length", str(body.length).encode())]
    return fields


def _sized(found: Found, fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """With the length of the whole body as it is here."""
    kept, length = _lengths(fields), found.entry.body.length
    if kept is not None:
        fields = list(compress(fields, kept))
    if length is not None and found.entry.head.status not in (204, 304):
        fields.append(_length_line(length))
    return fields


@by_names
def _lengths(names: Names) -> tuple[bool, ...] | None:
    """Which lines are no Content-Length; None: all of them."""
    kept = tuple([name.lower() not in OWN_LENGTH for name in names])
    return None if all(kept) else kept


@lru_cache(ALIKE_MAX)
def _length_line(length: int) -> tuple[bytes, bytes]:
    return b"Content-Length", b"%d" % length


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
