"""A node that has enough to do: who is still served, who is told to come again, and how soon there is a place."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

pytest.importorskip("httptools")

from minicdn.core.shedding import RESERVE_MIN
from minicdn.web import places, shedding, watching
from minicdn.web.h11_protocol import PlainProtocol
from minicdn.web.httptools_protocol import ContentProtocol
from tests.unit.web.lanes import Side, Upstream, Watch, get, upstream

PLACES = 3


@pytest.fixture(params=[ContentProtocol, PlainProtocol], ids=["httptools", "pure"], autouse=True)
def http(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Side, "http", request.param)


@asynccontextmanager
async def crowded(*, places: int = PLACES) -> AsyncIterator[tuple[Door, Upstream]]:
    watch = Watch()
    async with upstream(watch) as site:
        side = Side(watch, site.port, connections_max=places)
        await side.role.start()
        door = Door(side)
        server = await asyncio.get_running_loop().create_server(side.protocol, "127.0.0.1", 0)
        door.port = server.sockets[0].getsockname()[1]
        try:
            yield door, site
        finally:
            server.close()
            door.close()
            await side.role.stop()


class Door:
    def __init__(self, side: Side) -> None:
        self.side = side
        self.port = 0
        self._writers: list[asyncio.StreamWriter] = []

    async def connect(self) -> Client:
        """Returns when the node knows of it."""
        made_count = self.side.made_count
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._writers.append(writer)
        while self.side.made_count == made_count:  # noqa: ASYNC110 — there is no event for it
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.001)
        return Client(reader, writer)

    def counter(self, name: str) -> int:
        return self.side.counters()[name]

    def close(self) -> None:
        for writer in self._writers:
            writer.close()


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def send(self, octets: bytes) -> None:
        self._writer.write(octets)

    async def head(self) -> bytes:
        async with asyncio.timeout(10):
            head = await self._reader.readuntil(b"\r\n\r\n")
        length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        await self._reader.readexactly(int(length[0].split(b":")[1]))
        return head

    async def ask(self, target: str) -> bytes:
        self.send(get(target))
        return await self.head()

    async def is_ended(self) -> bool:
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(10):
                return not await self._reader.read(1)
        return True


async def _busy(door: Door, site: Upstream, count: int = PLACES) -> list[Client]:
    """So many, each with a request under way."""
    site.held = asyncio.Event()
    clients = [await door.connect() for _ in range(count)]
    for number, client in enumerate(clients):
        client.send(get(f"/plain/{number}"))
    while site.asked_count < count:  # noqa: ASYNC110 — there is no event for it
        await asyncio.sleep(0.001)
    return clients


def test_beyond_the_places_a_client_is_refused_at_once_and_what_is_under_way_is_finished() -> None:
    async def story() -> None:
        async with crowded() as (door, site):
            working = await _busy(door, site)
            late = await door.connect()
            head = await late.ask("/plain/late")
            assert head.startswith(b"HTTP/1.1 503 ") and b"\r\nretry-after: 1\r\n" in head.lower()
            assert await late.is_ended()
            assert door.counter("shed_requests_count") == 1 and door.counter("responses_5xx_count") == 1
            site.held.set()
            assert all([(await client.head()).startswith(b"HTTP/1.1 200 ") for client in working])

    asyncio.run(story())


def test_not_even_a_hit_is_served_beyond_the_places() -> None:
    async def story() -> None:
        async with crowded() as (door, site):
            first = await door.connect()
            assert b" 200 " in await first.ask("/plain") and b" 200 " in await first.ask("/plain")
            first.send(b"GET /pl")
            await _busy(door, site, PLACES - 1)
            assert b" 503 " in await (await door.connect()).ask("/plain")

    asyncio.run(story())


@pytest.mark.parametrize("target", ["/_health", "/_stats", "/_metrics"])
def test_who_looks_in_is_answered_from_the_reserve(target: str) -> None:
    async def story() -> None:
        async with crowded() as (door, site):
            await _busy(door, site)
            late = await door.connect()
            assert (await late.ask(target)).startswith(b"HTTP/1.1 200 ")
            assert await late.is_ended(), "the place is for the next one"

    asyncio.run(story())


def test_peers_are_answered_from_the_reserve() -> None:
    async def story() -> None:
        async with crowded() as (door, site):
            await _busy(door, site)
            late = await door.connect()
            late.send(b"POST /_rpc/get HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n\x00")
            assert (await late.head()).startswith(b"HTTP/1.1 400 "), "heard, and told what is wrong with it"

    asyncio.run(story())


@pytest.mark.parametrize("target", ["/_rpc/get", "/_rpc/pieces"])
def test_who_begins_a_message_and_does_not_end_it_does_not_take_the_reserve(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "MESSAGE_SECONDS", 0.05)

    async def story() -> None:
        async with crowded() as (door, _):
            head = f"POST {target} HTTP/1.1\r\nHost: h\r\nContent-Length: 50\r\n\r\n".encode()
            clients = [await door.connect() for _ in range(PLACES + RESERVE_MIN)]
            for client in clients:
                client.send(head)
            assert all([b" 408 " in await client.head() for client in clients])
            assert (await (await door.connect()).ask("/_health")).startswith(b"HTTP/1.1 200 ")

    asyncio.run(story())


def test_beyond_the_reserve_nobody_is_heard() -> None:
    async def story() -> None:
        async with crowded() as (door, site):
            await _busy(door, site)
            for _ in range(RESERVE_MIN):
                await door.connect()
            assert (await (await door.connect()).head()).startswith(b"HTTP/1.1 503 ")
            assert door.counter("shed_connections_count") == 1

    asyncio.run(story())


def test_who_waits_in_the_reserve_does_not_wait_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "OVER_SECONDS", 0.05)

    async def story() -> None:
        async with crowded() as (door, site):
            await _busy(door, site)
            silent, slow = await door.connect(), await door.connect()
            slow.send(b"GET /plain HTTP/1.1\r\n")
            assert (await slow._reader.read(100)).startswith(b"HTTP/1.1 408 ")
            assert await silent.is_ended()

    asyncio.run(story())


def test_who_is_idle_gives_his_place_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "IDLE_SECONDS", 0.0)
    monkeypatch.setattr(shedding, "LOOK_SECONDS", 0.0)

    async def story() -> None:
        async with crowded() as (door, site):
            idle = await door.connect()
            assert b" 200 " in await idle.ask("/plain")
            working = await _busy(door, site, PLACES - 1)
            site.held.set()
            late = await door.connect()
            assert b" 200 " in await late.ask("/plain")
            assert await idle.is_ended()
            assert all([b" 200 " in await client.head() for client in working])

    asyncio.run(story())


def test_who_takes_too_long_with_a_head_gives_his_place_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "OVER_SECONDS", 0.0)
    monkeypatch.setattr(shedding, "LOOK_SECONDS", 0.0)

    async def story() -> None:
        async with crowded(places=1) as (door, _):
            slow = await door.connect()
            slow.send(b"GET /plain HTTP/1.1\r\nX-A: ")
            await asyncio.sleep(0.01)
            assert b" 200 " in await (await door.connect()).ask("/plain")
            assert await slow.is_ended()

    asyncio.run(story())


def test_short_of_memory_what_is_here_is_served_and_what_is_not_is_refused() -> None:
    async def story() -> None:
        async with crowded(places=0) as (door, site):
            client = await door.connect()
            assert b" 200 " in await client.ask("/plain")
            door.side.app.shedding.is_short = True
            assert b" 200 " in await client.ask("/plain")
            assert b" 503 " in await client.ask("/plain/new")
            client.send(b"POST /plain HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
            assert b" 503 " in await client.head()
            assert b" 200 " in await client.ask("/_health")
            door.side.app.shedding.is_short = False
            assert b" 200 " in await client.ask("/plain/new")
            assert site.asked_count == 2

    asyncio.run(story())


def test_who_is_answered_and_goes_on_with_a_body_that_nobody_wants_gives_his_place_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "IDLE_SECONDS", 0.0)
    monkeypatch.setattr(shedding, "LOOK_SECONDS", 0.0)

    async def story() -> None:
        async with crowded() as (door, _):
            for _ in range(PLACES):
                client = await door.connect()
                client.send(get("/plain", "Content-Length: 50"))
                assert b" 200 " in await client.head()
                client.send(b"h")
            await asyncio.sleep(0.01)
            assert b" 200 " in await (await door.connect()).ask("/plain")

    asyncio.run(story())


def test_a_node_without_descriptors_is_no_verdict_about_others() -> None:
    async def story() -> None:
        async with crowded(places=0) as (door, _):
            client = await door.connect()

            async def no_descriptor(*arguments: object, **named: object) -> None:
                raise OSError(24, "Too many open files")

            loop = asyncio.get_running_loop()
            real, loop.create_connection = loop.create_connection, no_descriptor  # type: ignore[method-assign]
            for number in range(3):
                assert b" 503 " in await client.ask(f"/plain/{number}")
            loop.create_connection = real  # type: ignore[method-assign]
            assert b" 200 " in await client.ask("/plain/3"), "and the upstream does not rest for it"

    asyncio.run(story())


def test_a_socket_that_ends_leaves_its_place() -> None:
    async def story() -> None:
        async with crowded(places=1) as (door, _):
            for _ in range(5):
                with socket.create_connection(("127.0.0.1", door.port)):
                    pass
            await asyncio.sleep(0.05)
            assert b" 200 " in await (await door.connect()).ask("/plain")

    asyncio.run(story())
