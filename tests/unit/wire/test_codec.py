from __future__ import annotations

import contextlib

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicdn.errors import ClientError
from minicdn.wire.codec import MESSAGE_BYTES_MAX, Taker, decode, encode


def refused(data: bytes, **options) -> ClientError:
    with pytest.raises(ClientError) as caught:
        decode(data, **options)
    return caught.value


def test_a_map_comes_back_as_it_went() -> None:
    message = {"text": "ä", "number": -5, "float": 0.5, "flag": True, "none": None, "bytes": b"\x00", "list": [1, [2]], "map": {"a": {}}}
    assert decode(encode(message)) == message


def test_half_a_surrogate_pair_does_not_stop_a_message() -> None:
    assert decode(encode({"key": "a\ud800b"})) == {"key": "a?b"}


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\xc1", b"\x81", b"\x80\x80", b"\x91" * 2000 + b"\xc0", b"\xdd\xff\xff\xff\xff", b"\x81\xa1\xff\x01", b"\x81\xc0\x01",
        b"\x81\x91\x01\x01", b"<html>", b"\xa1a", b"\x90",
        msgpack.packb({"a": msgpack.ExtType(5, b"abcd")}), msgpack.packb({"a": msgpack.ExtType(5, b"")}),
        msgpack.packb({"a": msgpack.Timestamp(5, 0)}), b"\x81\xa1a\xc7\x00\xff",
    ],
)  # fmt: skip
def test_what_is_no_map_of_plain_values_is_the_senders_mistake(data: bytes) -> None:
    assert refused(data).status == 400


def test_a_message_that_is_too_long_is_not_even_looked_at() -> None:
    assert refused(b"\x80" * (MESSAGE_BYTES_MAX + 1)).status == 413
    assert refused(encode({"a": "b" * 100}), bytes_max=50).status == 413


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    with contextlib.suppress(ClientError):
        assert isinstance(decode(data), dict)


FOUND = {
    "text": "abc",
    "number": 5,
    "float": 0.5,
    "flag": True,
    "bytes": b"ab",
    "list": [1, 2],
    "map": {"x": 1},
    "nan": float("nan"),
    "nil": None,
}


def test_fields_are_taken_by_name_and_type() -> None:
    take = Taker(FOUND)
    assert take.text("text") == "abc"
    assert take.integer("number") == 5
    assert take.number("float") == 0.5
    assert type(take.number("number")) is float
    assert take.flag("flag") is True
    assert take.octets("bytes") == b"ab"
    assert take.items("list") == [1, 2]
    assert take.map("map").integer("x") == 1
    assert take.maybe_map("absent") is None
    assert take.text("absent", default=None) is None
    assert take.text("nil", default="d") == "d"


@pytest.mark.parametrize(
    "wrong",
    [
        lambda take: take.text("absent"),
        lambda take: take.text("nil"),
        lambda take: take.text("number"),
        lambda take: take.text("text", length_max=2),
        lambda take: take.integer("flag"),
        lambda take: take.integer("float"),
        lambda take: take.integer("number", high=4),
        lambda take: take.integer("number", low=6),
        lambda take: take.number("text"),
        lambda take: take.number("flag"),
        lambda take: take.number("nan"),
        lambda take: take.number("float", high=0.25),
        lambda take: take.flag("number"),
        lambda take: take.octets("text"),
        lambda take: take.octets("bytes", length_max=1),
        lambda take: take.items("map"),
        lambda take: take.items("list", count_max=1),
        lambda take: take.map("list"),
        lambda take: take.maybe_map("text"),
        lambda take: Taker([]),
    ],
)
def test_what_is_missing_or_wrong_is_named(wrong) -> None:
    with pytest.raises(ClientError) as caught:
        wrong(Taker(FOUND))
    assert caught.value.status == 400
    assert "\n" not in caught.value.reason
