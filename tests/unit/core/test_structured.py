from __future__ import annotations

from decimal import Decimal

import pytest

from minicdn.core.structured import Token, parse_dictionary, parse_list


@pytest.mark.parametrize(
    ("values", "members"),
    [
        ([b""], []),
        ([b"  "], []),
        ([b"1, -2 ,\t3.5"], [1, -2, Decimal("3.5")]),
        ([b'"a b", "c\\"\\\\"'], ["a b", 'c"\\']),
        ([b"tok/en:*", b"*x"], [Token("tok/en:*"), Token("*x")]),
        ([b"?1, ?0"], [True, False]),
        ([b":aGVsbG8=:"], [b"hello"]),
        ([b"@1659578233"], [1659578233]),
        ([b'%"f%c3%bc"'], ["f\u00fc"]),
        ([b'("a" b;x 1);y=2, ()'], [("a", "b", 1), ()]),
        ([b'"a";x;y="z"; w=?0'], ["a"]),
    ],
)
def test_lists(values, members):
    assert parse_list(values) == members


@pytest.mark.parametrize(
    "value",
    [
        *(b",", b"a,", b"a,,b", b"a b", b'"a', b'"a\\n"', b'"\xc3\xbc"', b"'a'", b"&", b"(a", b"(a,b)", b'("a""b")'),
        *(b"?2", b"?", b":a:", b":a b:", b"1.", b"1.2345", b"1234567890123456", b"--1", b"@1.5", b'%"%zz"', b'%"%ff"', b'%"%C3%BC"', b"a;"),
        b"a;B",
        *(b"a\x00", b"1 2", b"\t1"),
    ],
)
def test_what_is_no_list_is_nothing(value):
    assert parse_list([value]) is None


@pytest.mark.parametrize(
    ("values", "members"),
    [
        ([b"a=1, b;x, *c=?0"], {"a": 1, "b": True, "*c": False}),
        ([b"a=1", b"a=2"], {"a": 2}),
        ([b"a=(1 2)"], {"a": (1, 2)}),
        ([b"A=1"], None),
        ([b"a=1,"], None),
        ([b"a= 1"], None),
        ([b"a =1"], None),
        ([b"1=1"], None),
        ([b"a="], None),
    ],
)
def test_dictionaries(values, members):
    assert parse_dictionary(values) == members


def test_a_token_is_told_from_a_string():
    token, string = parse_list([b'a, "a"'])
    assert type(token) is Token and type(string) is str
