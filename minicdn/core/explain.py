"""Why an answer is as it is, as plain values: what is stored, what settled how long it is fresh, and what the cache would do now."""

from __future__ import annotations

from typing import Any

from minicdn.core.dates import format_http_date
from minicdn.core.decide import Fetch, Plan, Refuse, Serve, Validate
from minicdn.core.stored import Stored, current_age, is_fresh


def facts(stored: Stored, now: float) -> dict[str, Any]:
    """What was settled when the response was stored. Seconds as numbers; instants as HTTP dates, in UTC."""
    left_seconds = min(stored.fresh_until - now, stored.lifetime_seconds - current_age(stored, now))
    return {
        "status": stored.head.status,
        "is_fresh": is_fresh(stored, now) and not stored.always_validate,
        "fresh_until": format_http_date(now + left_seconds).decode(),
        "fresh_seconds": round(left_seconds, 3),
        "age_seconds": round(current_age(stored, now), 3),
        "lifetime_seconds": stored.lifetime_seconds,
        "decided_by": stored.decided_by or "nothing",
        "always_validate": stored.always_validate,
        "may_serve_stale": stored.may_serve_stale,
        "stale_while_revalidate_seconds": stored.stale_while_revalidate_seconds,
        "stale_if_error_seconds": stored.stale_if_error_seconds,
        "tags": sorted(stored.tags),
        "vary": _vary(stored),
    }


def _vary(stored: Stored) -> dict[str, str | None] | str:
    """The request fields that this response was chosen by; `*`: it answers nobody unasked."""
    if stored.selecting is None:
        return "*"
    return {name.decode("latin-1"): None if value is None else value.decode("latin-1") for name, value in stored.selecting}


def in_words(plan: Plan) -> dict[str, str]:
    """action: one word. reason: what settled it."""
    match plan:
        case Serve(stale=False):
            return {"action": "serve", "reason": "it is fresh"}
        case Serve(refresh=True):
            return {"action": "serve stale", "reason": f"{plan.detail}; it is refreshed behind the answer"}
        case Serve():
            return {"action": "serve stale", "reason": plan.detail}
        case Validate():
            on_error = "may" if plan.serve_on_error else "may not"
            return {"action": "validate", "reason": f"{plan.detail}; if the upstream fails, it {on_error} stand in"}
        case Fetch():
            return {"action": "fetch", "reason": plan.detail}
        case Refuse():
            return {"action": "refuse", "reason": f"{plan.status}: {plan.reason}"}
