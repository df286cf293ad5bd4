"""Which keys an answer to an unsafe request makes stale (RFC 9111 §4.4).

The target itself always; what Location and Content-Location name only where it is ours: the same origin. Otherwise one site could
empty another's cache.
"""

from __future__ import annotations

from collections.abc import Set
from urllib.parse import urljoin

from minicdn.core import headers
from minicdn.core.decide import invalidates
from minicdn.core.message import Head, Request
from minicdn.core.target import parse_target, split_absolute
from minicdn.errors import ClientError


def invalidated_keys(request: Request, head: Head, origins: Set[str], ignored_query: Set[str] = frozenset()) -> list[str]:
    """The keys to mark stale after `head` answered `request`, the target's own first; [] where it invalidates nothing.

    origins: what counts as ours, lower case, `scheme://authority` as clients and as the upstream would write it.
    """
    if not invalidates(request.method, head.status):
        return []
    keys = {request.key: None}
    for name in (b"location", b"content-location"):
        for value in headers.every(head.fields, name):
            if (key := _own_key(request.key, value, origins, ignored_query)) is not None:
                keys[key] = None
    return list(keys)


def _own_key(base: str, reference: bytes, origins: Set[str], ignored_query: Set[str]) -> str | None:
    """The key that a reference beside `base` names, or None where it is another origin's or no reference at all."""
    try:
        # Any origin would do as the base: only a reference that names one itself can leave it.
        resolved = urljoin(f"http://here.invalid{base}", reference.decode("latin-1").strip()).partition("#")[0]
        parts = split_absolute(resolved.encode("latin-1"))
        if parts is None:
            return None
        scheme, authority, target = parts
        is_ours = authority == "here.invalid" or f"{scheme}://{authority}" in origins
        return parse_target(target, ignored_query) if is_ours else None
    except (ClientError, ValueError):
        return None
