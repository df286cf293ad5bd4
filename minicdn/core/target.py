"""From the request target to the key.

The key is what the cache, the owners and the upstream know a thing by, so two spellings of one path must meet in one key
(RFC 3986 §6.2.2: percent-case, needlessly encoded letters, dot segments), and nothing else may: `//` is not `/`, `%2F` is not
`/`, and a query is the upstream's own language, kept to the octet. A path that would climb above the root is refused rather
than clipped: nobody honest writes it, and the upstream may not clip it alike.
"""

from __future__ import annotations

import re
from collections.abc import Set
from urllib.parse import quote

from minicdn.errors import ClientError

TARGET_BYTES_MAX = 8192
"""Longer targets are answered 414 (RFC 9110 §4.1 asks for 8000 at least)."""

_PLAIN_PATH = re.compile(rb"/[A-Za-z0-9_~!$&'()*+,;=:@/-]*(?:\.[A-Za-z0-9_~!$&'()*+,;=:@-][A-Za-z0-9_~!$&'()*+,;=:@/-]*)*")
"""Paths that are their own normal form: no percent sign, and no dot that could belong to a dot segment."""
_UNWANTED = re.compile(rb"[\x00-\x20\x7f#]")
_NOT_ASCII = re.compile(rb"[\x80-\xff]")
_PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})?")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_SEPARATOR = re.compile(r"/|\\|%2F|%5C")
_AS_TYPED = "%/:=&?~+!$,;'@()*[]-._"
_ABSOLUTE = re.compile(rb"(https?)://([^/?#@\\\x00-\x20\x7f-\xff]+)(?:([/?].*))?", re.IGNORECASE | re.DOTALL)


def parse_target(raw: bytes, ignored_query: Set[str] = frozenset()) -> str:
    """The key of an origin-form target (RFC 9112 §3.2.1): printable ASCII, beginning with a slash.

    `ignored_query`: names of query parameters that are left out of the key. Raises ClientError 400 for what is no target and
    414 for one that is too long.
    """
    if len(raw) > TARGET_BYTES_MAX:
        raise ClientError(414, f"the target is longer than {TARGET_BYTES_MAX} bytes")
    if _PLAIN_PATH.fullmatch(raw):
        return raw.decode("ascii")
    if raw[:1] != b"/":
        raise ClientError(400, "the target must begin with a slash")
    if _UNWANTED.search(raw):
        raise ClientError(400, "the target has a space, a control character or a fragment")
    path, question, query = raw.partition(b"?")
    key = _normal_path(path)
    if not question:
        return key
    query = _kept_query(_ascii(query), ignored_query) if query else b""
    return key if query is None else f"{key}?{query.decode('ascii')}"


def _ascii(raw: bytes) -> bytes:
    return _NOT_ASCII.sub(lambda octet: b"%%%02X" % octet.group()[0], raw)


def _normal_path(raw: bytes) -> str:
    path = _PERCENT.sub(_normal_octet, _ascii(raw)).decode("ascii")
    segments = _without_dots(path.split("/")[1:])
    normal = "/" + "/".join(segments)
    if "%2F" in normal or "%5C" in normal or "\\" in normal:
        _refuse_climbing(normal)
    return normal


def _normal_octet(match: re.Match[bytes]) -> bytes:
    """Percent-encoding in its one form: upper case, or the character itself where it needs none (RFC 3986 §6.2.2.1, §6.2.2.2)."""
    if match.group(1) is None:
        raise ClientError(400, "the target has a percent sign without two hexadecimal digits behind it")
    octet = int(match.group(1), 16)
    if octet == 0:
        raise ClientError(400, "the target has an encoded NUL")
    return bytes((octet,)) if octet in _UNRESERVED else b"%%%02X" % octet


def _without_dots(segments: list[str]) -> list[str]:
    """RFC 3986 §5.2.4, but above the root there is nothing. A dot segment at the end leaves the slash before it."""
    kept: list[str] = []
    for segment in segments:
        if segment == "..":
            if not kept:
                raise ClientError(400, "the path climbs above the root")
            kept.pop()
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return kept


def _refuse_climbing(path: str) -> None:
    """An upstream that takes encoded slashes or backslashes for separators must not be led above its root either."""
    depth = 0
    for segment in _SEPARATOR.split(path):
        if segment == "..":
            depth -= 1
        elif segment not in ("", "."):
            depth += 1
        if depth < 0:
            raise ClientError(400, "the path climbs above the root by encoded slashes")


def _kept_query(query: bytes, ignored: Set[str]) -> bytes | None:
    """The query without the ignored parameters; None where nothing is left of it."""
    if not ignored:
        return query
    parameters = query.split(b"&")
    kept = [parameter for parameter in parameters if parameter.partition(b"=")[0].decode("ascii") not in ignored]
    if len(kept) == len(parameters):
        return query
    return b"&".join(kept) if kept else None


def ascii_url(text: str) -> str:
    """A URL or path as a person types it, without its fragment, and in ASCII: what means something stays, percent signs included."""
    return quote(text.partition("#")[0].encode("utf-8", "surrogateescape"), safe=_AS_TYPED)


def split_absolute(raw: bytes) -> tuple[str, str, bytes] | None:
    """(scheme, authority, origin-form) of an absolute-form target (RFC 9112 §3.2.2), scheme and authority in lower case.

    None where it is not an http(s) one, or where it carries user information (RFC 9110 §4.2.4: treat as an error).
    """
    match = _ABSOLUTE.fullmatch(raw)
    if match is None:
        return None
    rest = match.group(3) or b"/"
    scheme, authority = match.group(1).lower().decode(), match.group(2).lower().decode("ascii")
    return scheme, authority, rest if rest[:1] == b"/" else b"/" + rest


def key_of_url(raw: bytes, origins: Set[str], upstream: str = "", ignored_query: Set[str] = frozenset()) -> str | None:
    """The key that a full URL names, or None where it is not one of ours.

    origins: `scheme://authority` by which clients know this site, lower case. upstream: its URL, whose path (if any) is not part of keys.
    Raises ClientError where the URL is ours and its target is none.
    """
    parts = split_absolute(raw)
    if parts is None:
        return None
    scheme, authority, target = parts
    home = split_absolute(upstream.encode("latin-1", "replace")) if upstream else None
    if home is not None and _origin(scheme, authority) == _origin(home[0], home[1]):
        base = home[2].rstrip(b"/")
        return parse_target(target[len(base) :], ignored_query) if target.startswith(base + b"/") else None
    is_ours = f"{scheme}://{authority}" in origins or _origin(scheme, authority) in origins
    return parse_target(target, ignored_query) if is_ours else None


def _origin(scheme: str, authority: str) -> str:
    """Without the port that the scheme has anyway (RFC 9110 §4.2.3)."""
    return f"{scheme}://{authority.removesuffix(':80' if scheme == 'http' else ':443')}"
