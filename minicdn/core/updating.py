"""What a 304 or the answer to a HEAD does to what is stored (RFC 9111 §3.2, §4.3.4, §4.3.5).

The new fields replace the stored ones of the same name, wherever the bytes we keep do not depend on them; then everything
that storing settles is settled anew, with the new response's clock.
"""

from __future__ import annotations

from minicdn.core import conditional, headers, vary
from minicdn.core.lifetime import Policy, freshness_lifetime, initial_age
from minicdn.core.message import Fields, Head, Request
from minicdn.core.stored import Stored, expire
from minicdn.core.storing import dated, kept, places_of, settled
from minicdn.core.tags import parse_tags

NOT_UPDATED = frozenset((b"content-length", b"content-encoding", b"content-range", b"content-digest", b"content-md5", b"age"))
"""Fields that describe the octets kept, or the message that brought the news: those of the update are dropped (RFC 9111 §3.2)."""


def merged(stored_fields: Fields, new_fields: Fields) -> list[tuple[bytes, bytes]]:
    """The stored fields with each name that the update has replaced, all its lines at the place of the first (RFC 9111 §3.2)."""
    news: dict[bytes, list[tuple[bytes, bytes]]] = {}
    for line in headers.without(headers.end_to_end(new_fields), NOT_UPDATED):
        news.setdefault(line[0].lower(), []).append(line)
    lines: list[tuple[bytes, bytes]] = []
    placed: set[bytes] = set()
    for line in stored_fields:
        name = line[0].lower()
        if name not in news:
            lines.append(line)
        elif name not in placed:
            placed.add(name)
            lines += news[name]
    return lines + [line for name, group in news.items() if name not in placed for line in group]


def freshen(stored: Stored, head304: Head, request_at: float, response_at: float, policy: Policy, request: Request | None = None) -> Stored:
    """The stored response after a 304 that fits it (`fits`).

    `request`: whose validation it was; needed where the 304 brings another Vary. An update that now forbids storing comes out as
    always_validate with no lifetime: it answers nobody else.
    """
    new_fields = head304.fields if headers.has(head304.fields, b"date") else dated(head304.fields, response_at)[0]
    fields, date_at = dated(merged(stored.head.fields, new_fields), response_at)
    ruling = places_of(fields).ruling(stored.head.status, fields)
    key = request.key if request is not None else ""
    lifetime = freshness_lifetime(stored.head.status, fields, ruling.directives, ruling.by, date_at, key, policy)
    age = initial_age(headers.every(head304.fields, b"age"), date_at, request_at, response_at)
    selecting = _reselected(stored, fields, request)
    head = kept(Head(stored.head.status, fields), ruling)
    return settled(head, parse_tags(fields), selecting, ruling, lifetime, age, request_at, response_at, date_at, policy)


def _reselected(stored: Stored, fields: Fields, request: Request | None) -> vary.Selecting | None:
    if request is not None:
        return vary.selecting(request.fields, fields)
    names = vary.selecting((), fields)
    known = dict(stored.selecting or ())
    if stored.selecting is None or names is None or not all(name in known for name, _ in names):
        return None
    return tuple((name, known[name]) for name, _ in names)


def fits(stored: Stored, head304: Head) -> bool:
    """Whether a 304 is about this stored response (RFC 9111 §4.3.4).

    One without any validator is taken to be about what it was asked for: we ask about one stored response at a time.
    """
    etag = headers.first(head304.fields, b"etag")
    if etag is not None:
        own = headers.first(stored.head.fields, b"etag")
        # Asked by date, an upstream may name a tag that it had not named before.
        return own is None or conditional.is_same_weakly(etag, own)
    modified = headers.first(head304.fields, b"last-modified")
    own = headers.first(stored.head.fields, b"last-modified")
    return modified is None or own is None or modified == own


def apply_head(stored: Stored, head: Head, request_at: float, response_at: float, policy: Policy, request: Request | None = None) -> Stored:
    """The stored response after HEAD brought `head` (RFC 9111 §4.3.5): freshened where both agree, otherwise stale."""
    if head.status != 200 or stored.head.status != 200:
        return stored if head.status >= 500 else expire(stored, response_at)
    if all(_agrees(stored.head.fields, head.fields, name) for name in (b"etag", b"last-modified", b"content-length")):
        return freshen(stored, head, request_at, response_at, policy, request)
    return expire(stored, response_at)


def _agrees(stored_fields: Fields, new_fields: Fields, name: bytes) -> bool:
    new = headers.first(new_fields, name)
    return new is None or new == headers.first(stored_fields, name)
