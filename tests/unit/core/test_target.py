from __future__ import annotations

import pytest

from minicdn.core.target import TARGET_BYTES_MAX, parse_target, split_absolute
from minicdn.errors import ClientError


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        (b"/", "/"),
        (b"/a/b.tar.gz", "/a/b.tar.gz"),
        (b"/a-b_c~d!$&'()*+,;=:@e", "/a-b_c~d!$&'()*+,;=:@e"),
        # Two slashes are a path of their own.
        (b"//", "//"),
        (b"/a//b", "/a//b"),
        (b"//a", "//a"),
        # Percent-encoding (RFC 3986 §6.2.2.1, §6.2.2.2).
        (b"/%7euser", "/~user"),
        (b"/%41%2d%2E%5f", "/A-._"),
        (b"/a%2fb", "/a%2Fb"),
        (b"/a%20b%c3%bc", "/a%20b%C3%BC"),
        (b"/%25", "/%25"),
        (b"/%2541", "/%2541"),
        ("/ü".encode(), "/%C3%BC"),
        (b"/a%3Fb%23", "/a%3Fb%23"),
        # Dot segments (RFC 3986 §5.2.4).
        (b"/.", "/"),
        (b"/./a", "/a"),
        (b"/a/.", "/a/"),
        (b"/a/..", "/"),
        (b"/a/b/..", "/a/"),
        (b"/a/./b/../c", "/a/c"),
        (b"/a/%2e%2E/c", "/c"),
        (b"/a/%2e/c", "/a/c"),
        (b"/a//../b", "/a/b"),
        (b"/...", "/..."),
        (b"/.a/..b/c.", "/.a/..b/c."),
        # The query is the upstream's own.
        (b"/a?", "/a?"),
        (b"/a?b=%7e&&c/../d?e", "/a?b=%7e&&c/../d?e"),
        (b"/a?q=%zz%", "/a?q=%zz%"),
        ("/a?q=ü".encode(), "/a?q=%C3%BC"),
        (b"/a/..?b", "/?b"),
        # Encoded slashes that stay below the root.
        (b"/a/b/..%2fc", "/a/b/..%2Fc"),
        (b"/a/b/..%5c..", "/a/b/..%5C.."),
    ],
)
def test_a_target_becomes_its_key(raw, key):
    assert parse_target(raw) == key
    assert parse_target(key.encode()) == key


@pytest.mark.parametrize(
    "raw",
    [
        *(b"", b"a", b"*", b"http://a/b", b"?a"),
        *(b"/..", b"/../a", b"/a/../..", b"/%2e%2e", b"/a/../../b", b"/.%2e/"),
        *(b"/..%2f", b"/a/..%2f..", b"/a%2f..%2f..%2f", b"/..%5ca", b"/..\\a", b"/a/..%5C..\\b", b"/a//..%2f..%2fb"),
        *(b"/%", b"/%4", b"/%zz", b"/a%g0?b", b"/%00", b"/a%00b"),
        *(b"/a b", b"/a\tb", b"/a\r\nb", b"/a\x00", b"/\x7f", b"/a#b", b"/a?b#c", b"/a?b c", b"/a\n"),
    ],
)
def test_what_is_no_target_is_refused(raw):
    with pytest.raises(ClientError) as refusal:
        parse_target(raw)
    assert refusal.value.status == 400


def test_a_target_has_a_longest_length():
    longest = b"/" + b"a" * (TARGET_BYTES_MAX - 1)
    assert parse_target(longest) == longest.decode()
    with pytest.raises(ClientError) as refusal:
        parse_target(longest + b"a")
    assert refusal.value.status == 414


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        (b"/a?sig=1", "/a"),
        (b"/a?sig", "/a"),
        (b"/a?sig=1&b=2", "/a?b=2"),
        (b"/a?b=2&sig=1&c&expires=3", "/a?b=2&c"),
        (b"/a?signature=1", "/a?signature=1"),
        (b"/a?", "/a?"),
        (b"/a?b&&sig", "/a?b&"),
    ],
)
def test_ignored_parameters_leave_the_key(raw, key):
    assert parse_target(raw, frozenset(("sig", "expires"))) == key


@pytest.mark.parametrize(
    ("raw", "parts"),
    [
        (b"http://Example.COM:80/a?b", ("http", "example.com:80", b"/a?b")),
        (b"HTTPS://a", ("https", "a", b"/")),
        (b"http://a?b", ("http", "a", b"/?b")),
        (b"http://[::1]:11000/x", ("http", "[::1]:11000", b"/x")),
        (b"http://user@a/", None),
        (b"http:///a", None),
        (b"ftp://a/", None),
        (b"/a", None),
        (b"//a/b", None),
        (b"http://a b/", None),
        (b"http://a\\@b/", None),
    ],
)
def test_absolute_targets_are_split(raw, parts):
    assert split_absolute(raw) == parts
