"""The express lane says what the normal way says: the same octets, log lines and counts, whatever is sent, however it is cut."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("httptools")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.web.lanes import ANSWERS, HOST, Side, Upstream, Watch

TARGETS = [path.decode() for path in ANSWERS] * 2 + [
    "/plain?", "/plain?a=1", "/plain?sig=1", "/%70lain", "/a/../plain", "//plain", "/plain/", "/caf\xe9", "/plain#x", "/_health",
    "/_nothing",    f"http://{HOST}/plain", "http://elsewhere.example/plain", "*", "plain", "/" + "x" * 2000, "/plain/" + "x" * 1100,
]  # fmt: skip
HARMLESS = [
    "User-Agent: curl/8.5.0", "user-agent:", "User-Agent: caf\xe9 \x7f", "Accept: */*", "ACCEPT-ENCODING: gzip, br",
    "Accept-Language:de", "Cookie: a=b; c=d", "X-Forwarded-For: 10.1.1.1", "Connection: keep-alive", "connection:Keep-Alive", "Origin:\tx",
    "Referer: http://h/ \t",
]  # fmt: skip
TELLING = [
    "Range: bytes=0-2", "Range: bytes=3-", "Range: bytes=-2", "Range: bytes=0-15999", "Range: lines=1-2", "Range:", "range: bytes=7-17000",
    'If-None-Match: W/"e"', 'If-None-Match: "a", "e"', "If-None-Match:", "If-None-Match: e", 'If-None-Match: "s"',
    "Range: bytes=1-,0-0", "Range: bytes=99-", 'If-None-Match: "e"', "If-None-Match: *", 'If-Match: "other"',
    "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT", 'If-Range: "e"', "Cache-Control: no-cache", "Cache-Control: max-age=0",
    "Cache-Control: max-stale=9", "Cache-Control: only-if-cached", "Cache-Control: no-store", "Pragma: no-cache", "Want-Digest: sha-256",
    "Authorization: Basic eDp5", 'X-Minicdn-Data: {"a": 1}', "X-Minicdn-Type: json", "Content-Length: 0", "Content-Length: 3",
    "Transfer-Encoding: chunked", "Connection: close", "Connection: Upgrade", "Upgrade: h2c", "Expect: 100-continue", "TE: trailers",
    "Via: 1.1 other", "Via: 1.1 minicdn-n", "X-Unknown: 1", "Host: twice", "Name : blank", "no colon", " folded", ": empty", "X-A: \x01",
    "X-Forwarded-For: " + "1" * 5000, "Accept-Encoding:", "Forwarded: for=x", "Trailer: X",
]  # fmt: skip

FIELDS = st.lists(st.one_of(st.sampled_from(HARMLESS), st.sampled_from(HARMLESS), st.sampled_from(TELLING)), max_size=3)


@st.composite
def requests(draw: Any) -> bytes:
    """Mostly plain, sometimes odd in one way or another."""
    method = draw(st.sampled_from(["GET"] * 9 + ["HEAD"] * 4 + ["HEADX", "HEAD/", "get", "POST", "OPTIONS", "BREW"]))
    version = draw(st.sampled_from(["HTTP/1.1"] * 12 + ["HTTP/1.0", "HTTP/1.2", "http/1.1", ""]))
    host = draw(st.sampled_from([f"Host: {HOST}"] * 12 + ["HOST:h", "Host: h:", "Host: a b", "Host:", "Host: [::1]:80", "X: no-host"]))
    end, blank = draw(st.sampled_from(["\r\n"] * 12 + ["\n"])), draw(st.sampled_from([" "] * 15 + ["  ", "\t"]))
    fields = draw(FIELDS)
    start = f"{method}{blank}{draw(st.sampled_from(TARGETS))} {version}".rstrip()
    octets = end.join((start, *draw(st.permutations([host, *fields])), "", "")).encode("latin-1")
    if any(line.lower() == "transfer-encoding: chunked" for line in fields):
        return octets + b"3\r\nabc\r\n0\r\n\r\n"
    return octets + (b"abc" if "Content-Length: 3" in fields else b"")


@st.composite
def steps(draw: Any) -> tuple[float, list[bytes], bool]:
    """(seconds that pass before it, pieces on one connection, whether each is answered before the next)."""
    octets = b"".join(draw(st.lists(requests(), min_size=1, max_size=3)))
    cuts = sorted({min(at, len(octets)) for at in draw(st.lists(st.integers(1, 400), max_size=3))})
    if draw(st.booleans()):
        cuts = []
    pieces = [octets[start:end] for start, end in zip([0, *cuts], [*cuts, len(octets)], strict=True) if start < end]
    return draw(st.sampled_from([0.0, 0.0, 0.25, 0.75, 1.0, 1.5, 3.0, 61.0])), pieces, draw(st.booleans())


class Both:
    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self.watch = Watch()
        self.runner.run(self._start())

    async def _start(self) -> None:
        self.upstream = Upstream(self.watch)
        self.server = await asyncio.start_server(self.upstream.serve, "127.0.0.1", 0)
        port = self.server.sockets[0].getsockname()[1]
        more = {"ignored_query": ("sig",)}
        self.quick, self.normal = [Side(self.watch, port, has_lane=has_lane, **more) for has_lane in (True, False)]
        for side in (self.quick, self.normal):
            await side.role.start()

    async def play(self, after_seconds: float, pieces: list[bytes], is_settled: bool) -> None:
        self.watch.at += after_seconds
        found = []
        for side in (self.quick, self.normal):
            side.lines.clear()
            wire = await side.send(*pieces, is_settled=is_settled)
            found.append((_comparable(wire.octets), wire.is_closed, side.log(), side.counters()))
        quick, normal = found
        assert quick[0] == normal[0]
        assert quick[1:] == normal[1:]

    async def _stop(self) -> None:
        for side in (self.quick, self.normal):
            await side.role.stop()
        self.server.close()

    def close(self) -> None:
        self.runner.run(self._stop())
        self.runner.close()


def _comparable(octets: bytes) -> bytes:
    """The boundary of several ranges is random, and /_health tells the time that has really passed."""
    octets = re.sub(rb"[0-9a-f]{32}", b"boundary", octets)
    return octets.split(b"\r\n")[0] if b'"ready"' in octets else octets


@pytest.fixture(scope="module")
def both() -> Iterator[Both]:
    found = Both()
    yield found
    assert found.quick.served_count > 0
    found.close()


@given(story=st.lists(steps(), min_size=1, max_size=8))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_the_lane_says_what_the_normal_way_says(both: Both, story: list[tuple[float, list[bytes], bool]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(30):
            for step in story:
                await both.play(*step)

    both.runner.run(run())


@pytest.mark.parametrize("target", [path.decode() for path in ANSWERS])
def test_each_answer_at_each_quarter_of_a_second(both: Both, target: str) -> None:
    """The same through a whole life: fresh, older, stale, fetched again."""

    async def run() -> None:
        octets = f"GET {target} HTTP/1.1\r\nHost: {HOST}\r\nUser-Agent: x\r\n\r\n".encode()
        for _ in range(20):
            await both.play(0.25, [octets], True)
            await both.play(0.0, [octets * 2], True)
            for field in ("Range: bytes=0-2", 'If-None-Match: "e"'):
                asked = octets[:-2] + f"{field}\r\n\r\n".encode()
                await both.play(0.0, [asked], True)
                await both.play(0.0, [asked.replace(b"GET", b"HEAD", 1)], True)

    both.runner.run(run())


ODD_HEADS = [
    "GET {} HTTP/1.0\r\nHost: h\r\n\r\n", "get {} HTTP/1.1\r\nHost: h\r\n\r\n", "HEAD {} HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET  {} HTTP/1.1\r\nHost: h\r\n\r\n", "GET {} HTTP/1.1 \r\nHost: h\r\n\r\n", "GET {} HTTP/1.1\nHost: h\n\n",
    "GET {} HTTP/1.1\r\n\r\n", "GET {} HTTP/1.1\r\nHost: a b\r\n\r\n", "GET {} HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n",
    "GET {} HTTP/1.1\r\nHost: \r\n\r\n", "GET {}? HTTP/1.1\r\nHost: h\r\n\r\n", "GET {} HTTP/1.1\r\nHost:h\t \r\n\r\n",
    "\r\nGET {} HTTP/1.1\r\nHost: h\r\n\r\n", "GET {} HTTP/1.1\r\nHost: h\r\n\r\n\r\n", "GET {} HTTP/1.1\r\nHost: h\r\n\r\nGET ",
    "GET http://127.0.0.1:11000{} HTTP/1.1\r\nHost: 127.0.0.1:11000\r\n\r\n", "GET {} HTTP/1.2\r\nHost: h\r\n\r\n",
    "GET {} HTTP/1.1\r\nHost: h\r\nUser-Agent: a\r\nUser-Agent: b\r\n\r\n",
    "GET {} HTTP/1.1\r\nHost: h\r\nUser-Agent: \r\nUser-Agent: b\r\n\r\n",
]  # fmt: skip


@pytest.mark.parametrize("target", ["/plain", "/apart", "/vary", "/withheld", "/gone"])
def test_each_oddity_where_the_lane_is_warm(both: Both, target: str) -> None:
    plain = f"GET {target} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
    heads = [f"GET {target} HTTP/1.1\r\nHost: {HOST}\r\n{field}\r\n\r\n" for field in (*HARMLESS, *TELLING)]
    bodies = {"Content-Length: 3": b"abc", "Transfer-Encoding: chunked": b"0\r\n\r\n"}

    async def run() -> None:
        heads.extend([head.replace("GET", "HEAD", 1) for head in heads])
        for head in (*heads, *(odd.format(target) for odd in ODD_HEADS)):
            body = b"".join(octets for field, octets in bodies.items() if field in head)
            for _ in range(3):
                await both.play(0.0, [plain], True)
            await both.play(0.0, [head.encode("latin-1") + body], True)

    both.runner.run(run())


def test_a_head_in_any_two_pieces_where_the_lane_is_warm(both: Both) -> None:
    plain = f"GET /plain HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
    telling = plain[:-2] + b"Range: bytes=0-1\r\n\r\n"

    async def run() -> None:
        for octets in (plain, telling, plain + telling):
            for at in range(1, len(octets)):
                await both.play(0.0, [plain, plain, octets[:at], octets[at:], plain], True)
                await both.play(0.0, [octets[:at], octets[at:]], False)

    both.runner.run(run())
