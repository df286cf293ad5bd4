"""Structured fields: the strict grammar of RFC 9651 that newer fields share.

Strictness is the point: one wrong octet and the whole field is as if absent (§4.2), so two readers never see two meanings.
Parameters are read and dropped: none of the fields we read gives them a meaning.
"""

from __future__ import annotations

import base64
import binascii
import re
from decimal import Decimal

Bare = int | Decimal | str | bytes | bool
"""Integer, decimal, string, byte sequence, boolean; dates come as int, display strings as str."""


class Token(str):
    """A bare word: equal to a string in Python, but another type on the wire."""

    __slots__ = ()


Value = Bare | tuple[Bare, ...]
"""One item, or an inner list of items."""

_KEY = re.compile(r"[a-z*][a-z0-9_\-.*]*")
_NUMBER = re.compile(r"-?[0-9]{1,15}(?![0-9.])|-?[0-9]{1,12}\.[0-9]{1,3}(?![0-9.])")
_STRING = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
_TOKEN = re.compile(r"[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*")
_BYTES = re.compile(r":([A-Za-z0-9+/=]*):")
_DISPLAY = re.compile(r'%"((?:[\x20\x21\x23\x24\x26-\x7e]|%[0-9a-f]{2})*)"')
_BOOLEAN = re.compile(r"\?([01])")
_DATE = re.compile(r"@(-?[0-9]{1,15})(?![0-9.])")
_ESCAPE = re.compile(r"\\(.)")


class _Malformed(Exception):
    """The field is not what the grammar says; never leaves this file."""


class _Reader:
    """A position in the text of one field."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        match = pattern.match(self.text, self.at)
        if match:
            self.at = match.end()
        return match

    def skip(self, characters: str) -> None:
        while self.at < len(self.text) and self.text[self.at] in characters:
            self.at += 1

    def next_is(self, character: str) -> bool:
        if self.text.startswith(character, self.at):
            self.at += 1
            return True
        return False

    @property
    def is_over(self) -> bool:
        return self.at >= len(self.text)


def parse_dictionary(values: list[bytes]) -> dict[str, Value] | None:
    """A dictionary from all lines of one field, or None where it does not parse. Of a repeated key the last value stays."""
    if not values:
        return {}
    reader = _begin(values)
    if reader is None:
        return None
    members: dict[str, Value] = {}
    try:
        while not reader.is_over:
            key = _key(reader)
            value = _value(reader) if reader.next_is("=") else True
            _parameters(reader)
            members.pop(key, None)
            members[key] = value
            _comma(reader)
    except _Malformed:
        return None
    return members


def parse_list(values: list[bytes]) -> list[Value] | None:
    """A list from all lines of one field, or None where it does not parse."""
    if not values:
        return []
    reader = _begin(values)
    if reader is None:
        return None
    members: list[Value] = []
    try:
        while not reader.is_over:
            members.append(_value(reader))
            _parameters(reader)
            _comma(reader)
    except _Malformed:
        return None
    return members


def _begin(values: list[bytes]) -> _Reader | None:
    try:
        return _Reader(b",".join(values).decode("ascii").strip(" "))
    except UnicodeDecodeError:
        return None


def _comma(reader: _Reader) -> None:
    """Between members: the end, or a comma with a member behind it (RFC 9651 §4.2.1, §4.2.2)."""
    reader.skip(" \t")
    if reader.is_over:
        return
    if not reader.next_is(","):
        raise _Malformed
    reader.skip(" \t")
    if reader.is_over:
        raise _Malformed


def _key(reader: _Reader) -> str:
    match = reader.take(_KEY)
    if match is None:
        raise _Malformed
    return match.group()


def _parameters(reader: _Reader) -> None:
    while reader.next_is(";"):
        reader.skip(" ")
        _key(reader)
        if reader.next_is("="):
            _item(reader)


def _value(reader: _Reader) -> Value:
    if not reader.next_is("("):
        return _item(reader)
    items: list[Bare] = []
    while True:
        reader.skip(" ")
        if reader.next_is(")"):
            return tuple(items)
        items.append(_item(reader))
        _parameters(reader)
        if reader.is_over or reader.text[reader.at] not in " )":
            raise _Malformed


def _item(reader: _Reader) -> Bare:
    if match := reader.take(_NUMBER):
        return Decimal(match.group()) if "." in match.group() else int(match.group())
    if match := reader.take(_STRING):
        return _ESCAPE.sub(r"\1", match.group(1))
    if match := reader.take(_TOKEN):
        return Token(match.group())
    if match := reader.take(_BOOLEAN):
        return match.group(1) == "1"
    if match := reader.take(_DATE):
        return int(match.group(1))
    return _encoded(reader)


def _encoded(reader: _Reader) -> Bare:
    """A byte sequence (§4.2.7) or a display string (§4.2.10)."""
    try:
        if match := reader.take(_BYTES):
            return base64.b64decode(match.group(1), validate=True)
        if match := reader.take(_DISPLAY):
            octets = re.sub(rb"%([0-9a-f]{2})", lambda two: bytes.fromhex(two.group(1).decode()), match.group(1).encode())
            return octets.decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        pass
    raise _Malformed
