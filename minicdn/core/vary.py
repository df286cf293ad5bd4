"""Which stored response fits a request, by the fields that Vary names (RFC 9111 §4.1).

A response keeps the selecting fields of the request it answered, normalised; a request fits when its own come out the same.
Absent is not the same as empty. Normalising goes only as far as each field's grammar allows: for the Accept family, case and
order and spaces mean nothing (RFC 9110 §12.5); for a field we do not know, only lines are joined and spaces around
commas dropped, which every list grammar permits.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from minicdn.core import headers
from minicdn.core.message import Fields

if TYPE_CHECKING:
    from minicdn.core.freshness import Stored

Selecting = tuple[tuple[bytes, bytes | None], ...]
"""(name in lower case, normalised value or None for an absent field), in order of name."""

VARIES_MAX = 256
VARY_BYTES_MAX = 512
"""Of a Vary that is remembered: an upstream has few."""

_PREFERENCES = frozenset((b"accept", b"accept-encoding", b"accept-language", b"accept-charset"))
_WEIGHT_ONE = re.compile(rb";q=1(?:\.0{0,3})?$")
_WEIGHT = re.compile(rb"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")
_SPACES = re.compile(rb"[ \t]*([;=])[ \t]*")


def selecting(request_fields: Fields, response_fields: Fields) -> Selecting | None:
    """The selecting fields as this request has them; () without Vary, None for `Vary: *` (which fits nothing, ever)."""
    vary = headers.combined(response_fields, b"vary")
    if vary is None:
        return ()
    names = _named(vary) if len(vary) <= VARY_BYTES_MAX else selecting_names(vary)
    return None if names is None else tuple([(name, normal_value(request_fields, name)) for name in names])


def selecting_names(vary: bytes) -> tuple[bytes, ...] | None:
    """The names of a Vary, in lower case and in their order; None where `*` is among them."""
    names = {name.lower() for name in headers.split_list(vary)}
    return None if b"*" in names else tuple(sorted(names))


_named = lru_cache(VARIES_MAX)(selecting_names)


def matches(request_fields: Fields, selecting: Selecting | None) -> bool:
    """Whether a request with these fields may be answered by a response stored under `selecting`."""
    if not selecting:
        return selecting is not None
    return all(normal_value(request_fields, name) == value for name, value in selecting)


def fits(request_fields: Fields, stored: Stored) -> bool:
    """Whether the stored response answers such a request: its selecting fields match, or say the same thing otherwise.

    The one case of the latter: a response in one language, for a client that prefers that very language to all others. No
    negotiation could end differently (RFC 9111 §4.1 lets a cache normalise what has identical semantics; RFC 9110 §12.5.4).
    """
    if matches(request_fields, stored.selecting):
        return True
    return stored.selecting is not None and all(
        normal_value(request_fields, name) == value or (name == b"accept-language" and _is_in_favourite_language(request_fields, stored))
        for name, value in stored.selecting
    )


def is_same_variant(one: Stored | None, other: Stored | None) -> bool:
    """Whether the two answer the same requests: of two such only one is kept. What may not be stored is no variant."""
    return one is not None and other is not None and one.selecting == other.selecting


def _is_in_favourite_language(request_fields: Fields, stored: Stored) -> bool:
    language = headers.combined(stored.head.fields, b"content-language")
    if language is None:
        return False
    weights: dict[bytes, float] = {}
    for member in headers.split_list(headers.combined(request_fields, b"accept-language") or b""):
        tag, _, weight = _preference(member).partition(b";q=")
        weights[tag] = float(weight) if _WEIGHT.fullmatch(weight) else 1.0
    best = weights.pop(language.strip().lower(), 0.0)
    return best > 0 and all(best > other for other in weights.values())


def choose(request_fields: Fields, candidates: Sequence[Stored]) -> int | None:
    """The index of the stored response to use: the most recent of those that match, by Date, then by arrival (RFC 9111 §4.1)."""
    fitting = [(stored.date_at, stored.response_at, index) for index, stored in enumerate(candidates) if fits(request_fields, stored)]
    return max(fitting)[2] if fitting else None


def normal_value(fields: Fields, name: bytes) -> bytes | None:
    """All lines of one request field in their normal form; None where there is none."""
    value = headers.combined(fields, name)
    if value is None:
        return None
    if name not in _PREFERENCES:
        return b",".join(headers.split_list(value))
    if b";" not in value and b'"' not in value:
        return b",".join(sorted(set(headers.split_list(value.lower()))))
    return b",".join(sorted({_preference(member) for member in headers.split_list(value)}))


def _preference(member: bytes) -> bytes:
    """One member of the Accept family. Quoted parameters may be case-sensitive, so a member that has one stays as it is."""
    if b'"' in member:
        return member
    return _WEIGHT_ONE.sub(b"", _SPACES.sub(rb"\1", member).lower())
