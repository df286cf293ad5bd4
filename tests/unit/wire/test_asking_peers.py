"""What a peer answers, read by who asked."""

from __future__ import annotations

import asyncio
import tracemalloc
from typing import Any

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


class NoneThere:
    """A door by which nobody is asked."""

    def begin(self, *arguments: Any, **named: Any) -> None:
        return None


def test_what_is_remembered_of_peers_does_not_grow_with_what_they_are_asked() -> None:
    """Questions are as long as their keys. Remembered for each peer and each length, what goes with them took 100 KiB a peer."""
    client = PeerClient(NoneThere())  # type: ignore[arg-type]

    def ask(peers_count: int) -> None:
        for number in range(peers_count):
            for length in range(200):
                assert client.begin(f"http://10.0.0.{number}:1", FetchRequest("GET", "/" * length, ()), lambda: None, None) is None

    ask(1)
    tracemalloc.start()
    try:
        ask(21)
        assert tracemalloc.get_traced_memory()[0] < 20 * 8 * 1024
    finally:
        tracemalloc.stop()
