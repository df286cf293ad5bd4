"""May this response be kept, and as what (RFC 9111 §3)?

What is said of a response is settled here once, into a Stored (stored.py). The order of the questions is the order of §3: the method, the
status, who forbade it, whose it is, and whether it could ever be used again.

What follows from the names of its lines (names.py), or from those that rule it (ruling.py), is known from others like it.
"""

from __future__ import annotations

from minicdn.core import cachecontrol, dates, headers, tags, vary
from minicdn.core.lifetime import HEURISTIC_STATUSES, Lifetime, Policy, freshness_lifetime, initial_age
from minicdn.core.message import Fields, Head, Request
from minicdn.core.names import Names, by_names
from minicdn.core.ruling import RULING, Ruling, ruling_of
from minicdn.core.stored import NotStored, Stored
from minicdn.core.value import value_class

_NOT_AS_IT_IS = headers.HOP_BY_HOP | {b"age"}
"""Lines that are not stored."""


@value_class
class Places:
    """Where the lines of a head stand that matter to storing. date: the first one, −1 where there is none. is_kept_whole: all of its lines
    may be stored, as far as their names say."""

    rules: tuple[int, ...]
    ages: tuple[int, ...]
    date: int
    varies: bool
    has_validator: bool
    has_tags: bool
    is_kept_whole: bool

    def ruling(self, status: int, fields: Fields) -> Ruling:
        """What rules a response with this status and these fields."""
        rules = self.rules
        return ruling_of(status, (fields[rules[0]],) if len(rules) == 1 else tuple([fields[at] for at in rules]))


@by_names
def places_of(names: Names) -> Places:
    """Of the head whose lines have these names."""
    lower = [name.lower() for name in names]
    return Places(
        tuple(at for at, name in enumerate(lower) if name in RULING),
        tuple(at for at, name in enumerate(lower) if name == b"age"),
        lower.index(b"date") if b"date" in lower else -1,
        b"vary" in lower,
        b"etag" in lower or b"last-modified" in lower,
        not tags.TAG_FIELDS.isdisjoint(lower),
        _NOT_AS_IT_IS.isdisjoint(lower),
    )


def storable(request: Request, head: Head, request_at: float, response_at: float, policy: Policy) -> Stored | NotStored:
    """The response to `request` as it is to be stored, or why it is not.

    head: status and fields as the upstream sent them (a 206's fields too: partial.py turns it into the head of the whole).
    request_at, response_at: wall clock when the request left and when the head had come.
    """
    status, fields = head.status, head.fields
    places = places_of(fields)
    ruling = places.ruling(status, fields)
    reason = _forbidden(request, ruling, policy)
    if reason is not None:
        return NotStored(reason)
    selecting = vary.selecting(request.fields, fields) if places.varies else ()
    ages = [fields[at][1] for at in places.ages] if places.ages else ()
    if not places.is_kept_whole:
        fields = headers.end_to_end(fields)
        places = places_of(fields)
    at = places.date
    date_at = dates.parse_http_date(fields[at][1], response_at) if at >= 0 else None
    if date_at is None:
        fields, date_at = dated(fields, response_at)
    lifetime = ruling.lifetime or freshness_lifetime(status, fields, ruling.directives, ruling.by, date_at, request.key, policy)
    if not (places.has_validator and lifetime.is_explicit):
        reason = _useless(status, ruling, lifetime, selecting, has_validator=places.has_validator)
        if reason is not None:
            return NotStored(reason)
    named = tags.parse_tags(fields) if places.has_tags else tags.NONE
    if type(fields) is not tuple or ruling.directives.private_fields:
        head = kept(Head(status, fields), ruling)
    age = initial_age(ages, date_at, request_at, response_at)
    return settled(head, named, selecting, ruling, lifetime, age, request_at, response_at, date_at, policy)


def _forbidden(request: Request, ruling: Ruling, policy: Policy) -> str | None:
    """Who forbids it, if anybody does (RFC 9111 §3)."""
    if request.method != "GET":
        return f"a response to {request.method}"
    if ruling.forbidden is not None:
        return ruling.forbidden
    names = request.names
    if policy.obey_request_directives and b"cache-control" in names and cachecontrol.of_request(request.fields).no_store:
        return "the client asked for no-store"
    if b"authorization" in names and not ruling.may_be_shared:
        return "the request was authorized, and the response is not marked as shared"
    return None


def _useless(status: int, ruling: Ruling, lifetime: Lifetime, selecting: vary.Selecting | None, *, has_validator: bool) -> str | None:
    """Why it could never answer a later request (RFC 9111 §3, last part, and plain thrift)."""
    directives = ruling.directives
    if not lifetime.is_explicit and status not in HEURISTIC_STATUSES and not directives.public:
        return f"status {status} without a lifetime"
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


def kept(head: Head, ruling: Ruling) -> Head:
    """What of an end-to-end head is stored: all but its Age, and what is private."""
    return Head(head.status, tuple(headers.without(head.fields, ruling.directives.private_fields | {b"age"})))


def settled(
    head: Head,
    named: frozenset[str],
    selecting: vary.Selecting | None,
    ruling: Ruling,
    lifetime: Lifetime,
    age: float,
    request_at: float,
    response_at: float,
    date_at: float,
    policy: Policy,
) -> Stored:
    """All that storing settles, put together. Forbidden or not has been asked before. head: as it is kept. named: its tags."""
    seconds, on_error = lifetime.seconds, ruling.stale_if_error_seconds
    if on_error is None:
        # An old "not found" is no comfort when the upstream fails: errors have no grace unless they ask for it.
        on_error = float(policy.grace_seconds) if head.status < 400 else 0.0
    return Stored(
        head,
        selecting,
        request_at,
        response_at,
        date_at,
        age,
        float(seconds),
        response_at + seconds - age,
        ruling.always_validate,
        ruling.may_serve_stale,
        ruling.directives.immutable,
        ruling.stale_while_revalidate_seconds,
        on_error,
        lifetime.decided_by,
        named,
        ruling.directives.no_cache_fields,
    )
