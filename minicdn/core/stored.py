"""A stored response as a value: its head, and all that was settled about it when it was stored.

Everything that takes thought (lifetime, age on arrival, what may be served stale) is worked out once, on arrival; a hit only compares
instants. Instants are Unix seconds of this node's wall clock. Nodes' clocks differ, so what crosses the network is an age, not an instant
(to_facts, from_facts; RFC 9111 §4.2.3).
"""

from __future__ import annotations

import sys
from dataclasses import fields, replace
from typing import Any

from minicdn.core import headers
from minicdn.core.message import Head
from minicdn.core.value import value_class
from minicdn.core.vary import Selecting

NUMBER_MAX = 1e18
"""Beyond it nothing is a number of seconds."""


@value_class
class Stored:
    """One stored response.

    head: end-to-end fields in order, without Age, with a Date. selecting: the Vary key, None for `Vary: *` (vary.py).
    request_at, response_at: when the request that brought it left, and when its head came. date_at: what its Date says.
    initial_age_seconds: its age on arrival; fresh_until = response_at + lifetime_seconds − initial_age_seconds.
    always_validate: no-cache. may_serve_stale: nothing in it forbids it (RFC 9111 §4.2.4). is_immutable: RFC 8246.
    stale_while_revalidate_seconds, stale_if_error_seconds: beyond fresh_until; the latter is the operator's grace where the
    response says nothing. decided_by: what settled the lifetime, in words. tags: for purging. withheld: fields (lower
    case) to leave out of answers given without validation (`no-cache="name"`, RFC 9111 §5.2.2.4).
    """

    head: Head
    selecting: Selecting | None
    request_at: float
    response_at: float
    date_at: float
    initial_age_seconds: float
    lifetime_seconds: float
    fresh_until: float
    always_validate: bool = False
    may_serve_stale: bool = True
    is_immutable: bool = False
    stale_while_revalidate_seconds: float = 0.0
    stale_if_error_seconds: float = 0.0
    decided_by: str = ""
    tags: frozenset[str] = frozenset()
    withheld: frozenset[bytes] = frozenset()

    def under(self, head: Head) -> Stored:
        """The same facts about another head. (dataclasses.replace takes three times as long, and this is done for each that is stored.)"""
        return Stored(
            head,
            self.selecting,
            self.request_at,
            self.response_at,
            self.date_at,
            self.initial_age_seconds,
            self.lifetime_seconds,
            self.fresh_until,
            self.always_validate,
            self.may_serve_stale,
            self.is_immutable,
            self.stale_while_revalidate_seconds,
            self.stale_if_error_seconds,
            self.decided_by,
            self.tags,
            self.withheld,
        )


@value_class
class NotStored:
    """The response may pass, but not stay, nor answer any other request that waits for it. `reason` is for people."""

    reason: str


def current_age(stored: Stored, now: float) -> float:
    """Age in seconds with fractions (RFC 9111 §4.2.3). A clock that was set back does not make anything younger."""
    passed = now - stored.response_at
    return stored.initial_age_seconds + passed if passed > 0.0 else stored.initial_age_seconds


def age_seconds(stored: Stored, now: float) -> int:
    """Age as the Age field says it: whole seconds."""
    return int(current_age(stored, now))


def is_fresh(stored: Stored, now: float) -> bool:
    """Whether its lifetime is not over (RFC 9111 §4.2). Says nothing of no-cache."""
    return now < stored.fresh_until and current_age(stored, now) < stored.lifetime_seconds


def served_fields(stored: Stored, age: int, *, validated: bool = False) -> list[tuple[bytes, bytes]]:
    """The field lines to answer with: the stored ones in order, then Age (RFC 9111 §5.1). age: age_seconds() of now.

    `validated`: the upstream has confirmed the response for this very request, so that nothing need be withheld.
    """
    kept = stored.head.fields if validated or not stored.withheld else headers.without(stored.head.fields, stored.withheld)
    return [*kept, age_line(age)]


def age_line(age: int) -> tuple[bytes, bytes]:
    """The Age field."""
    return (b"Age", b"%d" % age) if age else _NEW


_NEW = (b"Age", b"0")


def expire(stored: Stored, now: float) -> Stored:
    """The same response, stale from now on: what a soft purge and an invalidation leave (RFC 9111 §4.4).

    It can still be validated, and still stands in when the upstream fails, but no longer answers while it is being refreshed:
    whoever asked for the purge has changed the thing.
    """
    age = current_age(stored, now)
    if stored.lifetime_seconds <= age and not stored.stale_while_revalidate_seconds:
        return stored
    return replace(
        stored,
        lifetime_seconds=min(stored.lifetime_seconds, age),
        fresh_until=min(stored.fresh_until, now),
        stale_while_revalidate_seconds=0.0,
    )


def to_wire(stored: Stored) -> dict[str, object]:
    """The value as a dict of str, bytes, numbers, booleans, None and lists of those: for disk."""
    plain: dict[str, object] = {field.name: getattr(stored, field.name) for field in fields(stored)}
    plain["head"] = [stored.head.status, [[name, value] for name, value in stored.head.fields]]
    plain["selecting"] = None if stored.selecting is None else [[name, value] for name, value in stored.selecting]
    plain["tags"] = sorted(stored.tags)
    plain["withheld"] = sorted(stored.withheld)
    return plain


def from_wire(plain: object) -> Stored:
    """The inverse of to_wire. Raises ValueError for anything that is not such a dict; unknown entries are skipped."""
    if not isinstance(plain, dict):
        raise ValueError("a stored response must be a map")
    try:
        known = {name: kind(plain[name]) for name, kind in _READ.items() if name in plain}
        return Stored(**known)
    except (KeyError, TypeError, ValueError, OverflowError) as problem:
        raise ValueError(f"not a stored response: {problem}") from problem


def to_facts(stored: Stored) -> list[object]:
    """What a peer has to know of a response besides its head and its age, as plain values in their order."""
    selecting = None if stored.selecting is None else [[name, value] for name, value in stored.selecting]
    return [
        selecting,
        stored.date_at,
        stored.lifetime_seconds,
        stored.always_validate,
        stored.may_serve_stale,
        stored.is_immutable,
        stored.stale_while_revalidate_seconds,
        stored.stale_if_error_seconds,
        stored.decided_by,
        sorted(stored.tags) if stored.tags else [],
        sorted(stored.withheld) if stored.withheld else [],
    ]


def from_facts(facts: object, head: Head, age_at_sender_seconds: float, now: float) -> Stored:
    """The response on this node's clock: it is as old now as its sender said (RFC 9111 §4.2.3, corrected_age_value). head: as it is to be
    stored. Raises ValueError for anything that to_facts does not make; what a later version may add behind it is skipped."""
    try:
        selecting, date, lifetime, validates, is_lasting, immutable, revalidate, on_error, decided_by, tags, withheld, *_ = facts  # type: ignore[misc]
        age = max(0.0, float(age_at_sender_seconds))
        if (
            selecting == tags == withheld == ()
            and type(date) is type(lifetime) is type(revalidate) is type(on_error) is float
            and -NUMBER_MAX <= date <= NUMBER_MAX and -NUMBER_MAX <= lifetime <= NUMBER_MAX
            and -NUMBER_MAX <= revalidate <= NUMBER_MAX and -NUMBER_MAX <= on_error <= NUMBER_MAX
            and type(validates) is type(is_lasting) is type(immutable) is bool
            and type(decided_by) is str
        ):  # fmt: skip
            until, why = now + lifetime - age, sys.intern(decided_by)
            return Stored(head, (), now, now, date, age, lifetime, until, validates, is_lasting, immutable, revalidate, on_error, why)
        lifetime = _number(lifetime)
        return Stored(
            head,
            _selecting(selecting),
            now,
            now,
            _number(date),
            age,
            lifetime,
            now + lifetime - age,
            _bool(validates),
            _bool(is_lasting),
            _bool(immutable),
            _number(revalidate),
            _number(on_error),
            sys.intern(_text(decided_by)),
            frozenset(map(_text, tags)) if tags else _NONE,
            frozenset(map(_octets, withheld)) if withheld else _NONE,
        )
    except (TypeError, ValueError, OverflowError) as problem:
        raise ValueError(f"not a stored response: {problem}") from problem


_NONE: frozenset[Any] = frozenset()


def _number(value: object) -> float:
    if type(value) is float and -NUMBER_MAX <= value <= NUMBER_MAX:  # which is nearly always so, and false for what is no number
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value or abs(value) > NUMBER_MAX:
        raise ValueError(f"not a number of seconds: {value!r}")
    return float(value)


def _bool(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"not a boolean: {value!r}")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"not a text: {value!r}")
    return value


def _octets(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError(f"not octets: {value!r}")
    return value


def _head(value: object) -> Head:
    status, lines = value  # type: ignore[misc]
    if isinstance(status, bool) or not isinstance(status, int) or not 200 <= status <= 999:
        raise ValueError(f"not a final status: {status!r}")
    return Head(status, tuple((_octets(name), _octets(line)) for name, line in lines))


def _selecting(value: object) -> Selecting | None:
    if value is None:
        return None
    return tuple((_octets(name), None if line is None else _octets(line)) for name, line in value)  # type: ignore[attr-defined]


_READ = {
    "head": _head,
    "selecting": _selecting,
    "request_at": _number,
    "response_at": _number,
    "date_at": _number,
    "initial_age_seconds": _number,
    "lifetime_seconds": _number,
    "fresh_until": _number,
    "always_validate": _bool,
    "may_serve_stale": _bool,
    "is_immutable": _bool,
    "stale_while_revalidate_seconds": _number,
    "stale_if_error_seconds": _number,
    "decided_by": _text,
    "tags": lambda value: frozenset(map(_text, value)),
    "withheld": lambda value: frozenset(map(_octets, value)),
}
