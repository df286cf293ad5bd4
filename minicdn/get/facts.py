"""What an answer says about the file: which bytes it brings, of how many, under which validator. Pure.

A part counts only if it carries the same strong validator and the same length as all parts before it; anything else is another file, and
the download starts over rather than patch the two together (RFC 9110 §15.3.7.3).
"""

from __future__ import annotations

from dataclasses import dataclass

from minicdn.core import headers
from minicdn.core.conditional import strong_validator
from minicdn.core.digests import parse_digests
from minicdn.core.message import Fields, Head
from minicdn.core.partial import span_of, whole_head
from minicdn.errors import NotThere, OperatorError, Refused

LATER = (408, 425, 429)
"""4xx that say nothing about the file, but about this moment (RFC 9110 §15.5.9, RFC 8470, RFC 6585)."""
UNSATISFIED = 416


@dataclass(frozen=True, slots=True)
class Facts:
    """start, end: the bytes that the answer brings, half-open; end None: until it ends. length: of the whole, where told.

    takes_ranges: a later Range has a chance. sha256: of the whole, by Repr-Digest."""

    start: int
    end: int | None
    length: int | None
    validator: bytes | None
    takes_ranges: bool
    sha256: bytes | None

    def fits(self, length: int | None, validator: bytes | None) -> bool:
        """Whether these bytes belong to the file of which others are here already (as core/partial.py's may_combine)."""
        return validator is not None and self.validator == validator and (None in (self.length, length) or self.length == length)

    @property
    def is_whole(self) -> bool:
        return self.start == 0 and self.end == self.length


def facts_of(status: int, fields: Fields) -> Facts | None:
    """Of an answer with content (2xx); None where its Content-Range is none that we asked for."""
    head = Head(status, fields)
    span = span_of(head)
    if status == 206 and span is None:
        return None
    digest = parse_digests(fields).get("sha-256")
    validator = strong_validator(whole_head(head))
    if span is not None:
        return Facts(span[0], span[1], span[2], validator, True, digest)
    length = _length(fields)
    takes_ranges = any(unit.lower() == b"bytes" for unit in headers.split_list(headers.combined(fields, b"accept-ranges") or b""))
    return Facts(0, length, length, validator, takes_ranges, digest)


def _length(fields: Fields) -> int | None:
    value = headers.first(fields, b"content-length")
    if headers.has(fields, b"transfer-encoding") or value is None or not value.isdigit():
        return None
    return int(value)


def refusal(status: int, url: str) -> OperatorError | None:
    """What a status means for the person who asked, where asking others would not help; None: it may."""
    if status in (404, 410):
        return NotThere(f"{url} is not there (the server answers {status})")
    if 400 <= status < 500 and status not in LATER and status != UNSATISFIED:
        return Refused(f"{url} is refused (the server answers {status})")
    return None


def is_content(status: int) -> bool:
    return 200 <= status < 300


def range_fields(start: int, end: int | None, validator: bytes | None) -> list[tuple[bytes, bytes]]:
    """Ask for [start, end); end None: for the rest. With a validator: only of that very file, else for the whole of the new one."""
    if start == 0 and end is None:
        return []
    last = b"" if end is None else b"%d" % (end - 1)
    fields = [(b"Range", b"bytes=%d-%b" % (start, last))]
    return fields if validator is None else [*fields, (b"If-Range", validator)]
