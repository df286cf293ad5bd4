"""May this response be kept, and as what (RFC 9111 §3)?

What is said of a response is settled here once, into a Stored (stored.py). The order of the questions is the order of §3: the method, the
status, who forbade it, whose it is, and whether it could ever be used again.
"""

from __future__ import annotations

from minicdn.core import cachecontrol, dates, headers, tags, vary
from minicdn.core.cachecontrol import Directives
from minicdn.core.lifetime import HEURISTIC_STATUSES, Lifetime, Policy, freshness_lifetime, initial_age
from minicdn.core.message import Fields, Head, Request
from minicdn.core.stored import NotStored, Stored

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


def storable(request: Request, head: Head, request_at: float, response_at: float, policy: Policy) -> Stored | NotStored:
    """The response to `request` as it is to be stored, or why it is not.

    head: status and fields as the upstream sent them (a 206's fields too: partial.py turns it into the head of the whole).
    request_at, response_at: wall clock when the request left and when the head had come.
    """
    directives, ruling = cachecontrol.of_response(head.fields)
    reason = _forbidden(request, head, directives, policy)
    if reason is not None:
        return NotStored(reason)
    selecting = vary.selecting(request.fields, head.fields)
    fields, date_at = dated(headers.end_to_end(head.fields), response_at)
    lifetime = freshness_lifetime(head.status, fields, directives, ruling, date_at, request.key, policy)
    reason = _useless(head.status, fields, directives, lifetime, selecting)
    if reason is not None:
        return NotStored(reason)
    age = initial_age(head.fields, date_at, request_at, response_at)
    return settled(Head(head.status, fields), selecting, directives, lifetime, age, request_at, response_at, date_at, policy)


def _forbidden(request: Request, head: Head, directives: Directives, policy: Policy) -> str | None:
    """Who forbids it, if anybody does (RFC 9111 §3)."""
    if request.method != "GET":
        return f"a response to {request.method}"
    if head.status < 200 or head.status in ABOUT_ONE_REQUEST:
        return f"status {head.status} answers one request only"
    if directives.must_understand and head.status not in UNDERSTOOD_STATUSES:
        return f"must-understand, and status {head.status} is not understood"
    if directives.no_store and not directives.must_understand:
        return "no-store"
    if directives.private:
        return "private"
    if policy.obey_request_directives and cachecontrol.of_request(request.fields).no_store:
        return "the client asked for no-store"
    if headers.has(request.fields, b"authorization") and not may_be_shared(directives):
        return "the request was authorized, and the response is not marked as shared"
    return None


def may_be_shared(directives: Directives) -> bool:
    """Whether a response to an authorized request may be kept for others (RFC 9111 §3.5)."""
    return directives.public or directives.must_revalidate or directives.s_maxage is not None


def _useless(status: int, fields: Fields, directives: Directives, lifetime: Lifetime, selecting: vary.Selecting | None) -> str | None:
    """Why it could never answer a later request (RFC 9111 §3, last part, and plain thrift)."""
    if not lifetime.is_explicit and status not in HEURISTIC_STATUSES and not directives.public:
        return f"status {status} without a lifetime"
    has_validator = headers.has(fields, b"etag") or headers.has(fields, b"last-modified")
    if has_validator:
        return None
    if selecting is None:
        return "vary: * without a validator"
    if directives.no_cache:
        return "no-cache without a validator"
    # Kept for grace alone, a page that nobody marked at all might be somebody's own.
    if lifetime.seconds <= 0 and not lifetime.is_explicit:
        return "neither a lifetime nor a validator"
    return None


def dated(fields: Fields, response_at: float) -> tuple[list[tuple[bytes, bytes]], float]:
    """The fields with one Date that can be read, and the instant that it names (RFC 9110 §6.6.1: a recipient adds a missing one)."""
    value = headers.first(fields, b"date")
    date_at = None if value is None else dates.parse_http_date(value, response_at)
    if date_at is not None:
        return list(fields), date_at
    rest = headers.without(fields, frozenset((b"date",)))
    return [*rest, (b"Date", dates.format_http_date(response_at))], float(int(response_at))


def settled(
    head: Head,
    selecting: vary.Selecting | None,
    directives: Directives,
    lifetime: Lifetime,
    age: float,
    request_at: float,
    response_at: float,
    date_at: float,
    policy: Policy,
) -> Stored:
    """All that storing settles, put together. Forbidden or not has been asked before."""
    # A 304 can turn a stored response into one that must not be: then it answers nobody unasked.
    always_validate = directives.no_cache or directives.private or (directives.no_store and not directives.must_understand)
    may_serve_stale = not (always_validate or directives.must_revalidate or directives.proxy_revalidate or directives.s_maxage is not None)
    grace = directives.stale_if_error
    if grace is None:
        # An old "not found" is no comfort when the upstream fails: errors have no grace unless they ask for it.
        grace = policy.grace_seconds if head.status < 400 else 0
    return Stored(
        head=Head(head.status, tuple(headers.without(head.fields, directives.private_fields | {b"age"}))),
        selecting=selecting,
        request_at=request_at,
        response_at=response_at,
        date_at=date_at,
        initial_age_seconds=age,
        lifetime_seconds=float(lifetime.seconds),
        fresh_until=response_at + lifetime.seconds - age,
        always_validate=always_validate,
        may_serve_stale=may_serve_stale,
        is_immutable=directives.immutable,
        stale_while_revalidate_seconds=float(directives.stale_while_revalidate or 0) if may_serve_stale else 0.0,
        stale_if_error_seconds=float(grace) if may_serve_stale else 0.0,
        decided_by=lifetime.decided_by,
        tags=tags.parse_tags(head.fields),
        withheld=directives.no_cache_fields,
    )
