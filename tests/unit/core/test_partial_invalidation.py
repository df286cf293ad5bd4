from __future__ import annotations

import pytest

from minicdn.core.invalidation import invalidated_keys
from minicdn.core.partial import may_combine, part_fields, span_of, whole_head
from tests.unit.core.making import answer, date, get, lines, values


def part(*written: str):
    return answer(*written, status=206)


def test_a_part_gets_the_head_of_the_whole():
    head = whole_head(part("A: 1", "Content-Range: bytes 0-4/10", "Content-Length: 5", 'ETag: "a"'))
    assert head.status == 200 and list(head.fields) == list(lines("A: 1", 'ETag: "a"', "Content-Length: 10"))
    unknown = whole_head(part("Content-Range: bytes 0-4/*", "Content-Length: 5"))
    assert unknown.status == 200 and list(unknown.fields) == []


@pytest.mark.parametrize(
    "head",
    [part("Content-Type: multipart/byteranges; boundary=x"), part("Content-Range: bytes 5-4/10"), answer("Content-Range: bytes 0-4/10")],
)
def test_what_is_no_single_part_stays_as_it_is(head):
    assert span_of(head) is None and whole_head(head) == head


def test_a_part_of_the_whole_gets_a_head_again():
    fields = part_fields(lines("A: 1", "Content-Length: 10"), 2, 5, 10)
    assert fields == list(lines("A: 1", "Content-Length: 3", "Content-Range: bytes 2-4/10"))


@pytest.mark.parametrize(
    ("stored", "new", "may"),
    [
        (['ETag: "a"', "Content-Length: 10"], ['ETag: "a"', "Content-Range: bytes 0-4/10"], True),
        (['ETag: "a"', "Content-Length: 10"], ['ETag: "a"', "Content-Range: bytes 0-4/*"], True),
        (['ETag: "a"', "Content-Length: 11"], ['ETag: "a"', "Content-Range: bytes 0-4/10"], False),
        (['ETag: "a"'], ['ETag: "b"', "Content-Range: bytes 0-4/10"], False),
        (['ETag: W/"a"'], ['ETag: W/"a"', "Content-Range: bytes 0-4/10"], False),
        ([], ["Content-Range: bytes 0-4/10"], False),
        (
            [f"Last-Modified: {date(-9)}", f"Date: {date()}"],
            [f"Last-Modified: {date(-9)}", f"Date: {date(3)}", "Content-Range: bytes 0-1/9"],
            True,
        ),
        ([f"Last-Modified: {date(-9)}", f"Date: {date()}"], [f"Last-Modified: {date(-9)}", "Content-Range: bytes 0-1/9"], False),
    ],
)
def test_parts_combine_under_one_strong_validator(stored, new, may):
    assert may_combine(answer(*stored), part(*new)) is may


@pytest.mark.parametrize(
    ("written", "keys"),
    [
        ([], ["/a/b"]),
        (["Location: /x"], ["/a/b", "/x"]),
        (["Location: x?y"], ["/a/b", "/a/x?y"]),
        (["Location: ../%7ex#part"], ["/a/b", "/~x"]),
        (["Location: http://CDN:80/x"], ["/a/b", "/x"]),
        (["Location: //cdn:80/x"], ["/a/b", "/x"]),
        (["Location: //other/x"], ["/a/b"]),
        (["Location: https://cdn:80/x"], ["/a/b"]),
        (["Location: http://other/x"], ["/a/b"]),
        (["Location: http://cdn:80@other/x"], ["/a/b"]),
        (["Content-Location: /x", "Location: /y", "Location: /x"], ["/a/b", "/y", "/x"]),
        (["Location: http://[bad"], ["/a/b"]),
        (["Location: /\x7f", "Content-Location: mailto:x"], ["/a/b"]),
        (["Location: /a/b"], ["/a/b"]),
    ],
)
def test_an_unsafe_request_invalidates_what_its_answer_names(written, keys):
    request = get(method="POST", key="/a/b")
    assert invalidated_keys(request, answer(*written), frozenset(("http://cdn:80",))) == keys


def test_a_failed_or_safe_request_invalidates_nothing():
    assert invalidated_keys(get(method="POST"), answer("Location: /x", status=500), frozenset()) == []
    assert invalidated_keys(get(), answer("Location: /x"), frozenset()) == []


def test_digests_of_a_part_are_not_those_of_the_whole():
    assert values(whole_head(part("Content-Range: bytes 0-1/2", "Content-Digest: x")).fields, "content-digest") == []
