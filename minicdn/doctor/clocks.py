"""Two clocks compared by an answer's Date, and how much a difference matters. Pure.

Date counts whole seconds, and the answer took its time: a second or two mean nothing.
"""

from __future__ import annotations

from minicdn.core.dates import parse_http_date
from minicdn.core.headers import every, first
from minicdn.core.lifetime import parse_age
from minicdn.core.message import Fields
from minicdn.core.signing import SKEW_SECONDS
from minicdn.doctor.finding import Finding, fail, ok, warn

NOTICED_SECONDS = 10.0
"""Less is usual among laptops, and changes nothing."""
MADE_AT = 1_767_225_600.0
"""2026: no clock that is right shows an earlier year."""
YEARS_SECONDS = 30 * 365 * 86400.0
SET_ADVICE = "turn on automatic time (NTP) on the machine whose clock is wrong"


def ahead_seconds(fields: Fields, request_at: float, response_at: float) -> float | None:
    """By how much the answerer's clock is ahead of ours; None where it does not say. A cache's copy is as old as its Age says."""
    date = first(fields, b"date")
    date_at = parse_http_date(date, response_at) if date is not None else None
    if date_at is None:
        return None
    return date_at + 0.5 + parse_age(every(fields, b"age")) - (request_at + response_at) / 2


def node_ahead_seconds(clock_at: float | None, request_at: float, response_at: float) -> float | None:
    """The same of a node, which says its time in its answer."""
    return None if clock_at is None else clock_at - (request_at + response_at) / 2


def in_words(ahead: float, other: str = "this machine's") -> str:
    if abs(ahead) < 2:
        return f"agrees with {other} within 2 s"
    return f"is {_span(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'} {other}"


def own_clock(now: float, shown: str) -> Finding:
    """Nobody to compare it with: only whether it can be right. shown: the time in words."""
    if not MADE_AT <= now <= MADE_AT + YEARS_SECONDS:
        return fail("clock", f"it is {shown}, says this machine", "set the clock; certificates, lifetimes and tokens all go by it")
    return ok("clock", shown)


def node_clock(check: str, ahead: float | None, other: str, *, with_token: bool) -> Finding:
    """A node's against `other`. with_token: what nodes say is signed with the time, and not believed beyond SKEW_SECONDS."""
    if ahead is None:
        return warn(check, "it does not say what time it is", "its minicdn is an older one, perhaps; install the same version everywhere")
    seen = f"its clock {in_words(ahead, other)}"
    if abs(ahead) > SKEW_SECONDS and with_token:
        return fail(check, f"{seen}; with a token nodes may differ by {SKEW_SECONDS:.0f} s", SET_ADVICE)
    if abs(ahead) > NOTICED_SECONDS:
        return warn(check, seen, SET_ADVICE)
    return ok(check, seen)


def upstream_clock(ahead: float | None) -> Finding:
    check = "upstream clock"
    if ahead is None:
        return warn(check, "no Date, or none that can be read", "files count as made when they come; have the server send Date")
    seen = f"its clock {in_words(ahead)}"
    if abs(ahead) > NOTICED_SECONDS:
        effect = "files with max-age last longer here" if ahead > 0 else "files seem older than they are, and are asked for again sooner"
        return warn(check, f"{seen}: {effect}", SET_ADVICE)
    return ok(check, seen)


def _span(seconds: float) -> str:
    for name, unit in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.1f} {name}"
    return f"{seconds:.0f} s"
