from __future__ import annotations

import pytest

from minicdn.core.vary import choose, fits, matches, selecting
from tests.unit.core.making import date, get, kept, lines


def fits_variant(vary: str, stored: list[str], presented: list[str]) -> bool:
    key = selecting(get(*stored).fields, lines(f"Vary: {vary}"))
    return matches(get(*presented).fields, key)


@pytest.mark.parametrize(
    ("vary", "stored", "presented"),
    [
        ("Foo", ["Foo: 1"], ["Foo: 1"]),
        ("foo", ["FOO: 1"], ["Foo: 1", "Other: 2"]),
        ("Foo, Bar", ["Foo: 1"], ["Foo: 1"]),
        ("Foo", [], []),
        ("Foo", ["Foo:"], ["Foo:"]),
        ("", ["Foo: 1"], ["Foo: 2"]),
        # Normalised as the grammar of lists allows.
        ("Foo", ["Foo: 1, 2"], ["Foo: 1", "Foo: 2"]),
        ("Foo", ["Foo: 1,2"], ["Foo:  1 ,\t2 "]),
        ("Accept-Language", ["Accept-Language: en, de"], ["Accept-Language: de, en"]),
        ("Accept-Language", ["Accept-Language: en, de"], ["Accept-Language: eN, De"]),
        ("Accept-Language", ["Accept-Language: en;q=1.0, de ; q=0.5"], ["Accept-Language: de;q=0.5,en"]),
        ("Accept-Encoding", ["Accept-Encoding: gzip, br"], ["Accept-Encoding: br", "Accept-Encoding: GZIP"]),
    ],
)
def test_requests_that_say_the_same(vary, stored, presented):
    assert fits_variant(vary, stored, presented)


@pytest.mark.parametrize(
    ("vary", "stored", "presented"),
    [
        ("Foo", ["Foo: 1"], ["Foo: 2"]),
        ("Foo", ["Foo: 1"], []),
        ("Foo", [], ["Foo: 1"]),
        ("Foo", [], ["Foo:"]),
        ("Foo", ["Foo: a"], ["Foo: A"]),
        ("Foo", ["Foo: 1, 2"], ["Foo: 2, 1"]),
        ("Foo", ["Foo: 1"], ["Foo: 1", "Foo: 1"]),
        ("Foo", ['Foo: "a, b"'], ['Foo: "a,b"']),
        ("Foo, Bar", ["Foo: 1", "Bar: 2"], ["Foo: 1", "Bar: 3"]),
        ("Foo, Bar", ["Foo: 1", "Bar: 2"], ["Bar: 1", "Foo: 2"]),
        ("Accept-Language", ["Accept-Language: en;q=0.5"], ["Accept-Language: en"]),
        ("Accept", ['Accept: a/b;c="X"'], ['Accept: a/b;c="x"']),
        ("*", ["Foo: 1"], ["Foo: 1"]),
        ("Foo, *", ["Foo: 1"], ["Foo: 1"]),
        (", *", [], []),
    ],
)
def test_requests_that_do_not(vary, stored, presented):
    assert not fits_variant(vary, stored, presented)


def test_all_lines_of_vary_count():
    fields = lines("Vary: a", "vary: B")
    assert selecting(get("A: 1", "B: 2").fields, fields) == ((b"a", b"1"), (b"b", b"2"))
    assert [name for name, _ in selecting((), lines("Vary: e, b, D", "Vary: c, a, B"))] == [b"a", b"b", b"c", b"d", b"e"]
    assert selecting((), lines("Vary:", "Vary: *")) is None
    assert selecting(get("A: 1").fields, ()) == ()


def variant(language: str, after: float = 0.0, content: str = "x"):
    return kept(
        "Cache-Control: max-age=60",
        "Vary: Accept-Language",
        f"Content-Language: {content}",
        f"Date: {date(after)}",
        request=get(f"Accept-Language: {language}"),
    )


def test_the_most_recent_match_is_chosen():
    plain = kept("Cache-Control: max-age=60", f"Date: {date(-9)}")
    english, german, newer = variant("en", -3), variant("de", -1), variant("de", 0)
    request = get("Accept-Language: de")
    assert choose(request.fields, [english, newer, german, plain]) == 1
    assert choose(request.fields, [german, english, plain]) == 0
    assert choose(get("Accept-Language: en").fields, [german, english, plain]) == 1
    assert choose(get().fields, [german, plain]) == 1
    assert choose(get().fields, [german]) is None
    assert choose(get().fields, []) is None


@pytest.mark.parametrize(
    ("content", "wanted", "is_fitting"),
    [
        ("de", "fr;q=0.5, de;q=1.0", True),
        ("DE", "de", True),
        ("de", "fr, de", False),
        ("de", "fr, de;q=0.9", False),
        ("de", "de;q=0", False),
        ("de, en", "de", False),
        ("de", "fr", False),
        ("de", "de;q=x, fr;q=0.5", True),
    ],
)
def test_a_response_in_the_favourite_language_fits(content, wanted, is_fitting):
    assert fits(get(f"Accept-Language: {wanted}").fields, variant("en, de", content=content)) is is_fitting
