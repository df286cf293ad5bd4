"""What storing.storable and updating.freshen say, found out anew for each response: nothing is remembered of others like it."""

from __future__ import annotations

from minicdn.core import cachecontrol, headers, tags, updating, vary
from minicdn.core.cachecontrol import Directives, of_request
from minicdn.core.lifetime import HEURISTIC_STATUSES, Lifetime, Policy, freshness_lifetime, initial_age
from minicdn.core.message import Fields, Head, Request
from minicdn.core.ruling import ABOUT_ONE_REQUEST, UNDERSTOOD_STATUSES
from minicdn.core.stored import NotStored, Stored
from minicdn.core.storing import dated


def plainly_storable(request: Request, head: Head, request_at: float, response_at: float, policy: Policy) -> Stored | NotStored:
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
    age = initial_age(headers.every(head.fields, b"age"), date_at, request_at, response_at)
    return settled(Head(head.status, fields), selecting, directives, lifetime, age, request_at, response_at, date_at, policy)


def plainly_freshened(
    stored: Stored, head304: Head, request_at: float, response_at: float, policy: Policy, request: Request | None = None
) -> Stored:
    """The stored response after a 304 that fits it (`fits`).

    `request`: whose validation it was; needed where the 304 brings another Vary. An update that now forbids storing comes out as
    always_validate with no lifetime: it answers nobody else.
    """
    new_fields = head304.fields if headers.has(head304.fields, b"date") else dated(head304.fields, response_at)[0]
    fields, date_at = dated(updating.merged(stored.head.fields, new_fields), response_at)
    directives, ruling = cachecontrol.of_response(fields)
    key = request.key if request is not None else ""
    lifetime = freshness_lifetime(stored.head.status, fields, directives, ruling, date_at, key, policy)
    age = initial_age(headers.every(head304.fields, b"age"), date_at, request_at, response_at)
    selecting = updating._reselected(stored, fields, request)
    head = Head(stored.head.status, fields)
    return settled(head, selecting, directives, lifetime, age, request_at, response_at, date_at, policy)


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
    if policy.obey_request_directives and of_request(request.fields).no_store:
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
