"""Messages that are said and read by a table: short where most of it is as always, and as strict as codec.Taker.

A table names each part of a message, its default, and how it is read. What is as by default is not said; what is not said, or unknown to
the reader, is left as it is, so that a newer peer may say more. A value that does not fit is the sender's affair: ClientError(400).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from minicdn.errors import ClientError
from minicdn.wire.codec import INTEGER_MAX

Read = Callable[[Any], Any]
Table = Mapping[str, tuple[Any, Read]]


def said(message: Any, table: Table) -> dict[str, Any]:
    """As plain values, what of a message's attributes is not as by default."""
    found = {}
    for name, (default, _) in table.items():
        value = getattr(message, name)
        if value != default:
            found[name] = value
    return found


def read(found: Any, table: Table, required: tuple[str, ...]) -> dict[str, Any]:
    """By name, what was said. Raises ClientError(400)."""
    if not isinstance(found, dict):
        raise ClientError(400, "the message has something else where a map should be")
    known = {}
    for name, value in found.items():
        row = table.get(name)
        if row is not None and value is not None:
            try:
                known[name] = row[1](value)
            except ClientError as error:
                raise ClientError(400, f"{name}: {error.reason}") from None
    for name in required:
        if name not in known:
            raise ClientError(400, f"{name} is missing")
    return known


def text(length_max: int) -> Read:
    def read_text(value: Any) -> str:
        if type(value) is not str or len(value) > length_max:
            raise ClientError(400, f"it is no text of at most {length_max} characters")
        return value

    return read_text


def octets(length_max: int) -> Read:
    def read_octets(value: Any) -> bytes:
        if type(value) is not bytes or len(value) > length_max:
            raise ClientError(400, f"it is not at most {length_max} bytes")
        return value

    return read_octets


def integer(high: int = INTEGER_MAX) -> Read:
    def read_integer(value: Any) -> int:
        if type(value) is not int or not 0 <= value <= high:  # exact: True is an int to isinstance
            raise ClientError(400, f"it is no number up to {high}")
        return value

    return read_integer


def number(high: float = 1e15) -> Read:
    """A finite float; whole numbers count as floats."""

    def read_number(value: Any) -> float:
        if type(value) not in (int, float) or not 0 <= value <= high or not math.isfinite(value):
            raise ClientError(400, f"it is no number up to {high:g}")
        return float(value)

    return read_number


def flag(value: Any) -> bool:
    if type(value) is not bool:
        raise ClientError(400, "it is neither true nor false")
    return value


def listed(value: Any, count_max: int) -> Sequence[Any]:
    """A list, whose items are yet to be looked at. (A tuple, where decode() makes those of lists.)"""
    if type(value) not in (list, tuple) or len(value) > count_max:
        raise ClientError(400, f"it is no list of at most {count_max}")
    return value


def anything(value: Any) -> Any:
    """To be looked at by who knows what it is."""
    return value
