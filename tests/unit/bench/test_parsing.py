"""What a load test asks, and what it reads out of answers."""

from __future__ import annotations

import pytest

from minicdn.bench.aim import Target, parse_fields, parse_targets, redirected, request_tail
from minicdn.bench.answers import Chunks, Heads, NoHttp, parse_head
from minicdn.errors import UsageError


def head(*lines: str, status: str = "HTTP/1.1 200 OK") -> bytes:
    return "\r\n".join((status, *lines)).encode()


@pytest.mark.parametrize(
    ("lines", "cache", "source"),
    [
        (["X-Cache: HIT from minicdn-1a (memory)"], "hit", "memory"),
        (["X-Cache: MISS from minicdn-1a (upstream)", "X-Cache: MISS from minicdn-2b (peer)"], "miss", "peer"),
        (["X-Cache: MISS from a, HIT from minicdn-2b (disk)"], "hit", "disk"),
        (["X-Cache: STALE from minicdn-1a (memory)"], "stale", "memory"),
        (["X-Cache: HIT"], "hit", "unknown"),
        (["X-Cache-Status: EXPIRED"], "miss", "unknown"),
        (["X-Cache: TCP_MEM_HIT from somewhere"], "unknown", "unknown"),
        (["Cache-Status: origin; fwd=miss, edge; hit; ttl=30"], "hit", "unknown"),
        (["Cache-Status: edge; fwd=uri-miss; stored"], "miss", "unknown"),
        ([], "unknown", "unknown"),
    ],
)
def test_where_an_answer_came_from(lines: list[str], cache: str, source: str) -> None:
    found = parse_head(head("Content-Length: 3", *lines))
    assert (found.cache, found.source) == (cache, source)


@pytest.mark.parametrize(
    ("octets", "length", "is_chunked", "keeps_alive"),
    [
        (head("content-LENGTH:  12 "), 12, False, True),
        (head("Transfer-Encoding: chunked", "Content-Length: 12"), None, True, True),
        (head(), None, False, True),
        (head("Content-Length: 5", status="HTTP/1.1 204 No Content"), 0, False, True),
        (head("Content-Length: 5", status="HTTP/1.1 304"), 0, False, True),
        (head("Content-Length: 5", "Connection: close"), 5, False, False),
        (head("Content-Length: 5", status="HTTP/1.0 200 OK"), 5, False, False),
        (head("Content-Length: 5", "Connection: Keep-Alive", status="HTTP/1.0 200 OK"), 5, False, True),
    ],
)
def test_where_a_body_ends(octets: bytes, length: int | None, is_chunked: bool, keeps_alive: bool) -> None:
    found = parse_head(octets)
    assert (found.length, found.is_chunked, found.keeps_alive) == (length, is_chunked, keeps_alive)


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"SSH-2.0-x",
        b"HTTP/1.1 99 ",
        b"HTTP/2 200",
        head("Content-Length: -1"),
        head("Content-Length: 1x"),
        head(f"Content-Length: {'9' * 5000}"),
    ],
)
def test_what_is_no_answer(octets: bytes) -> None:
    with pytest.raises(NoHttp):
        parse_head(octets)


def test_heads_are_read_once_and_not_kept_for_ever() -> None:
    heads = Heads()
    assert heads.parse(head("Age: 1")) is heads.parse(head("Age: 1"))
    first = heads.parse(head("Age: 1"))
    for number in range(2000):
        heads.parse(head(f"Age: {number + 2}"))
    assert heads.parse(head("Age: 1")) is not first


CHUNKED = b"3;x=y\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\nTrailer: x\r\n\r\n"


@pytest.mark.parametrize("size", range(1, len(CHUNKED) + 5))
def test_chunks_in_pieces_of_any_size(size: int) -> None:
    octets, chunks, content = CHUNKED + b"more", Chunks(), 0
    for start in range(0, len(octets), size):
        taken, end = chunks.feed(octets[start : start + size])
        content += taken
        if end is not None:
            assert start + end == len(CHUNKED)
            break
    else:
        pytest.fail("it did not end")
    assert content == 19


@pytest.mark.parametrize("octets", [b"x\r\n", b"\r\n", b"1" * 2000])
def test_no_chunks(octets: bytes) -> None:
    with pytest.raises(NoHttp):
        Chunks().feed(octets)


def test_targets_of_a_list() -> None:
    found = parse_targets(["http://Example.com:80/a b?c#d"], ["", "# a comment", "/x", " http://[::1]:8080/y "])
    assert found == [Target("http://example.com", b"/a%20b?c"), Target("http://example.com", b"/x"), Target("http://[::1]:8080", b"/y")]
    assert request_tail("http://[::1]:8080", b"A: b\r\n") == b" HTTP/1.1\r\nHost: [::1]:8080\r\nA: b\r\n\r\n"


@pytest.mark.parametrize("url", ["x", "/x", "ftp://a/b", "http://", "http://u:p@a/", "http://a:99999/"])
def test_no_target(url: str) -> None:
    with pytest.raises(UsageError):
        parse_targets([url])


def test_fields_and_a_range() -> None:
    assert parse_fields(["Accept:  text/html", "X-A: b c"], "bytes=5-") == b"Accept: text/html\r\nX-A: b c\r\nRange: bytes=5-\r\n"


@pytest.mark.parametrize("headers", [["no field"], ["A: b\r\nC: d"], ["Host: other"], ["Content-Length: 3"], ["A: b"] * 51])
def test_no_fields(headers: list[str]) -> None:
    with pytest.raises(UsageError):
        parse_fields(headers, None)


@pytest.mark.parametrize("range_", ["", "5", "a-b", "0-1,3-4"])
def test_no_range(range_: str) -> None:
    with pytest.raises(UsageError):
        parse_fields([], range_)


@pytest.mark.parametrize(
    ("location", "url"),
    [(b"http://b:1/x", "http://b:1/x"), (b"/y", "http://a/y"), (b"y?z", "http://a/dir/y?z"), (b"ftp://b/", None), (b"http://[", None)],
)
def test_redirects(location: bytes, url: str | None) -> None:
    found = redirected(Target("http://a", b"/dir/x"), location)
    assert (found.url if found else None) == url
