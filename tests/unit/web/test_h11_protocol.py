"""The pure-Python protocol's waits, and what it says to what is no request. (What it answers: tests/conformance/test_pure_python.py.)"""

from __future__ import annotations

import asyncio
import re
from typing import Any

import h11
import pytest
from uvicorn.config import Config
from uvicorn.server import ServerState

from minicdn.web import h11_protocol
from minicdn.web.h11_protocol import HEAD_BYTES_MAX, PlainProtocol, _Reading


async def application(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


class Quick(PlainProtocol):
    head_seconds = 0.1


async def reading(scope: Any, receive: Any, send: Any) -> None:
    while (message := await receive()).get("more_body"):
        pass
    if message["type"] == "http.request":
        await application(scope, receive, send)


async def sending_much(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"20000000")]})
    await send({"type": "http.response.body", "body": bytes(20_000_000)})


def answered(*pieces: bytes, keep_alive_seconds: float = 30, app: Any = application) -> bytes:
    """What comes back until the connection ends."""

    async def run() -> bytes:
        config = Config(app, timeout_keep_alive=keep_alive_seconds, log_config=None)  # type: ignore[arg-type]
        config.load()
        loop, state = asyncio.get_running_loop(), ServerState()
        server = await loop.create_server(lambda: Quick(config, state, {}), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0.02)
        async with asyncio.timeout(20):
            found = await reader.read()
        writer.close()
        server.close()
        return found

    return asyncio.run(run())


GOOD = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest.mark.parametrize("pieces", [[GOOD[:5]], [GOOD[:5], GOOD[5:9], GOOD[9:12]], [GOOD + GOOD[:9]]])
def test_a_head_that_does_not_end_is_answered_408(pieces: list[bytes]) -> None:
    found = answered(*pieces)
    assert found.count(b"HTTP/1.1 200") == (len(pieces[0]) > len(GOOD))
    assert b"HTTP/1.1 408 Request Timeout\r\n" in found


@pytest.mark.parametrize("pieces", [[], [GOOD]])
def test_an_idle_connection_is_closed(pieces: list[bytes]) -> None:
    assert answered(*pieces, keep_alive_seconds=1).count(b"HTTP/1.1") == len(pieces)


@pytest.mark.parametrize("behind", [b"hello", b"he"])
def test_a_connection_is_closed_whose_body_comes_behind_its_answer_and_then_nothing(behind: bytes) -> None:
    assert answered(GOOD[:-2] + b"Content-Length: 5\r\n\r\n", behind, keep_alive_seconds=0.1).count(b"HTTP/1.1 200") == 1


def test_a_body_that_stops_coming_costs_the_connection() -> None:
    assert answered(GOOD[:-2] + b"Content-Length: 5\r\n\r\nhe", keep_alive_seconds=0.1, app=reading) == b""


def test_a_client_that_takes_nothing_is_cut_off() -> None:
    async def run() -> None:
        config = Config(sending_much, timeout_keep_alive=0.1, log_config=None)  # type: ignore[arg-type]
        config.load()
        loop, state = asyncio.get_running_loop(), ServerState()
        server = await loop.create_server(lambda: PlainProtocol(config, state, {}), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), limit=1024)
        writer.write(GOOD)
        await reader.readuntil(b"\r\n\r\n")
        async with asyncio.timeout(10):
            while state.connections:  # noqa: ASYNC110 — there is no event for it
                await asyncio.sleep(0.01)
        writer.close()
        server.close()

    asyncio.run(run())


def test_a_head_in_pieces_and_two_requests_at_once() -> None:
    closing = GOOD.replace(b"h\r\n", b"h\r\nConnection: close\r\n")
    assert answered(GOOD[:20], GOOD[20:] + GOOD[:7], GOOD[7:] + closing).count(b"HTTP/1.1 200") == 3


@pytest.mark.parametrize("pieces", [[b"\r\n" + GOOD], [GOOD + b"\r\n" + GOOD], [GOOD, b"\r", b"\n", b"\r\n" + GOOD[:9], GOOD[9:]]])
def test_empty_lines_before_a_request_are_nothing(pieces: list[bytes]) -> None:
    found = answered(*pieces, keep_alive_seconds=0.2)
    assert (found.count(b"HTTP/1.1 200"), found.count(b"HTTP/1.1 400")) == (b"".join(pieces).count(b"GET "), 0)


@pytest.mark.parametrize(
    ("octets", "status"),
    [
        (b"GET / HTTP/1.1\nHost: h\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 70_000, 431),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX:\r\n y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: y\rz\r\n\r\n", 400),
    ],
)
def test_what_can_be_read_in_two_ways_is_not_read(octets: bytes, status: int) -> None:
    assert answered(octets).startswith(b"HTTP/1.1 %d " % status)
    assert answered(GOOD + octets).count(b"HTTP/1.1 %d " % status) == 1


@pytest.mark.parametrize("end", [b"\r\n\r\n", b"\r\n\n", b"\n\r\n", b"\r\r\n\r\n", b"\r\n \r\n\r\n"])
@pytest.mark.parametrize("step", [1, 2, 3, 5])
def test_a_head_is_read_alike_in_whatever_pieces_it_comes(end: bytes, step: int) -> None:
    reading = _Reading(h11.SERVER, HEAD_BYTES_MAX)
    octets = b"GET / HTTP/1.1\r\nHost: h\r\nX: y" + end

    def read() -> Any:
        event: Any = None
        for at in range(0, len(octets), step):
            reading.receive_data(octets[at : at + step])
            event = reading.next_event()
        return event

    if end == b"\r\n\r\n":
        assert read().target == b"/"
    else:
        with pytest.raises(h11.RemoteProtocolError):
            read()


def test_a_head_that_comes_slowly_is_not_looked_through_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = Counted(h11_protocol._BARE_LF)
    monkeypatch.setattr(h11_protocol, "_BARE_LF", looked)
    reading = _Reading(h11.SERVER, HEAD_BYTES_MAX)
    reading.receive_data(b"GET / HTTP/1.1\r\nX: ")
    for _ in range(5000):
        reading.receive_data(b"x")
        assert reading.next_event() is h11.NEED_DATA
    assert looked.bytes_count <= 6 * 5020


class Counted:
    """A pattern, and how many octets it was to look through."""

    def __init__(self, pattern: re.Pattern[bytes]) -> None:
        self._pattern = pattern
        self.bytes_count = 0

    def search(self, octets: bytes, since: int = 0, end: int | None = None) -> Any:
        end = len(octets) if end is None else end
        self.bytes_count += end - since
        return self._pattern.search(octets, since, end)


def test_an_application_that_is_exchanged_is_told_of_the_connection_as_well() -> None:
    """A server that closes does so, with connections that are there."""
    seen: list[Any] = []

    async def other(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["minicdn.target"], scope["minicdn.connection"]))
        await application(scope, receive, send)

    async def run() -> None:
        config = Config(application, log_config=None)
        config.load()
        loop, state = asyncio.get_running_loop(), ServerState()
        server = await loop.create_server(lambda: PlainProtocol(config, state, {}), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for count in (0, 1):
            writer.write(GOOD)
            await reader.readuntil(b"ok")
            assert len(seen) == count
            for connection in state.connections:
                connection.app = other  # type: ignore[union-attr]
        assert seen[0][0] == b"/"
        writer.close()
        server.close()

    asyncio.run(run())
