"""Byte ranges: which octets are wanted, and how they are labelled (RFC 9110 §14).

Inside the house a range is half-open, (start, end), as spans are; on the wire it includes its last octet. A Range that is
malformed, in another unit, too long or folded upon itself is ignored, which RFC 9110 §14.2 allows, and the whole is sent:
never an error, and never more work than the whole.
"""

from __future__ import annotations

import re
from itertools import pairwise

from minicdn.core.value import value_class

RANGES_MAX = 16
"""More ranges than this in one request, and the whole is sent (RFC 9110 §17.15: many small ones are an attack)."""
POSITION_MAX = 10**18
"""Larger positions mean this one: beyond every file."""

Range = tuple[int, int]

_SPEC = re.compile(rb"([0-9]*)-([0-9]*)")
_CONTENT_RANGE = re.compile(rb"bytes[ \t]+([0-9]+)-([0-9]+)/([0-9]+|\*)", re.IGNORECASE)


@value_class
class Unsatisfiable:
    """A well-formed Range of which no octet exists: 416."""


@value_class
class Suffix:
    """The last `length_bytes` octets, whatever the length is."""

    length_bytes: int


UNSATISFIABLE = Unsatisfiable()


def parse_range(value: bytes, length: int) -> list[Range] | Unsatisfiable | None:
    """The ranges of a body of `length` bytes, in the order asked for; None: ignore the field and send the whole."""
    specs = _specs(value)
    if specs is None:
        return None
    if length == 0:
        # A last position before the first cannot be written down: a suffix of nothing is the whole, which is nothing.
        return None if any(isinstance(spec, Suffix) and spec.length_bytes for spec in specs) else UNSATISFIABLE
    ranges = [placed for spec in specs if (placed := _placed(spec, length)) is not None]
    if not ranges:
        return UNSATISFIABLE
    in_order = sorted(ranges)
    overlap = any(later[0] < earlier[1] for earlier, later in pairwise(in_order))
    return None if overlap else ranges


def parse_single_range(value: bytes) -> tuple[int, int | None] | Suffix | None:
    """The one range asked for, before the length is known: (start, end or None), a Suffix, or None where it is not one range."""
    specs = _specs(value)
    return specs[0] if specs is not None and len(specs) == 1 else None


def _specs(value: bytes) -> list[tuple[int, int | None] | Suffix] | None:
    unit, equals, ranges = value.strip(b" \t").partition(b"=")
    if not equals or unit.lower() != b"bytes":
        return None
    members = [member for part in ranges.split(b",", 4 * RANGES_MAX) if (member := part.strip(b" \t"))]
    if not 0 < len(members) <= RANGES_MAX:
        return None
    specs = [_spec(member) for member in members]
    return None if None in specs else specs  # type: ignore[return-value]


def _spec(member: bytes) -> tuple[int, int | None] | Suffix | None:
    match = _SPEC.fullmatch(member)
    if match is None:
        return None
    first, last = match.groups()
    if not first:
        return Suffix(_number(last)) if last else None
    if not last:
        return _number(first), None
    start, end = _number(first), _number(last)
    return (start, end + 1) if start <= end else None


def _number(digits: bytes) -> int:
    digits = digits.lstrip(b"0")
    return int(digits or b"0") if len(digits) < 19 else POSITION_MAX


def _placed(spec: tuple[int, int | None] | Suffix, length: int) -> Range | None:
    """The part of the range that exists; None where none does (RFC 9110 §14.1.1)."""
    if isinstance(spec, Suffix):
        return (max(0, length - spec.length_bytes), length) if spec.length_bytes else None
    start, end = spec
    return (start, length if end is None else min(end, length)) if start < length else None


def content_range(start: int, end: int, length: int | None) -> bytes:
    """Content-Range of a 206 with the octets start … end − 1 (RFC 9110 §14.4); `length` None: not known yet."""
    if not 0 <= start < end or (length is not None and end > length):
        raise ValueError(f"no range {start}:{end} of {length}")
    return b"bytes %d-%d/%s" % (start, end - 1, b"*" if length is None else b"%d" % length)


def unsatisfied_range(length: int) -> bytes:
    """Content-Range of a 416 (RFC 9110 §15.5.17)."""
    return b"bytes */%d" % length


def parse_content_range(value: bytes) -> tuple[int, int, int | None] | None:
    """(start, end, length or None) of a 206's Content-Range; None where it is none or contradicts itself (RFC 9110 §14.4)."""
    match = _CONTENT_RANGE.fullmatch(value.strip(b" \t"))
    if match is None:
        return None
    first, last, complete = match.groups()
    start, end = _number(first), _number(last) + 1
    length = None if complete == b"*" else _number(complete)
    is_sound = start < end <= POSITION_MAX and (length is None or end <= length)
    return (start, end, length) if is_sound else None


def part_head(boundary: bytes, content_type: bytes | None, start: int, end: int, length: int | None) -> bytes:
    """What stands before each part of multipart/byteranges (RFC 9110 §14.6), its line break included."""
    kind = b"" if content_type is None else b"Content-Type: %s\r\n" % content_type
    return b"\r\n--%s\r\n%sContent-Range: %s\r\n\r\n" % (boundary, kind, content_range(start, end, length))


def closing(boundary: bytes) -> bytes:
    """What stands behind the last part."""
    return b"\r\n--%s--\r\n" % boundary


def multipart_type(boundary: bytes) -> bytes:
    """Content-Type of the whole multipart answer."""
    return b"multipart/byteranges; boundary=" + boundary


def multipart_length(boundary: bytes, content_type: bytes | None, ranges: list[Range], length: int | None) -> int:
    """Content-Length of the whole multipart answer: every part_head, its octets, and the closing."""
    parts = sum(len(part_head(boundary, content_type, start, end, length)) + end - start for start, end in ranges)
    return parts + len(closing(boundary))
