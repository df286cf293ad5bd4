"""What a peer answers, read by who asked."""

from __future__ import annotations

import asyncio

import pytest

from minicdn.errors import PeerError
from minicdn.wire.fetch import FetchRequest
from minicdn.wire.http import HttpDoor
from minicdn.wire.peers import PeerClient


@pytest.mark.parametrize("length", ["9" * 5000, "9" * 9, "-1", ""])
@pytest.mark.parametrize("is_whole", [True, False])
def test_an_answer_that_says_nonsense_of_its_length_is_no_answer(length: str, is_whole: bool) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 200 OK\r\nX-MiniCDN-Head: {length}\r\nContent-Length: 5\r\n\r\n".encode())
        writer.write(b"hello" if is_whole else b"h")
        await writer.drain()
        await reader.read(-1)
        writer.close()

    async def ask() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        door = HttpDoor(connections_max=1, connect_seconds=5, read_seconds=5)
        try:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            with pytest.raises(PeerError):
                await PeerClient(door).fetch(url, FetchRequest("GET", "/a", ()))
        finally:
            await door.close()
            server.close()

    asyncio.run(ask())
