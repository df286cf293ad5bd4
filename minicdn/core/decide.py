"""What to do with a request: the one decision of the cache (RFC 9111 §4).

    plan = decide(request, stored, now, policy)

says it; node/cache.py does it. Every rule about using a stored response is here, none in a handler.
"""

from __future__ import annotations

from minicdn.core import cachecontrol, conditional, vary
from minicdn.core.cachecontrol import Directives
from minicdn.core.lifetime import Policy
from minicdn.core.message import Request
from minicdn.core.stored import Stored, current_age, is_fresh
from minicdn.core.value import value_class

SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))
"""RFC 9110 §9.2.1. All others, unknown ones among them, may change what is stored."""

CACHED_METHODS = ("GET", "HEAD")


@value_class
class Serve:
    """Answer from what is stored; `stale`: past its lifetime; `refresh`: and have it refreshed behind the answer."""

    stale: bool
    refresh: bool
    detail: str


@value_class
class Validate:
    """Ask the upstream about what is stored (conditionally where it has validators), then answer.

    serve_on_error: the stored response stands in if the upstream fails. fwd: the word for Cache-Status (RFC 9211 §2.2).
    """

    detail: str
    serve_on_error: bool
    fwd: str = "stale"


@value_class
class Fetch:
    """Ask the upstream: nothing stored can help."""

    detail: str
    fwd: str = "uri-miss"


@value_class
class Refuse:
    """Answer with an error of our own."""

    status: int
    reason: str


Plan = Serve | Validate | Fetch | Refuse

_WISHES = frozenset((b"cache-control", b"pragma", b"if-match", b"if-unmodified-since"))
"""Request fields that can keep a fresh response from being served as it is."""

_FRESH = Serve(stale=False, refresh=False, detail="fresh")
_NOTHING = Fetch("nothing is stored")


def is_method_cached(method: str) -> bool:
    """Whether requests with this method (upper case) may be answered from what is stored (RFC 9110 §9.3.1, §9.3.2)."""
    return method in CACHED_METHODS


def decide(request: Request, stored: Stored | None, now: float, policy: Policy) -> Plan:
    """The plan for a request, given the stored response chosen for it (vary.choose), if there is one."""
    if request.method not in CACHED_METHODS:
        return Fetch("a method that is passed on", "method")
    is_plain = _WISHES.isdisjoint(request.names)
    if is_plain and stored is not None and not stored.always_validate and is_fresh(stored, now) and vary.fits(request.fields, stored):
        return _FRESH  # what nearly every hit comes to, without asking for each wish by itself
    if is_plain and stored is None:
        return _NOTHING
    wishes = cachecontrol.of_request(request.fields)
    if stored is None:
        plan: Plan = _NOTHING
    elif not vary.fits(request.fields, stored):
        plan = Fetch("the stored response was chosen by other request fields", "vary-miss")
    else:
        plan = _use(request, stored, wishes, now, policy)
    # A client that wants nothing but what is stored gets that or 504, and no request goes out (RFC 9111 §5.2.1.7).
    if wishes.only_if_cached and not isinstance(plan, Serve):
        return Refuse(504, "only-if-cached, and nothing stored will do")
    return plan


def _use(request: Request, stored: Stored, wishes: Directives, now: float, policy: Policy) -> Plan:
    """Serve or validate a stored response that the request has chosen."""
    on_error = may_serve_on_error(request, stored, now, policy)
    if stored.always_validate:
        return Validate("the response says no-cache", on_error)
    if not conditional.holds_for_origin(request, stored.head, now):
        return Validate("a precondition that the stored response fails", on_error, "request")
    forced = _forced(stored, wishes, now) if policy.obey_request_directives else None
    if is_fresh(stored, now):
        return _FRESH if forced is None else Validate(forced, on_error, "request")
    if stored.may_serve_stale and forced is None:
        staleness = staleness_seconds(stored, now)
        if wishes.max_stale is not None and staleness <= wishes.max_stale:
            return Serve(stale=True, refresh=False, detail="the client allows max-stale")
        meanwhile = stored.stale_while_revalidate_seconds
        if 0 < meanwhile >= staleness and wishes.max_age is None and wishes.min_fresh is None:
            return Serve(stale=True, refresh=True, detail="stale-while-revalidate")
    return Validate(forced or "stale", on_error)


def _forced(stored: Stored, wishes: Directives, now: float) -> str | None:
    """Why the client will not have this response unvalidated, if so (RFC 9111 §5.2.1)."""
    if wishes.no_cache:
        return "the client asked for no-cache"
    # A body that never changes is not asked about on a mere reload (RFC 8246 §2).
    if wishes.max_age is not None and not (stored.is_immutable and is_fresh(stored, now)):
        allowance = wishes.max_age + (wishes.max_stale or 0)
        if current_age(stored, now) > allowance:
            return "older than the client's max-age"
    if wishes.min_fresh is not None and stored.fresh_until - now < wishes.min_fresh:
        return "less fresh than the client's min-fresh"
    return None


def staleness_seconds(stored: Stored, now: float) -> float:
    """How long ago its freshness ended; 0 while it is fresh."""
    return max(0.0, now - stored.fresh_until, current_age(stored, now) - stored.lifetime_seconds)


def may_serve_on_error(request: Request, stored: Stored, now: float, policy: Policy) -> bool:
    """Whether the stored response may stand in when the upstream fails (RFC 5861 §4, RFC 9111 §4.2.4).

    It failed when it could not be reached, closed before the end of its head, or answered 500, 502, 503 or 504 (`is_failure`).
    A client's stale-if-error can only shorten the time. Its no-cache and max-age are wishes about a working upstream.
    """
    if not stored.may_serve_stale or not vary.fits(request.fields, stored):
        return False
    wished = cachecontrol.of_request(request.fields).stale_if_error
    allowed = stored.stale_if_error_seconds if wished is None else min(wished, stored.stale_if_error_seconds)
    return staleness_seconds(stored, now) <= allowed


def is_failure(status: int) -> bool:
    """Whether an upstream's answer counts as an error that a stale response may hide (RFC 5861 §4)."""
    return status in (500, 502, 503, 504)


def is_of_the_moment(status: int) -> bool:
    """Whether an upstream's answer says nothing of what it answers next: a failure, or a refusal for now (RFC 9110 §15.5.9, RFC 8470 §5.2,
    RFC 6585 §4)."""
    return is_failure(status) or status in (408, 425, 429)


def invalidates(method: str, status: int) -> bool:
    """Whether an answer to this method makes what is stored under the target unusable (RFC 9111 §4.4): unsafe, and no error."""
    return method not in SAFE_METHODS and 200 <= status < 400
