"""How old a response is on arrival, and how long it stays fresh (RFC 9111 §4.2).

The first that speaks decides: s-maxage, max-age, Expires − Date, the operator's own rule for the path, and only then a guess.
A guess is made for statuses whose meaning lasts (RFC 9110 §15.1), or where `public` invites it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from minicdn.core import cachecontrol, dates, headers
from minicdn.core.cachecontrol import SECONDS_MAX, Directives
from minicdn.core.message import Fields
from minicdn.core.value import value_class

HEURISTIC_STATUSES = frozenset((200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501))
"""RFC 9110 §15.1: cacheable without saying so."""

HEURISTIC_SHARE = 0.1
"""The customary share of the time since the last change (RFC 9111 §4.2.2)."""

AGES_READ_MAX = 16
"""Members of Age that are looked at in search of a valid one."""


@value_class
class Policy:
    """The operator's part in caching decisions; seconds.

    grace_seconds: how long past its freshness a response may stand in when the upstream fails (unless it says so itself).
    negative_seconds: lifetime of errors that are cacheable by default and came without one; 0: none.
    heuristic: whether lifetimes are guessed. obey_request_directives: whether a client may force the cache to ask upstream.
    default_ttls: (pattern, seconds) pairs; the first pattern (shell-like, matched against the whole key) that fits gives the lifetime of
    a success that came without one. heuristic_max_seconds: a guess is never longer.
    """

    grace_seconds: float = 7 * 24 * 3600.0
    negative_seconds: float = 10.0
    heuristic: bool = True
    obey_request_directives: bool = True
    default_ttls: tuple[tuple[str, float], ...] = ()
    heuristic_max_seconds: float = 24 * 3600.0


@value_class
class Lifetime:
    """seconds, who decided (in words), and whether the upstream or the operator said it rather than we guessed it."""

    seconds: float
    decided_by: str
    is_explicit: bool


def freshness_lifetime(
    status: int, fields: Fields, directives: Directives, ruling: bytes, date_at: float, key: str, policy: Policy
) -> Lifetime:
    """The lifetime of a response; `ruling` names the field that `directives` came from (cachecontrol.of_response)."""
    said = said_lifetime(directives, ruling)
    if said is not None:
        return said
    # A targeted field stands instead of Cache-Control and Expires both (RFC 9213 §2.2).
    expires = headers.every(fields, b"expires") if ruling == b"cache-control" else []
    if expires:
        return Lifetime(_until_expiry(expires, date_at), "expires", True)
    return _unsaid_lifetime(status, fields, directives, date_at, key, policy)


def said_lifetime(directives: Directives, ruling: bytes) -> Lifetime | None:
    """The lifetime that a directive names."""
    name = ruling.decode("ascii")
    if directives.s_maxage is not None:
        return Lifetime(directives.s_maxage, sys.intern(f"{name}: s-maxage"), True)
    if directives.max_age is not None:
        return Lifetime(directives.max_age, sys.intern(f"{name}: max-age"), True)
    return None


def _until_expiry(values: list[bytes], date_at: float) -> float:
    """Expires − Date (RFC 9111 §5.3). No date, or several that differ: already past."""
    instants = {dates.parse_http_date(value, date_at) for value in values}
    expires_at = instants.pop()
    if instants or expires_at is None:
        return 0.0
    return min(max(expires_at - date_at, 0.0), SECONDS_MAX)


def _unsaid_lifetime(status: int, fields: Fields, directives: Directives, date_at: float, key: str, policy: Policy) -> Lifetime:
    is_lasting = status in HEURISTIC_STATUSES
    if status < 400 and is_lasting:
        for pattern, seconds in policy.default_ttls:
            if fnmatchcase(key, pattern):
                return Lifetime(min(max(seconds, 0.0), SECONDS_MAX), f"default ttl of {pattern}", True)
    if status >= 400 and is_lasting:
        return Lifetime(policy.negative_seconds, "negative caching", False)
    if policy.heuristic and (is_lasting or directives.public):
        return _guess(fields, date_at, policy)
    return Lifetime(0.0, "nothing", False)


def _guess(fields: Fields, date_at: float, policy: Policy) -> Lifetime:
    modified = headers.first(fields, b"last-modified")
    modified_at = None if modified is None else dates.parse_http_date(modified, date_at)
    if modified_at is None or modified_at > date_at:
        return Lifetime(0.0, "nothing", False)
    seconds = min(HEURISTIC_SHARE * (date_at - modified_at), policy.heuristic_max_seconds)
    return Lifetime(float(int(seconds)), "heuristic: a tenth of the time since last-modified", False)


def initial_age(ages: Sequence[bytes], date_at: float, request_at: float, response_at: float) -> float:
    """corrected_initial_age (RFC 9111 §4.2.3), seconds. ages: the values of all Age lines.

    Date counts whole seconds, so the arrival is compared in whole seconds too: half a second's rounding must not eat half of
    `max-age=1`.
    """
    delay, apparent_age = response_at - request_at, int(response_at) - date_at
    corrected_age = delay if delay > 0.0 else 0.0
    if ages:
        corrected_age += parse_age(ages)
    age = apparent_age if apparent_age > corrected_age else corrected_age
    return age if age < SECONDS_MAX else float(SECONDS_MAX)


def parse_age(values: Iterable[bytes]) -> int:
    """The first valid member of all Age lines (RFC 9111 §5.1: a list is read by its first member); 0 where there is none."""
    members = (member.strip(b" \t") for value in values for member in value.split(b",")[:AGES_READ_MAX])
    return next((age for member in members if (age := cachecontrol.parse_seconds(member)) is not None), 0)
