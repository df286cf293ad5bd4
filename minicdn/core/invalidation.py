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
from minicdn.core.purging import Purge
from minicdn.core.tags import invalidated_groups
from minicdn.core.target import key_of_url
from minicdn.errors import ClientError


def invalidation(
    request: Request, head: Head, origins: Set[str], upstream: str = "", ignored_query: Set[str] = frozenset()
) -> Purge | None:
    """The soft purge that `head`, answering `request`, amounts to; None where it invalidates nothing.

    Besides the keys, what the answer itself asks to forget: Cache-Group-Invalidation (RFC 9875 §3).
    """
    keys = invalidated_keys(request, head, origins, ignored_query, upstream)
    return Purge(frozenset(keys), tags=invalidated_groups(head.fields)) if keys else None


def invalidated_keys(
    request: Request, head: Head, origins: Set[str], ignored_query: Set[str] = frozenset(), upstream: str = ""
) -> list[str]:
    """The keys to mark stale after `head` answered `request`, the target's own first; [] where it invalidates nothing.

    origins: what counts as ours, lower case, `scheme://authority` as clients would write it. upstream: its URL, path included.
    """
    if not invalidates(request.method, head.status):
        return []
    keys = {request.key: None}
    for name in (b"location", b"content-location"):
        for value in headers.every(head.fields, name):
            keys.update(dict.fromkeys(_own_keys(request.key, value, origins, ignored_query, upstream)))
    return list(keys)


def _own_keys(base: str, reference: bytes, origins: Set[str], ignored_query: Set[str], upstream: str) -> list[str]:
    """The keys that a reference beside `base` may mean; [] where it is another origin's or no reference at all.

    A reference without an origin is resolved as clients see it, and as an upstream whose URL has a path sees it.
    """
    found = []
    for home in dict.fromkeys(("http://here.invalid", upstream.rstrip("/") or "http://here.invalid")):
        try:
            resolved = urljoin(f"{home}{base}", reference.decode("latin-1").strip()).partition("#")[0].encode("latin-1")
            key = key_of_url(resolved, origins, home, ignored_query)
        except (ClientError, ValueError):
            continue
        if key is not None:
            found.append(key)
    return found
