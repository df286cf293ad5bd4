"""A client's fields as they go on to the upstream, or to the peer that asks it."""

from __future__ import annotations

from functools import lru_cache

from minicdn.core.conditional import strip_conditionals
from minicdn.core.headers import end_to_end, without
from minicdn.core.message import Fields

NOT_PASSED = frozenset((b"host", b"expect"))
NOT_FILLED_WITH = frozenset((b"range", b"content-length"))


def passed_fields(fields: Fields) -> list[tuple[bytes, bytes]]:
    """End-to-end ones, without what is meant for the next hop or for us."""
    kept = end_to_end(fields)
    return [(name, value) for name, value in kept if name not in NOT_PASSED and not name.startswith(b"x-minicdn-")]


def forwarded_fields(fields: Fields) -> list[tuple[bytes, bytes]]:
    """The same as a fill carries them: for the whole body, and without conditions."""
    return list(_forwarded(tuple(fields)))


@lru_cache(256)
def _forwarded(fields: Fields) -> Fields:
    """A client says the same in each of its requests."""
    return without(strip_conditionals(passed_fields(fields)), NOT_FILLED_WITH)
