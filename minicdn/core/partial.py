"""Between a 206 and the whole it is a part of (RFC 9110 §15.3.7, RFC 9111 §3.3, §3.4).

What is stored is always the head of the whole; which octets are there is the store's business. So a 206 is turned into the head that
the 200 would have had, and a part that is served gets the head of a 206 again.
"""

from __future__ import annotations

from minicdn.core import conditional, headers
from minicdn.core.message import Fields, Head
from minicdn.core.ranges import content_range, parse_content_range

_OF_THE_PART = frozenset((b"content-range", b"content-length", b"content-digest"))


def span_of(head: Head) -> tuple[int, int, int | None] | None:
    """(start, end, length or None) of the octets that a response brings, or None where it brings the whole or no single span.

    A multipart 206 gives None too: it is passed on and not stored.
    """
    value = headers.first(head.fields, b"content-range")
    return parse_content_range(value) if head.status == 206 and value is not None else None


def whole_head(head: Head) -> Head:
    """The head that a 200 with the whole would have: the part's own fields gone, and the length where Content-Range tells it."""
    span = span_of(head)
    if span is None:
        return head
    fields = headers.without(head.fields, _OF_THE_PART)
    length = span[2]
    return Head(200, fields if length is None else [*fields, (b"Content-Length", b"%d" % length)])


def saying_parts(head: Head) -> Head:
    """There are parts: many say so with a 200 only."""
    return head if headers.has(head.fields, b"accept-ranges") else Head(head.status, [*head.fields, (b"Accept-Ranges", b"bytes")])


def part_fields(fields: Fields, start: int, end: int, length: int | None) -> list[tuple[bytes, bytes]]:
    """The lines of a single-range 206, from those of the whole."""
    rest = headers.without(fields, _OF_THE_PART)
    return [*rest, (b"Content-Length", b"%d" % (end - start)), (b"Content-Range", content_range(start, end, length))]


def may_combine(stored: Head, new: Head) -> bool:
    """Whether the octets of a new response belong to the same body as the stored ones (RFC 9111 §3.4): one strong validator.

    The lengths must not differ either, where both are told: then one of the two is wrong about its validator.
    """
    validator = conditional.strong_validator(stored)
    if validator is None or validator != conditional.strong_validator(new):
        return False
    lengths = _length(stored), _length(new)
    return None in lengths or lengths[0] == lengths[1]


def _length(head: Head) -> bytes | None:
    return headers.first(whole_head(head).fields, b"content-length")
