"""What an upstream's answers mean for a cluster that would serve it. Pure: heads and numbers in, findings out."""

from __future__ import annotations

from minicdn.core import explain
from minicdn.core.conditional import strong_validator
from minicdn.core.freshness import NotStored, Policy, storable
from minicdn.core.headers import combined, first, has
from minicdn.core.message import Fields, Head, Request
from minicdn.core.partial import span_of
from minicdn.doctor.finding import Finding, fail, ok, plain, warn

REDIRECTS = (301, 302, 303, 307, 308)
SHORT_SECONDS = 10.0
MANY_COPIES = ("user-agent", "cookie", "referer", "x-forwarded-for", "authorization")
"""Request fields that differ with nearly every client: an answer that varies by them is kept once for each."""


def answered(url: str, version: str, status: int, fields: Fields, seconds: float, *, is_file: bool) -> list[Finding]:
    """That it answers, and whether what it answers is a file."""
    server = first(fields, b"server")
    by = f", {plain(server.decode('latin-1'))[:60]}" if server else ""
    seen = f"{url} answers {status} in {1000 * seconds:.0f} ms ({version}{by})"
    if status >= 500 or status == 429:
        return [fail("upstream", seen, "the server is in trouble or overloaded; mend it first: what it can't send, nobody can pass on")]
    if version == "HTTP/1.0":
        found = [
            warn("upstream", seen, "HTTP/1.0 needs a new connection for each file; turn on HTTP/1.1 at the server or the proxy before it")
        ]
    else:
        found = [ok("upstream", seen)]
    if not is_file:
        found.append(ok("file", "none was tried; give a file's URL to have parts, validators and lifetimes checked as well"))
    elif status in (401, 403, 407):
        found.append(
            fail(
                "file",
                f"the server refuses it ({status})",
                "minicdn asks without a name or password; let the server give it to this address",
            )
        )
    elif status in (404, 410):
        found.append(fail("file", f"the server says that there is no such file ({status})", "correct the path"))
    elif status != 200:
        found.append(fail("file", f"the answer is {status} and no file", "ask for it with curl -v, and for another file here"))
    return found


def redirected(url: str, status: int, location: str, *, is_elsewhere: bool) -> Finding:
    """is_elsewhere: on another host, which a manager does not follow by itself."""
    seen = f"{url} answers {status}: it is at {location}"
    if is_elsewhere:
        return warn(
            "redirect",
            seen,
            "clients would be sent there, past the cluster; give the manager that site as --upstream, or --follow-redirects",
        )
    return warn(
        "redirect",
        seen,
        "clients are sent to that path and ask again; give them the URL that it leads to, or the manager --follow-redirects",
    )


def leads_nowhere(url: str, status: int, location: str, *, is_circle: bool) -> Finding:
    seen = f"{url} answers {status}: it is at {location}"
    if is_circle:
        return fail("redirect", f"{seen}, which was asked already", "redirects lead in a circle; correct them at the server")
    return fail(
        "redirect", f"{seen}, which is no http:// or https:// URL", "neither nodes nor clients can follow that; correct it at the server"
    )


def parts(fields: Fields, status: int, part: Head, body: bytes) -> Finding:
    """fields: of the whole; status: of the whole. part: the answer to bytes=0-0, and its first bytes."""
    check = "parts"
    says = (combined(fields, b"accept-ranges") or b"").lower()
    if first(fields, b"content-length") == b"0":
        return ok(check, "the file is empty, so there are none to ask for")
    if part.status == 206:
        span = span_of(part)
        if span is None or span[:2] != (0, 1) or len(body) != 1:
            return fail(check, f"asked for the first byte it sends another part ({_said_range(part)}, {len(body)} bytes or more)",
                        "the server answers Range wrongly; turn it off there, or repair it: resumed downloads break, too")  # fmt: skip
        if says == b"none":
            return warn(
                check, "asked for a part it sends one, but it says Accept-Ranges: none", "remove that field at the server; it is believed"
            )
        if not says:
            return ok(check, "a part was asked for and came (206), though the whole does not say Accept-Ranges")
        return ok(check, "a part was asked for and came (206)")
    claims = f", though it says Accept-Ranges: {says.decode('latin-1')}" if says not in (b"", b"none") else ""
    seen = f"asked for the first byte it answers {part.status}{' with the whole' if part.status == 200 else ''}{claims}"
    return warn(
        check, seen, "large files still work, as one stream from their owner, and what breaks off begins anew; turn on ranges at the server"
    )


def _said_range(part: Head) -> str:
    value = first(part.fields, b"content-range")
    return f"Content-Range: {plain(value.decode('latin-1'))[:60]}" if value is not None else "no Content-Range"


def validators(head: Head, second: Head) -> Finding:
    """second: what it answered when asked whether the same is still right, or asked again where there was nothing to ask with."""
    check = "validators"
    etag, modified = first(head.fields, b"etag"), first(head.fields, b"last-modified")
    if etag is None and modified is None:
        return warn(
            check,
            "neither ETag nor Last-Modified",
            "what has run out is fetched anew, and no download goes on after a break; have the server send an ETag",
        )
    named = " and ".join([*(["ETag"] if etag is not None else []), *(["Last-Modified"] if modified is not None else [])])
    if etag is not None and first(second.fields, b"etag") not in (None, etag):
        return warn(
            check,
            "the ETag of the same file differs from answer to answer",
            "several servers behind one name, perhaps; have all send the same ETag, or none",
        )
    if strong_validator(head) is None:
        why = "the ETag is weak (W/)" if etag is not None else "Last-Modified is as new as the answer itself, or can't be read"
        return warn(
            check,
            f"{named}, but {why}",
            "parts of it can't be put together safely, so large files come as one stream; have the server send a strong ETag",
        )
    if second.status != 304:
        return warn(
            check,
            f"{named}, but asked whether it has changed the server answers {second.status}, not 304",
            "what has run out is fetched anew each time; repair conditional requests at the server",
        )
    return ok(check, f"{named}; asked whether it has changed the server says no (304)")


def length(head: Head) -> Finding:
    value = first(head.fields, b"content-length")
    if value is None or has(head.fields, b"transfer-encoding"):
        return warn(
            "length",
            "no Content-Length",
            "clients can't show progress, and large files come as one stream; have the server send plain files, uncompressed",
        )
    return ok("length", f"{plain(value.decode('latin-1'))} bytes")


def kept(key: str, head: Head, request_at: float, response_at: float, policy: Policy) -> Finding:
    """Whether minicdn would keep it, and how long it is fresh, by the rules that nodes go by."""
    check = "cacheable"
    stored = storable(Request("GET", key.encode("ascii", "replace"), key, ()), head, request_at, response_at, policy)
    if isinstance(stored, NotStored):
        return fail(
            check,
            f"not kept: {stored.reason}",
            "every download would go to the upstream; have the server send Cache-Control: public, max-age=3600 with what may be shared",
        )
    facts = explain.facts(stored, response_at)
    vary = facts["vary"]
    decided = f"decided by {facts['decided_by']}"
    if vary == "*":
        return warn(check, "Vary: *: each request is asked at the upstream", "take Vary: * off for files that are the same for everybody")
    many = sorted(name for name in vary if name in MANY_COPIES)
    if many:
        return warn(
            check,
            f"kept once for each {' and '.join(many)} (Vary)",
            f"take {', '.join(many)} out of Vary for files that are the same for everybody",
        )
    if facts["always_validate"]:
        return warn(check, "kept, but for each request the upstream is asked whether it is still right (no-cache)", _lifetime_advice(key))
    if facts["fresh_seconds"] <= 0:
        return warn(check, f"kept, but never fresh: for each request the upstream is asked ({decided})", _lifetime_advice(key))
    if facts["fresh_seconds"] < SHORT_SECONDS:
        return warn(check, f"kept, fresh for {facts['fresh_seconds']:.0f} s only; {decided}", _lifetime_advice(key))
    return ok(check, f"kept, fresh for {_span(facts['fresh_seconds'])}; {decided}")


def _lifetime_advice(key: str) -> str:
    path = key.partition("?")[0]
    return f"have the server send Cache-Control: max-age=3600; where it says nothing, the manager can: --default-ttl '{path}=1h'"


def _span(seconds: float) -> str:
    for name, unit in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds:.0f} s"
