"""What a node asks the owner of a key, and what the owner answers, as values.

The key travels inside the message, not in a URL, so no path or query can be mangled on the way. The answer is a map followed by the
body's bytes, while they arrive. Its kind says what they are:

    found      a body that may be kept, with the facts about it
    answered   the upstream's own word that is no success (404 …), to be carried as it is; kept where its facts say so
    unchanged  what the asker holds is still right; only the facts are new
    pass       an answer for this one client, not to be kept or shared
    busy       no slot is free; try the holders named, or later
    failed     the upstream could not be asked: the owner's final word
    refused    the request itself can't be met (a status and a reason)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from minicdn.core.message import Fields
from minicdn.core.target import parse_target
from minicdn.errors import ClientError
from minicdn.wire.codec import Taker

KINDS = ("found", "answered", "unchanged", "pass", "busy", "failed", "refused")
FIELDS_MAX = 256
KEY_LENGTH_MAX = 16 * 1024
DEALERS_MAX = 16 * 1024


def fields_to_wire(fields: Fields) -> list[list[bytes]]:
    return [[name, value] for name, value in fields]


def fields_from_wire(items: Any) -> tuple[tuple[bytes, bytes], ...]:
    """Raises ClientError(400)."""
    lines = []
    for item in items:
        if not isinstance(item, list) or len(item) != 2 or not all(type(part) is bytes for part in item):
            raise ClientError(400, "a field line is not a pair of bytes")
        lines.append((item[0], item[1]))
    return tuple(lines)


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """method: GET or HEAD. fields: the client's end-to-end ones, lower case, without ranges and conditions.

    held: the entity tag (or date) of the copy that the asker has, for `unchanged`. range: the value of a Range field with one span,
    for a part only. validator: the part of this strong validator's body, or else all of another one. target: what the upstream is
    asked for, where that is more than the key. mark: of the last purge that the asker has heard of (core/journal.py). asker: the URL of
    one who would take a deal for an answer, and fetch the pieces by itself; None: bytes are wanted. (Empty: it has no URL.)
    """

    method: str
    key: str
    fields: Fields
    held: bytes | None = None
    range: bytes | None = None
    validator: bytes | None = None
    target: str | None = None
    wants_fresh: bool = False
    mark: str = ""
    asker: str | None = None

    def to_wire(self) -> dict[str, Any]:
        return {
            "method": self.method,
            "key": self.key,
            "fields": fields_to_wire(self.fields),
            "held": self.held,
            "range": self.range,
            "validator": self.validator,
            "target": self.target,
            "wants_fresh": self.wants_fresh,
            "mark": self.mark,
            "asker": self.asker,
        }

    @classmethod
    def from_wire(cls, found: Any) -> FetchRequest:
        take = Taker(found)
        method, key = take.text("method", length_max=8), take.text("key", length_max=KEY_LENGTH_MAX)
        if method not in ("GET", "HEAD") or not key.startswith("/") or not key.isascii() or key.startswith("/_"):
            raise ClientError(400, "that is nothing a peer can be asked for")
        return cls(
            method=method,
            key=key,
            fields=fields_from_wire(take.items("fields", count_max=FIELDS_MAX)),
            held=take.octets("held", length_max=1024, default=None),
            range=take.octets("range", length_max=1024, default=None),
            validator=take.octets("validator", length_max=1024, default=None),
            wants_fresh=take.flag("wants_fresh", default=False),
            target=_target(take.text("target", length_max=KEY_LENGTH_MAX, default=None)),
            mark=take.text("mark", length_max=64, default=""),
            asker=take.text("asker", length_max=512, default=None),
        )


def _target(text: str | None) -> str | None:
    if text is not None and (not text.startswith("/") or text.startswith("/_")):
        raise ClientError(400, "that is nothing a peer can be asked for")
    return None if text is None else parse_target(text.encode("utf-8", "replace"))


@dataclass(frozen=True, slots=True)
class FetchAnswer:
    """stored: facts as Stored.to_wire gives them, with `age_seconds` as of now. length: of the whole body, None when not known.
    offset, end: where the bytes that follow begin and end (end None: at the end of the body). source: where the owner had them from.
    detail: for people. deal: instead of bytes, the peers among whom the file's pieces are dealt, with their weights; hint: one of them that
    has all of it, or gets it in order."""

    kind: str
    status: int = 0
    fields: Fields = ()
    stored: Any = None
    age_seconds: float = 0.0
    length: int | None = None
    offset: int = 0
    end: int | None = None
    source: str = "none"
    detail: str = ""
    member: bytes | None = None
    upstream_status: int = 0
    is_stale: bool = False
    timed_out: bool = False
    retry_after_seconds: float | None = None
    deal: tuple[tuple[str, float], ...] = ()
    hint: str | None = None

    def to_wire(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "status": self.status,
            "fields": fields_to_wire(self.fields),
            "stored": self.stored,
            "age_seconds": self.age_seconds,
            "length": self.length,
            "offset": self.offset,
            "end": self.end,
            "source": self.source,
            "detail": self.detail,
            "member": self.member,
            "upstream_status": self.upstream_status,
            "is_stale": self.is_stale,
            "timed_out": self.timed_out,
            "retry_after_seconds": self.retry_after_seconds,
            "deal": [list(pair) for pair in self.deal],
            "hint": self.hint,
        }

    @classmethod
    def from_wire(cls, found: Any) -> FetchAnswer:
        take = Taker(found)
        kind = take.text("kind", length_max=16)
        if kind not in KINDS:
            raise ClientError(400, f"an answer of the unknown kind {kind!r}")
        return cls(
            kind=kind,
            status=take.integer("status", high=599),
            fields=fields_from_wire(take.items("fields", count_max=FIELDS_MAX * 4)),
            stored=found.get("stored"),
            age_seconds=take.number("age_seconds"),
            length=take.integer("length", default=None),
            offset=take.integer("offset"),
            end=take.integer("end", default=None),
            source=take.text("source", length_max=16),
            detail=take.text("detail", length_max=4096),
            member=take.octets("member", length_max=4096, default=None),
            upstream_status=take.integer("upstream_status", high=999, default=0),
            is_stale=take.flag("is_stale", default=False),
            timed_out=take.flag("timed_out"),
            retry_after_seconds=take.number("retry_after_seconds", default=None),
            deal=tuple(_dealer(item) for item in take.items("deal", count_max=DEALERS_MAX, default=())),
            hint=take.text("hint", length_max=512, default=None),
        )


def _dealer(item: Any) -> tuple[str, float]:
    if not isinstance(item, list) or len(item) != 2:
        raise ClientError(400, "a dealer is not a pair of URL and weight")
    take = Taker({"url": item[0], "weight": item[1]})
    return take.text("url", length_max=512), take.number("weight", high=1e6)
