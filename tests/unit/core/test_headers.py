from __future__ import annotations

import pytest

from minicdn.core import headers
from tests.unit.core.making import lines

FIELDS = lines("Via: 1.1 a", "X-One: 1", "via: 1.1 b", "Set-Cookie: a=1", "Set-Cookie: b=2", "Empty:")


def test_look_ups_ignore_case_and_keep_order():
    assert headers.first(FIELDS, b"via") == b"1.1 a"
    assert headers.every(FIELDS, b"via") == [b"1.1 a", b"1.1 b"]
    assert headers.combined(FIELDS, b"via") == b"1.1 a, 1.1 b"


def test_absent_is_not_empty():
    assert headers.first(FIELDS, b"empty") == b"" and headers.has(FIELDS, b"empty")
    assert headers.combined(FIELDS, b"empty") == b""
    assert headers.first(FIELDS, b"absent") is None and headers.combined(FIELDS, b"absent") is None
    assert not headers.has(FIELDS, b"absent")


def test_has_any_looks_for_several_at_once():
    assert headers.has_any(FIELDS, frozenset((b"absent", b"x-one")))
    assert not headers.has_any(FIELDS, frozenset((b"absent",)))


def test_without_keeps_the_rest_in_order():
    assert headers.without(FIELDS, frozenset((b"via", b"empty"))) == list(lines("X-One: 1", "Set-Cookie: a=1", "Set-Cookie: b=2"))


@pytest.mark.parametrize(
    "name",
    [
        *("Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authentication-Info", "Proxy-Authorization"),
        *("TE", "Trailer", "Transfer-Encoding", "Upgrade"),
    ],
)
def test_hop_by_hop_fields_end_here(name):
    assert headers.end_to_end(lines("A: 1", f"{name}: something", "B: 2")) == list(lines("A: 1", "B: 2"))


def test_connection_nominates_fields_on_any_of_its_lines():
    fields = lines("Connection: close, A", "a: 1", "B: 2", "connection:  b ,,", "C: 3")
    assert headers.end_to_end(fields) == list(lines("C: 3"))


@pytest.mark.parametrize(
    ("value", "members"),
    [
        (b"", []),
        (b" , ,", []),
        (b"a,b", [b"a", b"b"]),
        (b" a ,\tb ", [b"a", b"b"]),
        (b'a="1,2", b', [b'a="1,2"', b"b"]),
        (b'a="1\\",2", b', [b'a="1\\",2"', b"b"]),
        (b'"never closed, b', [b'"never closed, b']),
        (b'"ends in an escape\\', [b'"ends in an escape\\']),
        (b'"a""b", c', [b'"a""b"', b"c"]),
    ],
)
def test_lists_are_split_at_commas_outside_quotes(value, members):
    assert headers.split_list(value) == members


@pytest.mark.parametrize(
    ("value", "plain"),
    [(b'"a"', b"a"), (b"a", b"a"), (b'"', b'"'), (b'""', b""), (b'"a\\"b"', b'a"b'), (b'"a\\\\"', b"a\\"), (b"'a'", b"'a'")],
)
def test_quoted_strings_are_unquoted(value, plain):
    assert headers.unquote(value) == plain
