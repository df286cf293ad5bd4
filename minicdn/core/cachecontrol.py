"""Cache-Control in both directions, and the fields aimed at us alone.

The plain field has a loose grammar with a long tail of odd writers (RFC 9111 §5.2); the targeted ones are structured
dictionaries (RFC 9213 §2.1). Both end in the same value, `Directives`, so nobody downstream knows which it was.

What cannot be read is read with caution (RFC 9111 §4.2.1): a lifetime that is no number, or two that differ, is nought; a wish
for freshness is then the strongest one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from minicdn.core import headers, structured
from minicdn.core.message import Fields
from minicdn.core.value import value_class

SECONDS_MAX = 2**31
"""Larger numbers of seconds mean this one (RFC 9111 §1.2.2)."""

TARGETED = (b"minicdn-cdn-cache-control", b"cdn-cache-control")
"""Our target list (RFC 9213 §2.2), the nearest first."""


@value_class
class Directives:
    """Directives of a request or a response. Seconds are int, 0 … SECONDS_MAX; None: not there.

    no_cache and private are the unqualified ones; with field names they fill no_cache_fields and private_fields (lower case).
    max_stale is infinite where it came without a number.
    """

    max_age: int | None = None
    s_maxage: int | None = None
    no_store: bool = False
    no_cache: bool = False
    no_cache_fields: frozenset[bytes] = frozenset()
    private: bool = False
    private_fields: frozenset[bytes] = frozenset()
    public: bool = False
    must_revalidate: bool = False
    proxy_revalidate: bool = False
    must_understand: bool = False
    immutable: bool = False
    no_transform: bool = False
    stale_while_revalidate: int | None = None
    stale_if_error: int | None = None
    max_stale: float | None = None
    min_fresh: int | None = None
    only_if_cached: bool = False


NONE = Directives()

_FLAGS = {
    "no-store": "no_store",
    "public": "public",
    "must-revalidate": "must_revalidate",
    "proxy-revalidate": "proxy_revalidate",
    "must-understand": "must_understand",
    "immutable": "immutable",
    "no-transform": "no_transform",
    "only-if-cached": "only_if_cached",
}
_SECONDS = {
    "max-age": ("max_age", 0),
    "s-maxage": ("s_maxage", 0),
    "stale-while-revalidate": ("stale_while_revalidate", 0),
    "stale-if-error": ("stale_if_error", 0),
    "max-stale": ("max_stale", 0),
    "min-fresh": ("min_fresh", SECONDS_MAX),
}
"""Directive → (attribute, the cautious reading of what cannot be read)."""
_QUALIFIED = {"no-cache": ("no_cache", "no_cache_fields"), "private": ("private", "private_fields")}

_DIGITS = re.compile(rb"[0-9]+")
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


def parse_cache_control(values: Iterable[bytes]) -> Directives:
    """All Cache-Control lines of one message. Never fails: what it does not know it skips (RFC 9111 §5.2.3)."""
    pairs = []
    for value in values:
        for member in headers.split_list(value):
            name, equals, argument = member.partition(b"=")
            pairs.append((name.rstrip(b" \t").lower().decode("latin-1"), _plain_argument(name, argument) if equals else None))
    return _directives(pairs) if pairs else NONE


def _plain_argument(name: bytes, argument: bytes) -> bytes:
    """The argument, unquoted. White space beside the equals sign is no grammar: it stays and makes a number unreadable."""
    return b" " + argument if name[-1:] in (b" ", b"\t") else headers.unquote(argument)


def parse_targeted(values: list[bytes]) -> Directives | None:
    """A targeted field's lines (RFC 9213 §2.1); None where it does not parse, is empty, or is not there: as if absent.

    A known directive with a value of another type than its own spoils the field as a syntax error does: what it was meant to
    say cannot be known, and Cache-Control says it in words that everybody reads alike.
    """
    members = structured.parse_dictionary(values)
    if not members:
        return None
    pairs = [(name, value) for name, value in members.items() if value is not False]
    if not all(_has_its_type(name, value) for name, value in pairs):
        return None
    return _directives([(name, None if value is True else str(value).encode()) for name, value in pairs])


def _has_its_type(name: str, value: structured.Value) -> bool:
    if name in _SECONDS:
        return type(value) is int and value >= 0
    if name in _QUALIFIED:
        return value is True or isinstance(value, str)
    return value is True or name not in _FLAGS


def _directives(pairs: list[tuple[str, bytes | None]]) -> Directives:
    found: dict[str, object] = {}
    for name, argument in pairs:
        if name in _SECONDS:
            attribute, cautious = _SECONDS[name]
            number = _seconds(argument, cautious, is_flag_too=name == "max-stale")
            found[attribute] = cautious if found.get(attribute, number) != number else number
        elif name in _FLAGS:
            found[_FLAGS[name]] = True
        elif name in _QUALIFIED:
            _qualify(found, *_QUALIFIED[name], argument)
    return Directives(**found)  # type: ignore[arg-type]


def _seconds(argument: bytes | None, cautious: int, *, is_flag_too: bool) -> float:
    if argument is None:
        return math.inf if is_flag_too else cautious
    return parse_seconds(argument, cautious)


def parse_seconds(argument: bytes, unreadable: int | None = None) -> int | None:
    """delta-seconds (RFC 9111 §1.2.2): digits only, saturated; `unreadable` where it is something else."""
    if not _DIGITS.fullmatch(argument):
        return unreadable
    # Twenty digits are beyond any bound, and int() of a megabyte of digits is not.
    digits = argument.lstrip(b"0")
    return min(int(digits or b"0"), SECONDS_MAX) if len(digits) < 20 else SECONDS_MAX


def _qualify(found: dict[str, object], whole: str, some: str, argument: bytes | None) -> None:
    """no-cache and private, with names or without. Names that are none make it unqualified: the stronger reading."""
    names = frozenset(name.strip(b" \t").lower() for name in (argument or b"").split(b",") if name.strip(b" \t"))
    if names and all(_TOKEN.fullmatch(name) for name in names):
        found[some] = found.get(some, frozenset()) | names  # type: ignore[operator]
    else:
        found[whole] = True


def of_request(fields: Fields) -> Directives:
    """What the client wishes: Cache-Control, or where it sent none, `Pragma: no-cache` (RFC 9111 §5.4)."""
    values = headers.every(fields, b"cache-control")
    if values:
        return parse_cache_control(values)
    pragma = headers.combined(fields, b"pragma")
    if pragma is None or b"no-cache" not in (member.lower() for member in headers.split_list(pragma)):
        return NONE
    return Directives(no_cache=True)


def of_response(fields: Fields) -> tuple[Directives, bytes]:
    """What rules a response for us, and the name of the field that said it (RFC 9213 §2.2: the first targeted one that is valid)."""
    for name in TARGETED:
        if (targeted := parse_targeted(headers.every(fields, name))) is not None:
            return targeted, name
    return parse_cache_control(headers.every(fields, b"cache-control")), b"cache-control"
