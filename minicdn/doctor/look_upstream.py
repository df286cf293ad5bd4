"""The upstream, asked as a node would ask it: by name, by connection, for the whole, for a part, and whether it has changed."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from urllib.parse import urljoin, urlsplit

from minicdn.core.conditional import validation_fields
from minicdn.core.freshness import Policy
from minicdn.core.headers import end_to_end, first
from minicdn.core.message import Head
from minicdn.core.nodeurl import is_loopback_url, node_url
from minicdn.core.target import parse_target
from minicdn.doctor import certs, clocks, upstream
from minicdn.doctor.finding import Finding, fail, ok
from minicdn.doctor.reaching import not_reached
from minicdn.errors import ClientError
from minicdn.wire.examining import Looked, NotSeen, look, resolve
from minicdn.wire.tls import Contexts

SECONDS = 5.0
"""For each question; a node waits as long for a connection (--connect-timeout)."""
FOLLOWED_MAX = 5
PART_BYTES_MAX = 64


async def examine_upstream(url: str, *, is_file: bool, policy: Policy) -> AsyncIterator[Finding]:
    """url: absolute. is_file: it names a file, so what is said of it counts."""
    contexts = Contexts()
    try:
        async for found in _name(url):
            yield found
        whole = await _ask(url, contexts)
        asked = {url}
        for _ in range(FOLLOWED_MAX):
            location = first(whole.fields, b"location")
            if whole.status not in upstream.REDIRECTS or location is None:
                break
            there = _there(url, location.decode("latin-1").strip())
            if there is None or there in asked:
                yield upstream.leads_nowhere(url, whole.status, there or location.decode("latin-1"), is_circle=there is not None)
                return
            asked.add(there)
            is_elsewhere = _site(there) != _site(url)
            yield upstream.redirected(url, whole.status, there, is_elsewhere=is_elsewhere)
            url = there
            is_file = is_file and not urlsplit(url).path.endswith("/")  # a folder's page
            async for found in _name(url) if is_elsewhere else _nothing():
                yield found
            whole = await _ask(url, contexts)
        for found in upstream.answered(url, whole.version, whole.status, whole.fields, whole.seconds, is_file=is_file):
            yield found
        if whole.certificate is not None:
            yield certs.certificate_days("upstream certificate", whole.certificate, time.time(), renewing="have it renewed at the upstream")
        yield clocks.upstream_clock(clocks.ahead_seconds(whole.fields, whole.request_at, whole.response_at))
        if is_file and whole.status == 200:
            async for found in _file(url, whole, contexts, policy):
                yield found
    except NotSeen as error:
        yield fail("upstream", *not_reached(url, error.kind, str(error)))


def _site(url: str) -> str:
    parts = urlsplit(url)
    return node_url(parts.scheme, parts.hostname or "", parts.port)


def _there(url: str, location: str) -> str | None:
    """Where a redirect leads. None: to nothing that HTTP can ask."""
    try:
        there = urljoin(url, location).partition("#")[0]
        parts = urlsplit(there)
        return there if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 else None
    except ValueError:
        return None


async def _nothing() -> AsyncIterator[Finding]:
    return
    yield


async def _name(url: str) -> AsyncIterator[Finding]:
    """Raises NotSeen."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    found = await resolve(host, parts.port or 0, SECONDS)
    if found != [host] and not is_loopback_url(url):
        yield ok("name", f"{host} is {', '.join(found[:4])}{' and more' if len(found) > 4 else ''}")


async def _ask(url: str, contexts: Contexts, fields: tuple[tuple[bytes, bytes], ...] = (), bytes_max: int = 0) -> Looked:
    return await look(url, seconds=SECONDS, context=contexts.of(url), fields=fields, bytes_max=bytes_max)


async def _file(url: str, whole: Looked, contexts: Contexts, policy: Policy) -> AsyncIterator[Finding]:
    head = Head(whole.status, tuple(end_to_end(whole.fields)))
    yield upstream.length(Head(whole.status, tuple(whole.fields)))
    part = await _ask(url, contexts, ((b"Range", b"bytes=0-0"),), PART_BYTES_MAX)
    yield upstream.parts(whole.fields, whole.status, Head(part.status, tuple(part.fields)), part.body)
    asked = tuple(validation_fields(head))
    second = await _ask(url, contexts, asked) if asked else whole
    yield upstream.validators(head, Head(second.status, tuple(second.fields)))
    yield upstream.kept(_key(url), head, whole.request_at, whole.response_at, policy)


def _key(url: str) -> str:
    parts = urlsplit(url)
    try:
        return parse_target((parts.path or "/").encode() + (b"?" + parts.query.encode() if parts.query else b""))
    except ClientError:
        return "/"
