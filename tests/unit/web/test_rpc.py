"""What a peer is told of a body that is still on its way."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("httptools")

from minicdn.core.message import Fields
from minicdn.wire.codec import decode, encode
from minicdn.wire.fetch import FetchAnswer, FetchRequest
from tests.unit.web.lanes import HOST, Side, Watch

HEAD = b'HTTP/1.1 200 OK\r\nCache-Control: max-age=60, private="set-cookie"\r\nSet-Cookie: a=b\r\nAge: 7\r\nConnection: keep-alive\r\n'


async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Says the head, and the body a moment later."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(HEAD + b"Content-Length: 5\r\n\r\nhel")
    await writer.drain()
    await asyncio.sleep(0.1)
    writer.write(b"lo")


async def told(side: Side) -> FetchAnswer:
    message = encode(FetchRequest("GET", "/a", ()).to_wire())
    lines = (f"Host: {HOST}", "Content-Type: application/msgpack", f"Content-Length: {len(message)}")
    wire = await side.send("\r\n".join(("POST /_rpc/get HTTP/1.1", *lines, "", "")).encode() + message)
    head, rest = wire.octets.split(b"\r\n\r\n", 1)
    assert rest.endswith(b"hello")
    (length,) = [line.split(b": ")[1] for line in head.split(b"\r\n") if line.startswith(b"x-minicdn-head: ")]
    return FetchAnswer.from_wire(decode(rest[: int(length)]))


def test_the_head_is_told_as_it_is_stored_while_the_body_comes() -> None:
    """The peer stores what it is told: with the upstream's Age it would say two, and what is private to one client it would give to all."""

    async def run() -> list[Fields]:
        server = await asyncio.start_server(slow, "127.0.0.1", 0)
        side = Side(Watch(), server.sockets[0].getsockname()[1])
        await side.role.start()
        try:
            return [(await told(side)).fields for _ in range(2)]
        finally:
            await side.role.stop()
            server.close()

    coming, there = asyncio.run(run())
    assert tuple(coming) == tuple(there)
    assert not {b"age", b"set-cookie"} & {name.lower() for name, _ in coming}
