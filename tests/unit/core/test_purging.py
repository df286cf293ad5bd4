from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicdn.core.invalidation import invalidation
from minicdn.core.purging import EVERYTHING, ITEMS_MAX, Purge, merged, parse_purge, purge_of_key
from minicdn.errors import ClientError
from tests.unit.core.making import answer, get

ORIGINS = frozenset(("http://10.0.0.5:11000", "http://cdn.example"))
UPSTREAM = "https://files.example.com/base"


def parsed(found: Any) -> Purge:
    return parse_purge(json.dumps(found).encode(), ORIGINS, UPSTREAM)


@pytest.mark.parametrize(
    ("purge", "key", "tags", "is_matched"),
    [
        (Purge(frozenset(("/a",))), "/a", "", True),
        (Purge(frozenset(("/a",))), "/a?x", "", False),
        (Purge(frozenset(("/a",))), "/a/b", "", False),
        (Purge(prefixes=("/a",)), "/a?x", "", True),
        (Purge(prefixes=("/a/",)), "/a", "", False),
        (Purge(prefixes=("/b", "/a")), "/abc", "", True),
        (Purge(tags=frozenset(("news",))), "/a", "sport news", True),
        (Purge(tags=frozenset(("news",))), "/a", "New", False),
        (Purge(), "/a", "news", False),
        (EVERYTHING, "/", "", True),
    ],
)
def test_what_a_purge_matches(purge: Purge, key: str, tags: str, is_matched: bool) -> None:
    assert purge.matches(key, frozenset(tags.split())) is is_matched
    if is_matched:
        assert purge.may_match(key)


@pytest.mark.parametrize(
    ("found", "purge"),
    [
        ({"paths": ["/a"]}, Purge(frozenset(("/a",)))),
        ({"paths": ["/a/../%7eb", "/ä"]}, Purge(frozenset(("/~b", "/%C3%A4")))),
        ({"paths": ["http://CDN.example:80/a?b"], "soft": False}, Purge(frozenset(("/a?b",)), is_soft=False)),
        ({"paths": ["https://files.example.com/base/a"]}, Purge(frozenset(("/a",)))),
        ({"prefixes": ["/a/", "http://10.0.0.5:11000/b"]}, Purge(prefixes=("/a/", "/b"))),
        ({"tags": ["one", "two"], "prefixes": []}, Purge(tags=frozenset(("one", "two")))),
    ],
)
def test_what_can_be_asked_for(found: Any, purge: Purge) -> None:
    assert parsed(found) == purge
    assert Purge.from_wire(purge.to_wire()) == purge


@pytest.mark.parametrize(
    ("found", "word"),
    [
        ([], "object"), ({}, "nothing"), ({"paths": []}, "nothing"), ({"path": ["/a"]}, "path"), ({"paths": "/a"}, "list"),
        ({"paths": [1]}, "list"), ({"paths": ["a"]}, "slash"), ({"paths": ["/%zz"]}, "percent"), ({"paths": ["/.."]}, "root"),
        ({"paths": ["/" + "a" * 9000]}, "longer"), ({"paths": ["http://other.example/a"]}, "this site"),
        ({"paths": ["\ud800"]}, "surrogate"),
        ({"paths": ["https://files.example.com/other"]}, "this site"), ({"paths": ["/a"], "soft": 0}, "soft"), ({"tags": [""]}, "tag"),
        ({"tags": ["a" * 2000]}, "tag"), ({"paths": ["/a"] * (ITEMS_MAX + 1)}, "1000"),
    ],
)  # fmt: skip
def test_what_is_refused_and_why(found: Any, word: str) -> None:
    with pytest.raises(ClientError) as caught:
        parsed(found)
    assert caught.value.status == 400
    assert word in caught.value.reason and "\n" not in caught.value.reason


@given(st.binary(max_size=50))
def test_any_bytes_are_a_purge_or_a_clients_mistake(data: bytes) -> None:
    try:
        parse_purge(data, ORIGINS, UPSTREAM)
    except ClientError as error:
        assert error.status == 400


def test_deep_nesting_is_a_clients_mistake() -> None:
    with pytest.raises(ClientError):
        parse_purge(b"[" * 200_000, ORIGINS)


def test_a_star_at_the_end_makes_a_prefix() -> None:
    assert purge_of_key("/a*", is_soft=True) == Purge(prefixes=("/a",))
    assert purge_of_key("/*", is_soft=False) == Purge(prefixes=("/",), is_soft=False)
    assert purge_of_key("/a*b", is_soft=True) == Purge(frozenset(("/a*b",)))


def test_several_become_one_and_too_many_become_everything() -> None:
    one = merged([Purge(frozenset(("/a",))), Purge(tags=frozenset(("t",))), Purge(prefixes=("/b",))])
    assert one == Purge(frozenset(("/a",)), ("/b",), frozenset(("t",)))
    many = [Purge(frozenset((f"/{n}",))) for n in range(ITEMS_MAX + 1)]
    assert merged(many) == EVERYTHING
    assert not merged([one, Purge(frozenset(("/c",)), is_soft=False)]).is_soft


@pytest.mark.parametrize(
    "plain",
    [
        None, [], {}, {"soft": 1, "paths": [], "prefixes": [], "tags": []}, {"soft": True, "paths": ["a"], "prefixes": [], "tags": []},
        {"soft": True, "paths": [], "prefixes": [], "tags": [1]}, {"soft": True, "paths": [], "prefixes": [""], "tags": []},
        {"soft": True, "paths": ["/"] * 1001, "prefixes": [], "tags": []},
    ],
)  # fmt: skip
def test_what_is_no_purge_on_the_wire(plain: object) -> None:
    with pytest.raises(ValueError):
        Purge.from_wire(plain)


@pytest.mark.parametrize(
    ("method", "status", "written", "paths", "tags"),
    [
        ("POST", 201, ["Location: /new", 'Cache-Group-Invalidation: "g", "h"'], {"/thing", "/new"}, {"g", "h"}),
        ("PUT", 204, [], {"/thing"}, set()),
        ("DELETE", 200, ["Content-Location: https://files.example.com/base/old"], {"/thing", "/old"}, set()),
        ("PATCH", 303, ["Location: /base/inner"], {"/thing", "/inner", "/base/inner"}, set()),
        ("POST", 200, ["Location: http://cdn.example/x"], {"/thing", "/x"}, set()),
        ("POST", 200, ["Location: https://files.example.com/elsewhere"], {"/thing"}, set()),
        ("BREW", 200, ["Location: http://other.example/x"], {"/thing"}, set()),
    ],
)
def test_what_an_unsafe_request_amounts_to(method: str, status: int, written: list[str], paths: set[str], tags: set[str]) -> None:
    purge = invalidation(get(method=method), answer(*written, status=status), ORIGINS, UPSTREAM)
    assert purge == Purge(frozenset(paths), tags=frozenset(tags))


@pytest.mark.parametrize(("method", "status"), [("GET", 200), ("OPTIONS", 200), ("POST", 404), ("POST", 500)])
def test_what_amounts_to_nothing(method: str, status: int) -> None:
    assert invalidation(get(method=method), answer('Cache-Group-Invalidation: "g"', status=status), ORIGINS) is None
