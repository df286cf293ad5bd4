"""What the lines that rule a response say of it, whoever asked: Cache-Control, or a field aimed at us in its stead.

Nearly all answers of one upstream say the same, so what follows from these lines and the status is remembered by them. What depends on
more (a date, the request, the operator's policy) is settled for each answer (storing.py).
"""

from __future__ import annotations

from functools import lru_cache

from minicdn.core import cachecontrol
from minicdn.core.cachecontrol import TARGETED, Directives
from minicdn.core.lifetime import Lifetime, said_lifetime
from minicdn.core.message import Fields
from minicdn.core.names import TooLong
from minicdn.core.value import value_class

RULING = frozenset((*TARGETED, b"cache-control"))
"""Names of the lines that rule."""
RULINGS_MAX = 512
RULING_BYTES_MAX, RULING_LINES_MAX = 1024, 16
"""Longer ones are read each time, and more of them."""

UNDERSTOOD_STATUSES = frozenset(
    (
        *(200, 201, 202, 203, 204, 205, 206),
        *(300, 301, 302, 303, 307, 308),
        *(400, 401, 402, 403, 404, 405, 406, 409, 410, 411, 413, 414, 415, 417, 421, 422, 426, 428, 429, 431, 451),
        *(500, 501, 502, 503, 504, 505, 511),
    )
)
"""Final statuses whose rules for caching we keep: what must-understand asks about (RFC 9111 §5.2.2.3)."""

ABOUT_ONE_REQUEST = frozenset((304, 407, 408, 412, 416))
"""Statuses that answer a condition, a range or a connection, which the key does not hold: another request must not get them."""


@value_class
class Ruling:
    """directives, and `by` which field. forbidden: why nothing of it may be kept, whoever asked. may_be_shared: an answer to an
    authorized request may be kept for others (RFC 9111 §3.5). lifetime: where a directive says it. The rest is as Stored has it;
    stale_if_error_seconds None: the operator's grace."""

    directives: Directives
    by: bytes
    forbidden: str | None
    may_be_shared: bool
    lifetime: Lifetime | None
    always_validate: bool
    may_serve_stale: bool
    stale_while_revalidate_seconds: float
    stale_if_error_seconds: float | None


def ruling_of(status: int, lines: tuple[tuple[bytes, bytes], ...]) -> Ruling:
    """lines: those of the response whose names are in RULING, in order."""
    try:
        return _remembered(status, lines)
    except TooLong:
        return read(status, lines)


@lru_cache(RULINGS_MAX)
def _remembered(status: int, lines: tuple[tuple[bytes, bytes], ...]) -> Ruling:
    if len(lines) > RULING_LINES_MAX or sum(len(value) for _, value in lines) > RULING_BYTES_MAX:
        raise TooLong
    return read(status, lines)


def read(status: int, fields: Fields) -> Ruling:
    """As it is said, without remembering it."""
    directives, by = cachecontrol.of_response(fields)
    # A 304 can turn a stored response into one that must not be: then it answers nobody unasked.
    always_validate = directives.no_cache or directives.private or (directives.no_store and not directives.must_understand)
    may_serve_stale = not (always_validate or directives.must_revalidate or directives.proxy_revalidate or directives.s_maxage is not None)
    on_error = directives.stale_if_error
    return Ruling(
        directives,
        by,
        _forbidden(status, directives),
        directives.public or directives.must_revalidate or directives.s_maxage is not None,
        said_lifetime(directives, by),
        always_validate,
        may_serve_stale,
        float(directives.stale_while_revalidate or 0) if may_serve_stale else 0.0,
        0.0 if not may_serve_stale else None if on_error is None else float(on_error),
    )


def _forbidden(status: int, directives: Directives) -> str | None:
    """Who forbids to keep it, if anybody does (RFC 9111 §3)."""
    if status < 200 or status in ABOUT_ONE_REQUEST:
        return f"status {status} answers one request only"
    if directives.must_understand and status not in UNDERSTOOD_STATUSES:
        return f"must-understand, and status {status} is not understood"
    if directives.no_store and not directives.must_understand:
        return "no-store"
    return "private" if directives.private else None
