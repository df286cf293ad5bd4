"""Preconditions: answered from what is stored, and asked of the upstream (RFC 9110 §13, RFC 9111 §4.3).

If-None-Match, where it is there, is the only one asked: a mismatch never falls through to If-Modified-Since (§13.1.3).
If-Match and If-Unmodified-Since are the origin's business (RFC 9111 §4.3.2); decide.py therefore validates before one of them is
answered with 412, so that the answer rests on what the upstream has now.
"""

from __future__ import annotations

import re

from minicdn.core import dates, headers
from minicdn.core.message import Fields, Head, Request

CONDITIONALS = frozenset((b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since", b"if-range"))

_ENTITY_TAG = re.compile(rb'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')
_OF_THE_REPRESENTATION = frozenset(
    (
        b"content-type",
        b"content-encoding",
        b"content-language",
        b"content-length",
        b"content-range",
        b"content-md5",
        b"content-digest",
        b"repr-digest",
        b"digest",
        b"transfer-encoding",
    )
)


def evaluate(request: Request, head: Head, now: float) -> int | None:
    """304 or 412 where the preconditions of a GET or HEAD call for it, None where the stored response is to be sent.

    Evaluated in the order of RFC 9110 §13.2.2, and only against successes (§13.2.1).
    """
    if CONDITIONALS.isdisjoint(request.names):
        return None
    if not 200 <= head.status < 300 or request.method not in ("GET", "HEAD"):
        return None
    if not holds_for_origin(request, head, now):
        return 412
    if_none_match = headers.combined(request.fields, b"if-none-match")
    if if_none_match is not None:
        return 304 if _names(if_none_match, headers.first(head.fields, b"etag")) else None
    since = _instant(request.fields, b"if-modified-since", now)
    if since is None:
        return None
    # Without Last-Modified the response is as new as its Date at most (RFC 9111 §4.3.2).
    modified_at = _instant(head.fields, b"last-modified", now)
    modified_at = _instant(head.fields, b"date", now) if modified_at is None else modified_at
    return 304 if modified_at is not None and modified_at <= since else None


def holds_for_origin(request: Request, head: Head, now: float) -> bool:
    """Whether If-Match, or without it If-Unmodified-Since, holds for this response (RFC 9110 §13.1.1, §13.1.4)."""
    if_match = headers.combined(request.fields, b"if-match")
    if if_match is not None:
        return if_match.strip() == b"*" or _names_strongly(if_match, headers.first(head.fields, b"etag"))
    before = _instant(request.fields, b"if-unmodified-since", now)
    modified_at = _instant(head.fields, b"last-modified", now)
    return before is None or modified_at is None or modified_at <= before


def _instant(fields: Fields, name: bytes, now: float) -> float | None:
    value = headers.first(fields, name)
    return None if value is None else dates.parse_http_date(value, now)


def _names(if_none_match: bytes, etag: bytes | None) -> bool:
    """Weak comparison with any member (RFC 9110 §13.1.2). Tags without quotes, which some write, are compared whole."""
    value = if_none_match.strip(b" \t")
    if value == b"*":
        return True
    if etag is None:
        return False
    opaque = _opaque(etag)
    return any(_opaque(tag) == opaque for tag in _ENTITY_TAG.findall(value)) or value.strip(b'"') == etag.strip(b'"')


def _names_strongly(if_match: bytes, etag: bytes | None) -> bool:
    return etag is not None and is_strong(etag) and etag in _ENTITY_TAG.findall(if_match)


def _opaque(etag: bytes) -> bytes:
    return etag[2:] if etag[:2] == b"W/" else etag


def is_strong(etag: bytes) -> bool:
    """Whether an entity tag promises the very same octets (RFC 9110 §8.8.1): well formed, and not weak."""
    return etag[:1] == b'"' and _ENTITY_TAG.fullmatch(etag) is not None


def is_same_weakly(one: bytes, other: bytes) -> bool:
    """Weak comparison (RFC 9110 §8.8.3.2)."""
    return _opaque(one) == _opaque(other)


def not_modified_fields(fields: Fields) -> list[tuple[bytes, bytes]]:
    """The lines of a 304 made from those of the 200 (RFC 9110 §15.4.5): without what describes the content.

    Last-Modified goes too where there is an ETag: it would only guide caches that cannot compare tags.
    """
    dropped = _OF_THE_REPRESENTATION
    if headers.has(fields, b"etag"):
        dropped = dropped | {b"last-modified"}
    return headers.without(fields, dropped)


def validation_fields(head: Head) -> list[tuple[bytes, bytes]]:
    """What to ask the upstream with (RFC 9111 §4.3.1): both validators, each as it came; empty where there is none."""
    asked = ((b"If-None-Match", b"etag"), (b"If-Modified-Since", b"last-modified"))
    return [(name, value) for name, source in asked if (value := headers.first(head.fields, source)) is not None]


def strip_conditionals(fields: Fields) -> list[tuple[bytes, bytes]]:
    """The request without its preconditions: ours is about the whole, whatever the client has already. Range stays."""
    return headers.without(fields, CONDITIONALS)


def strong_validator(head: Head) -> bytes | None:
    """What identifies the octets: a strong ETag, or a Last-Modified that counts as strong, or None.

    A date is strong when Date is later by a second at least, so that no second change can hide behind it (RFC 9110 §8.8.2.2). Where
    the upstream gave a weak ETag it told us not to count on octets, and we do not.
    """
    etag = headers.first(head.fields, b"etag")
    if etag is not None:
        return etag if is_strong(etag) else None
    modified, date = headers.first(head.fields, b"last-modified"), headers.first(head.fields, b"date")
    if modified is None or date is None:
        return None
    date_at = dates.parse_http_date(date, 0.0)
    modified_at = dates.parse_http_date(modified, 0.0)
    is_settled = date_at is not None and modified_at is not None and date_at - modified_at >= 1
    return modified if is_settled else None


def if_range_matches(request: Request, head: Head) -> bool:
    """Whether the Range of this request counts (RFC 9110 §13.1.5): there is no If-Range, or it names these octets."""
    wanted = headers.first(request.fields, b"if-range")
    if wanted is None:
        return True
    wanted = wanted.strip(b" \t")
    if wanted[:1] == b'"' or wanted[:2] == b"W/":
        return is_strong(wanted) and wanted == headers.first(head.fields, b"etag")
    date, modified = headers.first(head.fields, b"date"), headers.first(head.fields, b"last-modified")
    if date is None or modified is None or wanted != modified:
        return False
    return strong_validator(Head(head.status, ((b"date", date), (b"last-modified", modified)))) is not None
