"""Requests, heads and stored responses in one line each, for tests of the rules of caching.

Fields are written as a dialogue would show them: `"Cache-Control: max-age=60"`. The story begins at NOW, a Sunday in 1994.
"""

from __future__ import annotations

from minicdn.core.dates import format_http_date
from minicdn.core.freshness import NotStored, Policy, Stored, storable
from minicdn.core.message import Head, Request

NOW = 784111777.0
"""Sun, 06 Nov 1994 08:49:37 GMT."""

POLICY = Policy()


def lines(*written: str) -> tuple[tuple[bytes, bytes], ...]:
    pairs = (line.partition(":") for line in written)
    return tuple((name.encode("latin-1"), value.strip().encode("latin-1")) for name, _, value in pairs)


def date(after_seconds: float = 0.0) -> str:
    return format_http_date(NOW + after_seconds).decode()


def get(*written: str, method: str = "GET", key: str = "/thing") -> Request:
    fields = tuple((name.lower(), value) for name, value in lines(*written))
    return Request(method, key.encode(), key, fields)


def answer(*written: str, status: int = 200) -> Head:
    return Head(status, lines(*written))


def judged(
    *written: str, status: int = 200, request: Request | None = None, policy: Policy = POLICY, delay: float = 0.0
) -> Stored | NotStored:
    """What becomes of a response that came at NOW, `delay` seconds after it was asked for."""
    return storable(request or get(), answer(*written, status=status), NOW - delay, NOW, policy)


def kept(*written: str, **more) -> Stored:
    """As `judged`, for a response that is stored."""
    stored = judged(*written, **more)
    assert isinstance(stored, Stored), stored
    return stored


def values(fields, name: str) -> list[str]:
    return [value.decode("latin-1") for line, value in fields if line.lower() == name.lower().encode()]
