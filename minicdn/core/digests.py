"""Digests in fields: Repr-Digest and Content-Digest (RFC 9530).

Repr-Digest is of the whole representation, the same on a 200 and on each 206 of it; that is why it can prove a file that came in
pieces. Only the two algorithms that the registry still calls active are read; an upstream's older ones pass by unread.
"""

from __future__ import annotations

import base64
import hashlib

from minicdn.core import headers, structured
from minicdn.core.message import Fields
from minicdn.core.names import names_of

DIGEST_BYTES = {"sha-256": 32, "sha-512": 64}
"""Algorithm → length of its digest (RFC 9530 §7.2, "active")."""


_NAMING = frozenset((b"content-digest", b"repr-digest"))


def has_digests(fields: Fields) -> bool:
    """Whether there is a field that names any."""
    return not _NAMING.isdisjoint(names_of(fields))


def parse_digests(fields: Fields, name: bytes = b"repr-digest") -> dict[str, bytes]:
    """Algorithm → digest, of those we know; empty where the field is missing or does not parse (RFC 9530 §2, §3)."""
    members = structured.parse_dictionary(headers.every(fields, name))
    if not members:
        return {}
    return {
        algorithm: value
        for algorithm, length in DIGEST_BYTES.items()
        if isinstance(value := members.get(algorithm), bytes) and len(value) == length
    }


def digest_value(digests: dict[str, bytes]) -> bytes:
    """The field's value for these digests, as a structured dictionary."""
    return b", ".join(b"%s=:%s:" % (algorithm.encode(), base64.b64encode(digest)) for algorithm, digest in sorted(digests.items()))


def wants_sha256(fields: Fields) -> bool:
    """Whether a request asks for the representation's sha-256 (RFC 9530 §4: a preference of 0 is a refusal)."""
    wished = (structured.parse_dictionary(headers.every(fields, b"want-repr-digest")) or {}).get("sha-256", 0)
    return isinstance(wished, int) and wished > 0


class Verifier:
    """Checks a body against the digests that its head names, while it comes. Without any it has nothing to do."""

    def __init__(self, fields: Fields) -> None:
        is_named = has_digests(fields)
        self._expected = {**parse_digests(fields, b"content-digest"), **parse_digests(fields)} if is_named else {}
        self._hashes = [(hashlib.new(name.replace("-", "")), digest) for name, digest in self._expected.items()]

    def update(self, data: bytes) -> None:
        for running, _ in self._hashes:
            running.update(data)

    def fits(self) -> bool:
        """Once all of the body has gone through."""
        return all(running.digest() == digest for running, digest in self._hashes)
