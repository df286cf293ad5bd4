"""The pure-Python protocol's waits, and what it says to what is no request. (What it answers: tests/conformance/test_pure_python.py.)"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from uvicorn.config import Config
from uvicorn.server import ServerState

from minicdn.web.h11_protocol import PlainProtocol


async def application(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


class Quick(PlainProtocol):
    head_seconds = 0.1


def answered(*pieces: bytes, keep_alive_seconds: int = 30) -> bytes:
    """What comes back until the connection ends."""

    async def run() -> bytes:
        config = Config(application, timeout_keep_alive=keep_alive_seconds, log_config=None)
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


def test_a_head_in_pieces_and_two_requests_at_once() -> None:
    closing = GOOD.replace(b"h\r\n", b"h\r\nConnection: close\r\n")
    assert answered(GOOD[:20], GOOD[20:] + GOOD[:7], GOOD[7:] + closing).count(b"HTTP/1.1 200") == 3


@pytest.mark.parametrize(
    ("octets", "status"),
    [
        (b"GET / HTTP/1.1\nHost: h\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 70_000, 431),
    ],
)
def test_what_can_be_read_in_two_ways_is_not_read(octets: bytes, status: int) -> None:
    assert answered(octets).startswith(b"HTTP/1.1 %d " % status)
    assert answered(GOOD + octets).count(b"HTTP/1.1 %d " % status) == 1


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
