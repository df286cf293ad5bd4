"""What an upstream's heads mean."""

from __future__ import annotations

import pytest

from minicdn.core.dates import format_http_date
from minicdn.core.freshness import Policy
from minicdn.core.message import Head
from minicdn.doctor import upstream
from minicdn.doctor.finding import FAIL, OK, WARN

NOW = 1_800_000_000.0
DATE = (b"Date", format_http_date(NOW))
ETAG = (b"ETag", b'"1"')
OLD = (b"Last-Modified", format_http_date(NOW - 864_000))


@pytest.mark.parametrize(
    ("status", "version", "is_file", "states"),
    [
        (200, "HTTP/1.1", True, [OK]),
        (200, "HTTP/1.0", True, [WARN]),
        (404, "HTTP/1.1", False, [OK, OK]),
        (404, "HTTP/1.1", True, [OK, FAIL]),
        (403, "HTTP/1.1", True, [OK, FAIL]),
        (204, "HTTP/1.1", True, [OK, FAIL]),
        (503, "HTTP/1.1", False, [FAIL]),
        (429, "HTTP/1.1", True, [FAIL]),
    ],
)
def test_answers(status: int, version: str, is_file: bool, states: list[str]) -> None:
    found = upstream.answered("http://up/x", version, status, [(b"Server", b"\x1b[31mx\xff")], 0.01, is_file=is_file)
    assert [finding.state for finding in found] == states
    assert "\x1b" not in found[0].seen


def part(status: int, *fields: tuple[bytes, bytes]) -> Head:
    return Head(status, fields)


ONE = part(206, (b"Content-Range", b"bytes 0-0/10"))


@pytest.mark.parametrize(
    ("whole", "answer", "body", "state"),
    [
        ([(b"Accept-Ranges", b"bytes")], ONE, b"x", OK),
        ([], ONE, b"x", OK),
        ([(b"Accept-Ranges", b"none")], ONE, b"x", WARN),
        ([], part(200), b"xxx", WARN),
        ([(b"Accept-Ranges", b"bytes")], part(200), b"xxx", WARN),
        ([], ONE, b"xxx", FAIL),
        ([], part(206, (b"Content-Range", b"bytes 0-9/10")), b"x", FAIL),
        ([], part(206), b"x", FAIL),
        ([], part(206, (b"Content-Range", b"\xff")), b"x", FAIL),
        ([(b"Content-Length", b"0")], part(416), b"", OK),
    ],
)
def test_parts(whole: list[tuple[bytes, bytes]], answer: Head, body: bytes, state: str) -> None:
    assert upstream.parts(whole, 200, answer, body).state == state


@pytest.mark.parametrize(
    ("fields", "second", "state", "words"),
    [
        ((DATE, ETAG, OLD), part(304, ETAG), OK, "ETag and Last-Modified"),
        ((DATE, OLD), part(304), OK, "Last-Modified"),
        ((DATE,), part(200), WARN, "neither"),
        ((DATE, (b"ETag", b'W/"1"')), part(304), WARN, "weak"),
        ((DATE, (b"Last-Modified", format_http_date(NOW))), part(304), WARN, "as new as the answer"),
        ((DATE, ETAG), part(200, ETAG), WARN, "answers 200, not 304"),
        ((DATE, ETAG), part(200, (b"ETag", b'"2"')), WARN, "differs"),
    ],
)
def test_validators(fields: tuple[tuple[bytes, bytes], ...], second: Head, state: str, words: str) -> None:
    found = upstream.validators(Head(200, fields), second)
    assert (found.state, words in found.seen) == (state, True), found


@pytest.mark.parametrize(
    ("fields", "state", "words"),
    [
        ((DATE, ETAG, (b"Cache-Control", b"max-age=3600")), OK, "fresh for 60 min; decided by cache-control: max-age"),
        ((DATE, OLD), OK, "fresh for 24 h; decided by heuristic"),
        ((DATE, ETAG, (b"Cache-Control", b"no-store")), FAIL, "no-store"),
        ((DATE, ETAG, (b"Cache-Control", b"private")), FAIL, "private"),
        ((DATE, ETAG, (b"Cache-Control", b"no-cache")), WARN, "no-cache"),
        ((DATE, ETAG), WARN, "never fresh"),
        ((DATE, ETAG, (b"Cache-Control", b"max-age=5")), WARN, "5 s only"),
        ((DATE, OLD, (b"Vary", b"*")), WARN, "Vary: *"),
        ((DATE, OLD, (b"Vary", b"Accept-Encoding, User-Agent")), WARN, "once for each user-agent"),
        ((DATE, OLD, (b"Vary", b"Accept-Encoding")), OK, "fresh"),
        ((), FAIL, "neither a lifetime nor a validator"),
    ],
)
def test_how_long_it_is_kept(fields: tuple[tuple[bytes, bytes], ...], state: str, words: str) -> None:
    found = upstream.kept("/x", Head(200, fields), NOW, NOW, Policy())
    assert (found.state, words in found.seen) == (state, True), found


def test_the_managers_own_rules_count() -> None:
    policy = Policy(default_ttls=(("/x*", 7200.0),))
    assert "2 h; decided by default ttl of /x*" in upstream.kept("/x", Head(200, (DATE, ETAG)), NOW, NOW, policy).seen


@pytest.mark.parametrize(
    ("fields", "state"), [((), WARN), (((b"Content-Length", b"12"),), OK), (((b"Transfer-Encoding", b"chunked"),), WARN)]
)
def test_length(fields: tuple[tuple[bytes, bytes], ...], state: str) -> None:
    assert upstream.length(Head(200, fields)).state == state


def test_redirects() -> None:
    assert "--upstream" in upstream.redirected("http://up/x", 302, "http://other/x", is_elsewhere=True).advice
    assert upstream.redirected("http://up/x", 301, "http://up/y", is_elsewhere=False).state == WARN
