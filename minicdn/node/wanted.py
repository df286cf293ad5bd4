"""Which bytes of a body a request wants. One answer for the desk, for what is sent to clients, and for what is sent to peers."""

from __future__ import annotations

from minicdn.core.conditional import if_range_matches
from minicdn.core.headers import every, first
from minicdn.core.message import Request
from minicdn.core.ranges import Unsatisfiable, parse_range, parse_single_range
from minicdn.store.entry import Entry


def wanted_spans(request: Request, entry: Entry) -> list[tuple[int, int]] | Unsatisfiable | None:
    """The spans of a Range request, in its order; Unsatisfiable; or None where the whole is wanted (RFC 9110 §14.2)."""
    if b"range" not in request.names:
        return None
    asked, length = first(request.fields, b"range"), entry.body.length
    if asked is None or length is None or request.method != "GET" or entry.head.status != 200 or not if_range_matches(request, entry.head):
        return None
    return parse_range(asked, length)


def missing_spans(request: Request, entry: Entry) -> list[tuple[int, int]]:
    """What this request wants of a partial body that is neither there nor on its way."""
    body = entry.body
    if not body.is_partial or request.method != "GET":
        return []
    spans = wanted_spans(request, entry)
    if isinstance(spans, Unsatisfiable):
        return []
    return [gap for start, end in (spans or [(0, body.length or 0)]) for gap in body.missing(start, end)]


def single_range(request: Request) -> bytes | None:
    """The Range of a request that can be asked for as it is where nothing is stored: one span, without a condition."""
    names = request.names
    if request.method != "GET" or b"range" not in names or b"if-range" in names:
        return None
    values = every(request.fields, b"range")
    return values[0] if len(values) == 1 and parse_single_range(values[0]) is not None else None


def range_value(start: int, end: int, length: int | None) -> bytes:
    """A Range field's value for [start, end); open where that is all of the rest."""
    return b"bytes=%d-" % start if end == length else b"bytes=%d-%d" % (start, end - 1)


def asks_in_private(request: Request) -> bool:
    """Nobody else's request may be answered with the answer to this one before its head is seen (RFC 9111 §3.5)."""
    return b"authorization" in request.names
