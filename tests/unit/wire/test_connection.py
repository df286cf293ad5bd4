"""Answers, as octets: each delivered whole, byte by byte, and (where the connection stays) with something behind it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from minicdn.wire.connection import HEAD_BYTES_MAX, READ_AHEAD_BYTES, ClientConnection, Lost, Silent

LENGTH_5 = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
UNTIL_THE_END = b"HTTP/1.1 200 OK\r\n\r\n"


class FakeTransport(asyncio.Transport):
    """What the connection does to it; its end comes soon after it was closed, as a real one's does."""

    def __init__(self, connection: ClientConnection) -> None:
        super().__init__()
        self.written = b""
        self.is_paused = False
        self._is_closing = False
        self._connection = connection
        connection.connection_made(self)

    def write(self, data: Any) -> None:
        assert not self._is_closing, "written to a connection that was closed"
        self.written += bytes(data)

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            asyncio.get_running_loop().call_soon(self._connection.connection_lost, None)

    abort = close

    def pause_reading(self) -> None:
        assert not self._is_closing, "uvloop raises here"
        self.is_paused = True

    def resume_reading(self) -> None:
        assert not self._is_closing, "uvloop raises here"
        self.is_paused = False

    def end(self, error: Exception | None = None) -> None:
        """The other side closes, or (with an error) resets."""
        if error is None:
            self._connection.eof_received()
        self._is_closing = True
        self._connection.connection_lost(error)


@dataclass(frozen=True)
class Outcome:
    """body: what was read, be it whole or not. error: why it is not whole."""

    status: int
    body: bytes
    error: str | None
    is_reusable: bool
    fields: tuple[tuple[bytes, bytes], ...] = ()


End = Callable[[FakeTransport], None] | None


async def outcome_of(pieces: list[bytes], method: str = "GET", end: End = None) -> Outcome:
    connection = ClientConnection()
    transport = FakeTransport(connection)
    connection.begin(method, b"request")
    for piece in pieces:
        if transport.is_closing():
            break
        connection.data_received(piece)
    if end is not None and not transport.is_closing():
        end(transport)
    body = b""
    try:
        async with asyncio.timeout(0.2 if end is None else 5):
            await connection.wait_head()
            while chunk := await connection.read():
                body += chunk
        error = None
    except Lost as lost:
        error = str(lost)
    except TimeoutError:
        error = "waits"
    await asyncio.sleep(0)
    return Outcome(connection.status, body, error, connection.is_reusable, tuple(connection.fields))


def played(octets: bytes, method: str = "GET", end: End = None, *, split: bool = False) -> Outcome:
    pieces = [octets[at : at + 1] for at in range(len(octets))] if split else [octets]
    return asyncio.run(outcome_of(pieces, method, end))


@dataclass(frozen=True)
class Case:
    """stays: another exchange may follow. error: a part of the reason; the body read until then is `body`."""

    id: str
    octets: bytes
    body: bytes = b""
    status: int = 200
    method: str = "GET"
    stays: bool = True
    error: str | None = None
    ends: bool = False


WHOLE = (
    Case("length", LENGTH_5, b"hello"),
    Case("length-nought", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    Case("no-phrase", b"HTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx", b"x"),
    Case("unknown-status", b"HTTP/1.1 799 Odd\r\nContent-Length: 1\r\n\r\nx", b"x", status=799),
    Case("chunked", CHUNKED + b"5\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n0\r\n\r\n", b"hello world"),
    Case("chunked-empty", CHUNKED + b"0\r\n\r\n"),
    Case("chunked-capitals", CHUNKED + b"A\r\n0123456789\r\n000\r\n\r\n", b"0123456789"),
    Case("chunk-extensions", CHUNKED + b'5;a=b;c="d e"\r\nhello\r\n0;x\r\n\r\n', b"hello"),
    Case("chunked-trailers", CHUNKED + b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nDate: today\r\n\r\n", b"hello"),
    Case("coding-in-capitals", b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", b"hello"),
    Case("two-codings", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", b"hello"),
    Case("no-content", b"HTTP/1.1 204 No Content\r\n\r\n", status=204),
    Case("no-content-with-length", b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", status=204),
    Case("not-modified", b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\n\r\n', status=304),
    Case("not-modified-with-length", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", status=304),
    Case("not-modified-chunked", b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", status=304),
    Case("head-with-length", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", method="HEAD"),
    Case("head-chunked", CHUNKED, method="HEAD"),
    Case("head-without-length", UNTIL_THE_END, method="HEAD", stays=False),
    Case("interim-100", b"HTTP/1.1 100 Continue\r\n\r\n" + LENGTH_5, b"hello"),
    Case("interim-103-twice", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 2 + LENGTH_5, b"hello"),
    Case("says-close", b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello", b"hello", stays=False),
    Case("version-1.0", b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello", stays=False),
    Case("version-1.0-kept", b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
    Case("until-the-end", UNTIL_THE_END + b"hello", b"hello", stays=False, ends=True),
    Case("until-the-end-of-1.0", b"HTTP/1.0 200 OK\r\n\r\nhello", b"hello", stays=False, ends=True),
    Case("until-the-end-and-empty", UNTIL_THE_END, stays=False, ends=True),
    Case("other-coding-until-the-end", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello", b"hello", stays=False, ends=True),
)

BROKEN = (
    Case("short-length", LENGTH_5[:-2], b"hel", error="before the end of the body", ends=True),
    Case("short-chunk", CHUNKED + b"5\r\nhel", b"hel", error="before the end of the body", ends=True),
    Case("no-last-chunk", CHUNKED + b"5\r\nhello\r\n", b"hello", error="before the end of the body", ends=True),
    Case("cut-in-the-trailers", CHUNKED + b"5\r\nhello\r\n0\r\nX: 1\r\n", b"hello", error="before the end of the body", ends=True),
    Case("chunk-size-no-number", CHUNKED + b"zz\r\nhello\r\n0\r\n\r\n", error="no HTTP"),
    Case("chunk-size-beyond-all-numbers", CHUNKED + b"10000000000000005\r\nhello\r\n0\r\n\r\n", error="no HTTP"),
    Case("chunk-longer-than-said", CHUNKED + b"3\r\nhello\r\n0\r\n\r\n", b"hel", error="no HTTP"),
    Case("two-lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", error="no HTTP"),
    Case("length-and-chunked", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", error="no HTTP"),
    Case("length-no-number", b"HTTP/1.1 200 OK\r\nContent-Length: 5x\r\n\r\nhello", error="no HTTP"),
    Case("folded-line", b"HTTP/1.1 200 OK\r\nX-A: 1\r\n b\r\nContent-Length: 5\r\n\r\nhello", error="no HTTP"),
    Case("nul-in-a-value", b"HTTP/1.1 200 OK\r\nX-A: \0\r\nContent-Length: 5\r\n\r\nhello", error="no HTTP"),
    Case("blank-before-the-colon", b"HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\nhello", error="no HTTP"),
    Case("no-http", b"SSH-2.0-OpenSSH_9.2\r\n", error="no HTTP"),
    Case("switching-protocols", b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nxyz", error="switches protocols"),
    Case("interim-with-content", b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\nHTTP/" + LENGTH_5, error="interim"),
    Case("interim-chunked", b"HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + LENGTH_5, error="interim"),
    Case("no-answer", b"", error="the connection was closed", ends=True),
    Case("half-a-head", b"HTTP/1.1 200 OK\r\nContent-Le", error="the connection was closed", ends=True),
    Case("interim-and-then-the-end", b"HTTP/1.1 100 Continue\r\n\r\n", error="the connection was closed", ends=True),
    Case("endless-head", b"HTTP/1.1 200 OK\r\n" + b"X-A: 1\r\n" * (HEAD_BYTES_MAX // 7), error="too long"),
    Case("endless-value", b"HTTP/1.1 200 OK\r\nX-A: " + b"x" * (HEAD_BYTES_MAX + 1), error="too long"),
    Case("endless-interim-answers", b"HTTP/1.1 103 E\r\n\r\n" * (HEAD_BYTES_MAX // 18 + 1), error="too long"),
    Case("endless-trailers", CHUNKED + b"0\r\n" + b"X-A: 1\r\n" * (HEAD_BYTES_MAX // 4), error="too long"),
    Case("endless-trailer", CHUNKED + b"0\r\nX-A: " + b"x" * HEAD_BYTES_MAX * 2, error="too long"),
    Case("endless-chunk-extension", CHUNKED + b"5;" + b"x" * HEAD_BYTES_MAX * 2, error="too long"),
)


def ids(cases: tuple[Case, ...]) -> Any:
    return pytest.mark.parametrize("case", cases, ids=[case.id for case in cases])


@pytest.mark.parametrize("split", [False, True], ids=["whole", "byte-by-byte"])
@ids(WHOLE)
def test_a_whole_answer(case: Case, split: bool) -> None:
    found = played(case.octets, case.method, FakeTransport.end if case.ends else None, split=split)
    assert (found.error, found.status, found.body) == (None, case.status, case.body)
    assert found.is_reusable is case.stays


@pytest.mark.parametrize("tail", [LENGTH_5, b"x", b"5\r\nhello\r\n", b"5", b"\r\n\r\nHTTP/1.1 200", b"H"])
@pytest.mark.parametrize("split", [False, True], ids=["whole", "byte-by-byte"])
@ids(tuple(case for case in WHOLE if not case.ends))
def test_what_follows_an_answer_never_becomes_the_next(case: Case, split: bool, tail: bytes) -> None:
    found = played(case.octets + tail, case.method, split=split)
    assert (found.error, found.status, found.body) == (None, case.status, case.body)
    assert not found.is_reusable


@pytest.mark.parametrize("split", [False, True], ids=["whole", "byte-by-byte"])
@ids(BROKEN)
def test_a_broken_answer_is_lost_and_so_is_the_connection(case: Case, split: bool) -> None:
    if split and len(case.octets) > 10_000:
        pytest.skip("nothing new, and long")
    found = played(case.octets, case.method, FakeTransport.end if case.ends else None, split=split)
    assert found.error is not None and re.search(case.error or "", found.error), found
    assert case.body.startswith(found.body)
    assert not found.is_reusable


@pytest.mark.parametrize("octets", [UNTIL_THE_END + b"hello", LENGTH_5[:-1], CHUNKED + b"5\r\nhello\r\n"])
def test_a_reset_is_never_the_end_of_a_body(octets: bytes) -> None:
    found = played(octets, end=lambda transport: transport.end(ConnectionResetError(104, "Connection reset by peer")))
    assert found.error is not None and "Connection reset" in found.error


def test_closing_here_is_never_the_end_of_a_body() -> None:
    """A node that stops closes its connections; what it was receiving until the end of the connection is not whole by that."""

    async def run() -> None:
        connection = ClientConnection()
        FakeTransport(connection)
        connection.begin("GET", b"")
        connection.data_received(UNTIL_THE_END + b"hel")
        assert await connection.read() == b"hel"
        connection.close()
        with pytest.raises(Lost):
            await connection.read()

    asyncio.run(run())


def test_fields_keep_their_order_case_and_octets() -> None:
    octets = b"HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nX-B:\r\nset-cookie:\t b \t\r\nX-C: \xe4\xff\x80 caf\xc3\xa9\r\nContent-Length: 0\r\n\r\n"
    wanted = ((b"Set-Cookie", b"a"), (b"X-B", b""), (b"set-cookie", b"b"), (b"X-C", b"\xe4\xff\x80 caf\xc3\xa9"), (b"Content-Length", b"0"))
    for split in (False, True):
        assert played(octets, split=split).fields == wanted


def test_interim_fields_and_trailers_are_no_fields_of_the_answer() -> None:
    octets = b"HTTP/1.1 103 E\r\nLink: a\r\n\r\n" + CHUNKED + b"0\r\nX-Sum: 1\r\n\r\n"
    assert played(octets).fields == ((b"Transfer-Encoding", b"chunked"),)


def test_is_answered_tells_whether_anything_came() -> None:
    async def run(octets: bytes) -> bool:
        connection = ClientConnection()
        transport = FakeTransport(connection)
        connection.begin("GET", b"")
        if octets:
            connection.data_received(octets)
        transport.end()
        with pytest.raises(Lost) as caught:
            await connection.wait_head()
        return caught.value.is_answered

    assert not asyncio.run(run(b""))
    assert asyncio.run(run(b"H"))


def test_one_exchange_after_the_other() -> None:
    async def run() -> None:
        connection = ClientConnection()
        transport = FakeTransport(connection)
        for number in range(3):
            connection.begin("GET", b"request %d" % number)
            connection.data_received(b"HTTP/1.1 20%d OK\r\nContent-Length: 1\r\n\r\n%d" % (number, number))
            await connection.wait_head()
            assert connection.status == 200 + number
            assert (await connection.read(), await connection.read()) == (b"%d" % number, b"")
            assert connection.is_reusable
        assert transport.written == b"request 0request 1request 2"

    asyncio.run(run())


def test_who_is_told_of_an_answer_is_not_told_of_the_one_before() -> None:
    """It came in two parts within one turn of the loop, and the next question was asked as soon as the first one was answered."""

    async def story() -> None:
        connection = ClientConnection()
        FakeTransport(connection)
        told: list[str] = []

        def ask_again() -> None:
            told.append("first")
            assert connection.take_whole() == b"hello"
            connection.begin("GET", b"request")
            connection.tell(lambda: told.append("second"), 5)

        connection.begin("GET", b"request")
        connection.tell(ask_again, 5)
        connection.data_received(LENGTH_5[:-2])
        connection.data_received(LENGTH_5[-2:])
        for _ in range(3):
            await asyncio.sleep(0)
        assert told == ["first"]
        connection.data_received(LENGTH_5)
        assert told == ["first", "second"]
        connection.close()

    asyncio.run(story())


def test_a_slow_reader_stops_the_other_side_and_a_quick_one_lets_it_go_on() -> None:
    async def run() -> None:
        connection = ClientConnection()
        transport = FakeTransport(connection)
        connection.begin("GET", b"")
        connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        sent = 0
        while not transport.is_paused:
            connection.data_received(bytes(65536))
            sent += 65536
        assert READ_AHEAD_BYTES < sent <= READ_AHEAD_BYTES + 65536
        while transport.is_paused:
            sent -= len(await connection.read())
        assert 0 < sent <= READ_AHEAD_BYTES // 2

    asyncio.run(run())


def test_a_body_that_came_with_its_head_is_taken_at_once_and_the_next_answer_is_read() -> None:
    async def run() -> None:
        connection = ClientConnection()
        transport = FakeTransport(connection)
        connection.begin("GET", b"")
        length = 2 * READ_AHEAD_BYTES
        connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length + bytes(length - 1))
        await connection.wait_head()
        assert transport.is_paused and connection.take_whole() is None
        connection.data_received(b"x")
        assert connection.take_whole() == bytes(length - 1) + b"x"
        assert connection.is_reusable and not transport.is_paused
        assert await connection.read() == b""

    asyncio.run(run())


def test_silence_ends_a_wait() -> None:
    async def run() -> None:
        connection = ClientConnection()
        FakeTransport(connection)
        connection.begin("GET", b"")
        with pytest.raises(Silent):
            await connection.wait_head(0.01)
        connection.data_received(LENGTH_5[:-1])
        assert await connection.read(5) == b"hell"
        with pytest.raises(Silent):
            await connection.read(0.01)
        connection.data_received(b"o")
        assert await connection.read(5) == b"o"

    asyncio.run(run())


def test_a_long_answer_that_breaks_is_not_paused_after_it_was_closed() -> None:
    found = played(CHUNKED + b"%x\r\n" % (2 * READ_AHEAD_BYTES) + bytes(2 * READ_AHEAD_BYTES) + b"\r\nzz\r\n", end=FakeTransport.end)
    assert found.error is not None and "no HTTP" in found.error


def test_bytes_that_nobody_asked_for_close_an_idle_connection() -> None:
    async def run() -> None:
        connection = ClientConnection()
        transport = FakeTransport(connection)
        connection.begin("GET", b"")
        connection.data_received(LENGTH_5)
        assert (await connection.read(), await connection.read()) == (b"hello", b"")
        assert connection.is_reusable
        connection.data_received(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        assert transport.is_closing() and not connection.is_open

    asyncio.run(run())


def test_an_upload_waits_for_a_slow_server_and_ends_with_the_connection() -> None:
    async def run() -> None:
        connection = ClientConnection()
        transport = FakeTransport(connection)
        connection.begin("PUT", b"head ", is_streaming=True)
        await connection.write(b"a")
        connection.pause_writing()
        writing = asyncio.ensure_future(connection.write(b"b"))
        await asyncio.sleep(0)
        assert transport.written == b"head a"
        connection.resume_writing()
        await writing
        connection.pause_writing()
        writing = asyncio.ensure_future(connection.write(b"c"))
        await asyncio.sleep(0)
        transport.end(ConnectionResetError("reset"))
        with pytest.raises(Lost):
            await writing
        assert transport.written == b"head ab"

    asyncio.run(run())


def test_a_connection_with_a_half_sent_request_is_never_used_again() -> None:
    """The next request's head would be read as the rest of this one's content."""

    async def run() -> None:
        connection = ClientConnection()
        FakeTransport(connection)
        connection.begin("PUT", b"head ", is_streaming=True)
        connection.data_received(LENGTH_5)
        assert (await connection.read(), await connection.read()) == (b"hello", b"")
        assert not connection.is_reusable
        connection.end_request()
        assert connection.is_reusable

    asyncio.run(run())
