"""Looking things up in field lines, and which of them end at this hop.

Field lines stay a flat sequence of pairs, in the order they came: order and repetition carry meaning (Set-Cookie, Via), and a
walk over twenty pairs costs less than building a mapping that most requests never ask. Names to look for are given in lower
case; names in the lines may have any case (RFC 9110 §5.1).
"""

from __future__ import annotations

from itertools import compress

from minicdn.core.message import Fields
from minicdn.core.names import Names, by_names

HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"http2-settings",
    )
)
"""Fields about one connection (RFC 9110 §7.6.1) or one proxy (RFC 9111 §3.1): neither forwarded nor stored."""

_NOMINATES_NOTHING = frozenset((b"keep-alive", b"close", b"Keep-Alive", b"Close"))
"""Values of Connection that name no field, as long as no field is called close."""
_SPACE = b" \t"


def first(fields: Fields, name: bytes) -> bytes | None:
    """The value of the first line called `name` (lower case), or None."""
    for line_name, value in fields:
        if line_name.lower() == name:
            return value
    return None


def every(fields: Fields, name: bytes) -> list[bytes]:
    """The values of all lines called `name`, in order."""
    return [value for line_name, value in fields if line_name.lower() == name]


def combined(fields: Fields, name: bytes) -> bytes | None:
    """All lines called `name` as one value, joined by comma and space (RFC 9110 §5.2); None where there is no such line."""
    values = every(fields, name)
    return b", ".join(values) if values else None


def has(fields: Fields, name: bytes) -> bool:
    """Whether there is a line called `name`, be its value empty or not."""
    return first(fields, name) is not None


def has_any(fields: Fields, names: frozenset[bytes]) -> bool:
    """Whether any line has one of these names: one walk, for asking at once about many fields that are seldom there."""
    return not names.isdisjoint([line_name.lower() for line_name, _ in fields])


def without(fields: Fields, names: frozenset[bytes] | set[bytes]) -> list[tuple[bytes, bytes]]:
    """The lines whose names are not in `names`, in order."""
    return [line for line in fields if line[0].lower() not in names]


@by_names
def _travelling(names: Names) -> tuple[tuple[int, ...], tuple[bool, ...] | None]:
    """Where Connection stands, and which lines may travel on, unless it nominates any; None where that has to be asked."""
    lower = [name.lower() for name in names]
    connections = tuple(at for at, name in enumerate(lower) if name == b"connection")
    return connections, None if b"close" in lower else tuple(name not in HOP_BY_HOP for name in lower)


def end_to_end(fields: Fields) -> list[tuple[bytes, bytes]]:
    """The lines that may travel on: without hop-by-hop ones and those that Connection nominates (RFC 9110 §7.6.1)."""
    connections, stay = _travelling(fields)
    for at in connections:
        if fields[at][1] not in _NOMINATES_NOTHING:
            stay = None
    if stay is not None:
        return list(compress(fields, stay))
    connection = combined(fields, b"connection")
    if connection is None:
        return without(fields, HOP_BY_HOP)
    nominated = {option.strip(_SPACE).lower() for option in connection.split(b",")}
    return without(fields, HOP_BY_HOP | nominated)


def split_list(value: bytes) -> list[bytes]:
    """The members of a comma-separated list (RFC 9110 §5.6.1), trimmed, empty ones left out.

    A comma inside a quoted string separates nothing. A quote that never closes takes the rest of the value with it.
    """
    if b'"' not in value:
        return [member for part in value.split(b",") if (member := part.strip(_SPACE))]
    members, start, at = [], 0, 0
    while at < len(value):
        character = value[at]
        if character == 0x22:
            at = _end_of_quoted(value, at)
            continue
        if character == 0x2C:
            members.append(value[start:at])
            start = at + 1
        at += 1
    members.append(value[start:])
    return [member for part in members if (member := part.strip(_SPACE))]


def _end_of_quoted(value: bytes, at: int) -> int:
    """Where the quoted string that opens at `at` is over (RFC 9110 §5.6.4: a backslash escapes the next octet)."""
    at += 1
    while at < len(value):
        if value[at] == 0x5C:
            at += 2
        elif value[at] == 0x22:
            return at + 1
        else:
            at += 1
    return len(value)


def unquote(value: bytes) -> bytes:
    """The content of a quoted string; a value that is not one, as it is."""
    if len(value) < 2 or value[:1] != b'"' or value[-1:] != b'"':
        return value
    inner = value[1:-1]
    if b"\\" not in inner:
        return inner
    plain, at = bytearray(), 0
    while at < len(inner):
        if inner[at] == 0x5C and at + 1 < len(inner):
            at += 1
        plain.append(inner[at])
        at += 1
    return bytes(plain)
