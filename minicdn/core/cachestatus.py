"""Cache-Status: what each cache on the way did with the request (RFC 9211).

One member for each cache, the one nearest to the origin first, so ours comes behind those that the upstream's caches wrote.
"""

from __future__ import annotations

import re

from minicdn.core.message import Fields

FORWARDED = frozenset(("bypass", "method", "uri-miss", "vary-miss", "miss", "request", "stale", "partial"))
"""Why a request went forward (RFC 9211 §2.2)."""

_TOKEN = re.compile(r"[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*")


def cache_status(
    name: str,
    *,
    hit: bool = False,
    fwd: str | None = None,
    fwd_status: int | None = None,
    ttl: int | None = None,
    stored: bool | None = None,
    collapsed: bool | None = None,
    detail: str | None = None,
    key: str | None = None,
) -> bytes:
    """Our member. `ttl` is in seconds, negative once stale. `hit` and `fwd` exclude each other (RFC 9211 §2.1); hit wins."""
    parts = [_name(name)]
    if hit:
        parts.append("hit")
    elif fwd is not None:
        parts.append(f"fwd={fwd}")
        parts += [] if fwd_status is None else [f"fwd-status={fwd_status}"]
    parts += [] if ttl is None else [f"ttl={ttl}"]
    parts += ["stored"] if stored and not hit else []
    parts += ["collapsed"] if collapsed and not hit else []
    parts += [] if key is None else [f"key={_string(key)}"]
    parts += [] if detail is None else [f"detail={_name(detail)}"]
    return "; ".join(parts).encode("ascii")


def _name(text: str) -> str:
    """A token where the text can be one, otherwise a string (RFC 9651 §4.1.6, §4.1.7)."""
    return text if _TOKEN.fullmatch(text) else _string(text)


def _string(text: str) -> str:
    printable = "".join(character if " " <= character <= "~" else "?" for character in text)
    escaped = printable.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def add_cache_status(fields: Fields, member: bytes) -> list[tuple[bytes, bytes]]:
    """The fields with our member behind those already there, on a line of its own."""
    return [*fields, (b"Cache-Status", member)]
