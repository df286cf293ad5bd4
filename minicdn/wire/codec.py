"""msgpack at the door: what comes in is checked before anybody sees it.

A message is a map with text keys. Size, nesting and the lengths of lists are bounded before anything is built; extension
types (timestamps are one) are refused, so decoding never makes anything but plain values. `Taker` then takes out the fields
that are asked for, each of its type and within its bounds, and leaves unknown ones alone: a newer peer may say more.

Whatever is wrong with the bytes is the sender's affair: ClientError with status 400 (413 when too long), and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgpack

from minicdn.errors import ClientError

CONTENT_TYPE = "application/msgpack"
MESSAGE_BYTES_MAX = 1024 * 1024
ITEMS_MAX = 64 * 1024
TEXT_MAX = 64 * 1024
INTEGER_MAX = 2**63 - 1
_REQUIRED: Any = object()


def encode(message: Mapping[str, Any]) -> bytes:
    """The bytes of a map of plain values. Text that has no UTF-8 (half a surrogate pair) is sent with `?` in its place."""
    return msgpack.packb(message, use_bin_type=True, unicode_errors="replace")


class Encoder:
    """encode() for one who says much: what makes the bytes is made once. It belongs to one thread."""

    __slots__ = ("encode",)

    def __init__(self) -> None:
        self.encode: Callable[[Any], bytes] = msgpack.Packer(use_bin_type=True, unicode_errors="replace").pack


def decode(data: bytes, *, bytes_max: int = MESSAGE_BYTES_MAX, as_tuples: bool = False) -> dict[str, Any]:
    """The map in `data`; ClientError where there is none. as_tuples: that is what its lists are then."""
    if len(data) > bytes_max:
        raise ClientError(413, f"the message is longer than {bytes_max} bytes")
    try:
        found = msgpack.unpackb(
            data,
            raw=False,
            use_list=not as_tuples,
            strict_map_key=True,
            ext_hook=_refuse,
            max_ext_len=0,
            max_array_len=ITEMS_MAX,
            max_map_len=ITEMS_MAX,
        )
    except Exception as error:  # the library names its errors loosely (ValueError, TypeError, its own, …); all mean the same here
        raise ClientError(400, f"the message is not valid msgpack: {type(error).__name__}") from None
    if not isinstance(found, dict):
        raise ClientError(400, "the message is not a map")
    return found


def _refuse(code: int, data: bytes) -> Any:
    raise ValueError(f"extension type {code}")


class Taker:
    """Takes fields out of a decoded map by name and type; ClientError(400) names the field that is missing or wrong.

    A field with a `default` may be missing or nil.
    """

    __slots__ = ("_map",)

    def __init__(self, found: Any) -> None:
        if not isinstance(found, dict):
            raise ClientError(400, "the message has something else where a map should be")
        self._map: dict[str, Any] = found

    def text(self, name: str, *, length_max: int = TEXT_MAX, default: Any = _REQUIRED) -> Any:
        value = self._take(name, str, default)
        if value is not default and len(value) > length_max:
            raise ClientError(400, f"{name} is longer than {length_max} characters")
        return value

    def flag(self, name: str, *, default: Any = _REQUIRED) -> Any:
        return self._take(name, bool, default)

    def integer(self, name: str, *, low: int = 0, high: int = INTEGER_MAX, default: Any = _REQUIRED) -> Any:
        value = self._take(name, int, default)
        if value is not default and not low <= value <= high:
            raise ClientError(400, f"{name} is not within {low} and {high}")
        return value

    def number(self, name: str, *, low: float = 0.0, high: float = 1e15, default: Any = _REQUIRED) -> Any:
        """A finite float; whole numbers count as floats."""
        value = self._map.get(name)
        if type(value) is int and abs(value) <= INTEGER_MAX:
            value = float(value)
        elif type(value) is not float:
            return self._take(name, float, default)
        if not math.isfinite(value) or not low <= value <= high:
            raise ClientError(400, f"{name} is not within {low} and {high}")
        return value

    def octets(self, name: str, *, length_max: int = MESSAGE_BYTES_MAX, default: Any = _REQUIRED) -> Any:
        value = self._take(name, bytes, default)
        if value is not default and len(value) > length_max:
            raise ClientError(400, f"{name} is longer than {length_max} bytes")
        return value

    def items(self, name: str, *, count_max: int = ITEMS_MAX, default: Any = _REQUIRED) -> Sequence[Any]:
        """A list, whose items are yet to be looked at."""
        value = self._take(name, list, default)
        if value is not default and len(value) > count_max:
            raise ClientError(400, f"{name} has more than {count_max} items")
        return value

    def map(self, name: str) -> Taker:
        return Taker(self._take(name, dict, _REQUIRED))

    def maybe_map(self, name: str) -> Taker | None:
        found = self._take(name, dict, None)
        return None if found is None else Taker(found)

    def _take(self, name: str, kind: type, default: Any) -> Any:
        value = self._map.get(name)
        if value is None:
            if default is _REQUIRED:
                raise ClientError(400, f"{name} is missing")
            return default
        if type(value) is not kind:  # exact: True is an int to isinstance
            raise ClientError(400, f"{name} is not of the type {kind.__name__}")
        return value
