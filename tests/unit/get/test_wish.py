"""What is typed, and what is meant by it."""

from __future__ import annotations

import pytest

from minicdn.core.pieces import Dealer
from minicdn.errors import UsageError
from minicdn.get.sources import take_peers
from minicdn.get.wish import parse_wish, without_base

MANAGER = "http://Manager:11000/"


@pytest.mark.parametrize(
    ("typed", "key"),
    [("/a/b.iso", "/a/b.iso"), ("http://x.example/%7eb?q=1#part", "/~b?q=1"), ("/a b/ü", "/a%20b/%C3%BC"), ("/a/./b/../c", "/a/c")],
)
def test_the_key(typed: str, key: str) -> None:
    assert parse_wish(typed, MANAGER, ()).key == key


@pytest.mark.parametrize(
    ("typed", "name"),
    [("/a/b.iso?x=/y", "b.iso"), ("/a%20b", "a b"), ("/a%2Fb", "a%2Fb"), ("/a%00b", None), ("/dir/", ""), ("/%0a", "%0a")],
)
def test_the_name(typed: str, name: str | None) -> None:
    if name is None:
        with pytest.raises(UsageError):
            parse_wish(typed, MANAGER, ())
    else:
        assert parse_wish(typed, MANAGER, ()).name == name


@pytest.mark.parametrize("typed", ["/path", "path", "ftp://x/y", "http://user:word@x/y", "http:///y", "http://x:0/y", "/../up"])
def test_what_is_refused(typed: str) -> None:
    with pytest.raises(UsageError):
        parse_wish(typed, None, ())


def test_parts_of_one_site_are_not_taken_for_anothers() -> None:
    identities = {parse_wish("/a", manager, ()).identity for manager in (MANAGER, "http://other")}
    identities |= {parse_wish("http://x/a", None, ()).identity, parse_wish("/a", None, ["http://p"]).identity}
    assert len(identities) == 4


def test_a_url_of_the_upstream_loses_the_path_that_all_files_share() -> None:
    wish = parse_wish("https://files.example/pub/a?b", MANAGER, ())
    assert without_base(wish, "https://files.example/pub").key == "/a?b"
    assert without_base(wish, "https://files.example").key == "/pub/a?b"
    assert without_base(wish, "https://other.example/pub").key == "/pub/a?b"
    assert wish.manager == "http://manager:11000"


def test_the_peers_of_a_page() -> None:
    rows = [
        {"id": "1", "url": "http://a:1", "weight": 1.0, "share": 0.25},
        {"id": "2", "url": "http://b:1", "weight": 0.0},
        {"url": "nonsense"},
        {"url": "http://c:1", "weight": None},
        "nothing",
    ]
    assert take_peers({"peers": rows}) == [Dealer("http://a:1", 0.25), Dealer("http://b:1", 0.0)]
    assert take_peers({}) == []
