"""Looking whether a peer is there."""

from __future__ import annotations

import asyncio

from minicdn.wire.http import HttpDoor
from minicdn.wire.peers import PeerClient


async def _listen(answer: bytes) -> tuple[asyncio.Server, str, list[bytes]]:
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked


def _looking(answer: bytes, *, is_listed: bool = True) -> tuple[bool, list[bytes]]:
    async def look() -> tuple[bool, list[bytes]]:
        server, url, asked = await _listen(answer)
        door = HttpDoor(connections_max=1, connect_seconds=5, read_seconds=5)
        try:
            return await PeerClient(door, None, lambda url: is_listed).look(url), asked
        finally:
            await door.close()
            server.close()

    return asyncio.run(look())


def test_whatever_it_answers_it_is_there() -> None:
    found, asked = _looking(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
    assert found and asked[0].startswith(b"GET /_health HTTP/1.1\r\n")


def test_who_breaks_off_is_not_there() -> None:
    assert _looking(b"")[0] is False


def test_nobody_is_looked_for_who_is_not_in_the_list() -> None:
    assert _looking(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", is_listed=False) == (False, [])
