"""The trail of hops (RFC 9110 §7.6.3), and how a message that comes round to us again is known."""

from __future__ import annotations

import re
from functools import lru_cache

from minicdn.core import headers
from minicdn.core.message import Fields

_PSEUDONYM = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


@lru_cache(256)
def via_value(pseudonym: str, version: str = "1.1") -> bytes:
    """Our member of Via: the protocol version in which the message reached us, and the name of this node (a token)."""
    if not _PSEUDONYM.fullmatch(pseudonym):
        raise ValueError(f"a pseudonym in Via must be a token, not {pseudonym!r}")
    return f"{version} {pseudonym}".encode()


def add_via(fields: Fields, pseudonym: str, version: str = "1.1") -> list[tuple[bytes, bytes]]:
    """The fields with our member behind those of earlier hops, on a line of its own."""
    return [*fields, (b"Via", via_value(pseudonym, version))]


def has_passed(fields: Fields, pseudonym: str) -> bool:
    """Whether this message has been at `pseudonym` before: a loop. Names are compared without regard to case."""
    via = headers.combined(fields, b"via")
    if via is None:
        return False
    wanted = pseudonym.lower().encode()
    return any(wanted == received_by(member).lower() for member in headers.split_list(via))


def received_by(member: bytes) -> bytes:
    """The second word of a member: who received the message. Empty where the member has none."""
    words = member.split(None, 2)
    return words[1] if len(words) > 1 else b""
