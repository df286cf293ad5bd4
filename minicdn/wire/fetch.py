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

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from minicdn.core.message import Fields
from minicdn.core.names import ALIKE_LINES_MAX
from minicdn.core.target import parse_target
from minicdn.errors import ClientError
from minicdn.wire.codec import INTEGER_MAX, Encoder, Taker
from minicdn.wire.reading import Read, anything, flag, integer, listed, number, octets, read, said, text

KINDS = ("found", "answered", "unchanged", "pass", "busy", "failed", "refused")
FIELDS_MAX = 256
KEY_LENGTH_MAX = 16 * 1024
DEALERS_MAX = 16 * 1024
ALIKE_MAX, ALIKE_BYTES_MAX = 512, 2048
"""How many kinds of questions are remembered, and how long one may be: clients send few different sets of fields."""


def fields_to_wire(fields: Fields) -> list[list[bytes]]:
    return [[name, value] for name, value in fields]


def fields_from_wire(items: Any) -> tuple[tuple[bytes, bytes], ...]:
    """Raises ClientError(400)."""
    try:
        lines = items if type(items) is tuple else tuple(map(tuple, items))
        for line in lines:
            name, value = line
            if type(name) is not bytes or type(value) is not bytes or type(line) is not tuple:
                raise ValueError
    except (TypeError, ValueError):
        raise ClientError(400, "a field line is not a pair of bytes") from None
    return lines


@dataclass(slots=True)
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
        """What is not said is as it is by default."""
        if self.held is not None or self.range is not None or self.validator is not None or self.target is not None or self.wants_fresh:
            return said(self, _REQUEST)
        found: dict[str, Any] = {"method": self.method, "key": self.key, "fields": self.fields}
        if self.mark:
            found["mark"] = self.mark
        if self.asker is not None:
            found["asker"] = self.asker
        return found

    @classmethod
    def from_wire(cls, found: Any) -> FetchRequest:
        return cls(**read(found, _REQUEST, ("method", "key", "fields")))


@dataclass(slots=True)
class FetchAnswer:
    """stored: facts as core/stored.py's to_facts gives them, with `age_seconds` as of now; their head is status and fields.
    length: of the whole body, None when not known.
    offset, end: where the bytes that follow begin and end (end None: at the end of the body). source: where the owner had them from.
    took_seconds: for so long the question lay at the owner before this was said (0: not for long); the rest of what the asker waited
    counts into the age. detail: for people. deal: instead of bytes, the peers among whom the file's pieces are dealt, with their
    weights; hint: one of them that has all of it, or gets it in order."""

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
    took_seconds: float = 0.0
    timed_out: bool = False
    retry_after_seconds: float | None = None
    deal: tuple[tuple[str, float], ...] = ()
    hint: str | None = None

    def to_wire(self) -> dict[str, Any]:
        """What is not said is as it is by default."""
        seldom = self.offset or self.end is not None or self.deal or self.hint is not None or self.is_stale or self.took_seconds
        if seldom or self.timed_out or self.retry_after_seconds is not None or self.kind not in ("found", "answered"):
            return said(self, _ANSWER)
        return {
            "kind": self.kind,
            "status": self.status,
            "fields": self.fields,
            "stored": self.stored,
            "age_seconds": self.age_seconds,
            "length": self.length,
            "source": self.source,
            "detail": self.detail,
            "member": self.member,
            "upstream_status": self.upstream_status,
        }

    @classmethod
    def from_wire(cls, found: Any) -> FetchAnswer:
        return _usual_answer(found) or cls(**read(found, _ANSWER, ("kind",)))


def _usual_answer(found: Any) -> FetchAnswer | None:
    """The answer that to_wire() makes where nothing is special, at once: all names in their order, each value of its type. None: the
    table is to say what it is."""
    if type(found) is not dict or (*found,) != _USUAL_NAMES:
        return None
    kind, status, fields, stored, age_seconds, length, source, detail, member, upstream_status = found.values()
    if kind not in KINDS or type(fields) is not tuple or len(fields) > FIELDS_MAX * 4 or type(stored) is not tuple:
        return None
    if type(status) is not int or type(upstream_status) is not int or not (0 <= status <= 599 and 0 <= upstream_status <= 999):
        return None
    if type(age_seconds) is not float or type(length) is not int or not (0 <= age_seconds <= 1e15 and 0 <= length <= INTEGER_MAX):
        return None
    if type(source) is not str or type(detail) is not str or type(member) is not bytes:
        return None
    if len(source) > 16 or len(detail) > 4096 or len(member) > 4096:
        return None
    lines = fields_from_wire(fields)
    return FetchAnswer(kind, status, lines, stored, age_seconds, length, 0, None, source, detail, member, upstream_status)


class Questions:
    """What one node asks, as bytes. Its questions differ in the key, most of them, so the rest is remembered."""

    def __init__(self) -> None:
        self._encode = Encoder().encode
        self._alike: dict[tuple[object, ...], tuple[bytes, bytes]] = {}

    def encode(self, asked: FetchRequest) -> bytes:
        """The bytes of its to_wire()."""
        is_usual = asked.held is None and asked.range is None and asked.validator is None and asked.target is None
        if not is_usual or asked.wants_fresh or asked.method != "GET":
            return self._encode(asked.to_wire())
        fields = tuple(asked.fields)
        ends = self._alike.get((fields, asked.mark, asked.asker))
        if ends is None:
            ends = self._learn(fields, asked.mark, asked.asker)
        return b"".join((ends[0], self._encode(asked.key), ends[1]))

    def _learn(self, fields: Fields, mark: str, asker: str | None) -> tuple[bytes, bytes]:
        whole = self._encode(FetchRequest("GET", "", fields, mark=mark, asker=asker).to_wire())
        ends = whole[:_KEY_AT], whole[_KEY_AT + 1 :]
        if len(whole) <= ALIKE_BYTES_MAX and len(fields) <= ALIKE_LINES_MAX:
            if len(self._alike) >= ALIKE_MAX:
                self._alike.clear()
            self._alike[fields, mark, asker] = ends
        return ends


def split_question(message: bytes) -> tuple[str, bytes]:
    """The key in a question as Questions makes them, and the bytes of all the rest; "" in any other. Where the rest is the same, all but
    the key is."""
    if message[1:_KEY_AT] != _QUESTION or len(message) < _KEY_AT + 2:
        return "", b""
    start, length = _KEY_AT + 1, message[_KEY_AT]
    if length == 0xD9:
        start, length = start + 1, message[start]
    elif 0xA0 <= length < 0xC0:
        length -= 0xA0
    else:
        return "", b""
    key, rest = message[start : start + length], message[start + length :]
    if len(key) < length or key[:1] != b"/" or key[:2] == b"/_" or not key.isascii():
        return "", b""
    return key.decode("ascii"), message[:1] + rest


def says_each_once(message: bytes, found: Mapping[str, Any]) -> bool:
    """Whether no name stands twice in a question that could be split, so that nothing behind its key says another. found: what it says."""
    return message[0] == 0x80 | len(found)


def _method(value: Any) -> str:
    if value not in ("GET", "HEAD"):
        raise ClientError(400, "that is nothing a peer can be asked for")
    return value


def _key(value: Any) -> str:
    if type(value) is not str or len(value) > KEY_LENGTH_MAX or not value.startswith("/") or not value.isascii() or value.startswith("/_"):
        raise ClientError(400, "that is nothing a peer can be asked for")
    return value


def _target(value: Any) -> str:
    if type(value) is not str or len(value) > KEY_LENGTH_MAX or not value.startswith("/") or value.startswith("/_"):
        raise ClientError(400, "that is nothing a peer can be asked for")
    return parse_target(value.encode("utf-8", "replace"))


def _kind(value: Any) -> str:
    if value not in KINDS:
        raise ClientError(400, "an answer of an unknown kind")
    return value


def _fields(count_max: int) -> Read:
    return lambda value: fields_from_wire(listed(value, count_max))


def _dealer(item: Any) -> tuple[str, float]:
    if not isinstance(item, list | tuple) or len(item) != 2:
        raise ClientError(400, "a dealer is not a pair of URL and weight")
    take = Taker({"url": item[0], "weight": item[1]})
    return take.text("url", length_max=512), take.number("weight", high=1e6)


_QUESTION = b"\xa6method\xa3GET\xa3key"
_KEY_AT = 1 + len(_QUESTION)
_USUAL_NAMES = ("kind", "status", "fields", "stored", "age_seconds", "length", "source", "detail", "member", "upstream_status")
_REQUEST: dict[str, tuple[Any, Read]] = {
    "method": (None, _method),
    "key": (None, _key),
    "fields": (None, _fields(FIELDS_MAX)),
    "held": (None, octets(1024)),
    "range": (None, octets(1024)),
    "validator": (None, octets(1024)),
    "target": (None, _target),
    "wants_fresh": (False, flag),
    "mark": ("", text(64)),
    "asker": (None, text(512)),
}
_ANSWER: dict[str, tuple[Any, Read]] = {
    "kind": (None, _kind),
    "status": (0, integer(599)),
    "fields": ((), _fields(FIELDS_MAX * 4)),
    "stored": (None, anything),
    "age_seconds": (0.0, number()),
    "length": (None, integer()),
    "offset": (0, integer()),
    "end": (None, integer()),
    "source": ("none", text(16)),
    "detail": ("", text(4096)),
    "member": (None, octets(4096)),
    "upstream_status": (0, integer(999)),
    "is_stale": (False, flag),
    "took_seconds": (0.0, number()),
    "timed_out": (False, flag),
    "retry_after_seconds": (None, number()),
    "deal": ((), lambda value: tuple(map(_dealer, listed(value, DEALERS_MAX)))),
    "hint": (None, text(512)),
}
"""What is said, by name: its default, and how it is read. Only what differs from its default travels."""
