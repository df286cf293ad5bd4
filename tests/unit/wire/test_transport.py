"""The HTTP client against scripted servers on loopback: what they may do to it, and that it never keeps what it should give back."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from minicdn.wire import http
from minicdn.wire.connection import READ_AHEAD_BYTES
from minicdn.wire.http import Broken, Exchange, ExchangeError, HttpDoor, NoneFree, NotConnected, TimedOut, Unreachable, parse_base

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

Talk = Callable[["Side"], Awaitable[None]]
BLOCK = 128 * 1024


class Side:
    """The server's side of one connection. number: of the connection, from 1."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self._reader = reader
        self._writer = writer

    async def head(self) -> bytes:
        return await self._reader.readuntil(b"\r\n\r\n")

    async def read(self, size: int) -> bytes:
        return await self._reader.readexactly(size)

    async def rest(self) -> bytes:
        return await self._reader.read(-1)

    async def say(self, octets: bytes) -> None:
        self._writer.write(octets)
        await self._writer.drain()

    def buffer(self, bytes_max: int) -> None:
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, bytes_max)
        self._writer.transport.set_write_buffer_limits(0)

    async def hold_back(self) -> None:
        """Reads nothing, for as long as the test lasts."""
        self._writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.Event().wait()

    def cut(self) -> None:
        """Ends the TCP connection under TLS."""
        with socket.socket(fileno=os.dup(self._writer.get_extra_info("socket").fileno())) as sock:
            sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


class Server:
    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self.port = 0
        self.connections_count = 0
        self._open: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()

    @property
    def open_count(self) -> int:
        return len(self._open)

    async def start(self, context: ssl.SSLContext | None) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        self.connections_count += 1
        try:
            await self._talk(Side(self.connections_count, reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            self._open.discard(task)
            self._changed.set()

    async def wait_open(self, count: int) -> None:
        """Until only so many connections are open."""
        async with asyncio.timeout(10):
            while self.open_count > count:
                self._changed.clear()
                await self._changed.wait()

    async def stop(self) -> None:
        self._server.close()
        for task in list(self._open):
            task.cancel()
        if self._open:
            await asyncio.wait(self._open)


class Stage:
    """A door and what it meets."""

    def __init__(self, server: Server, door: HttpDoor, scheme: str, host: str) -> None:
        self.server = server
        self.door = door
        self.base = parse_base(f"{scheme}://{host}:{server.port}")

    @property
    def pool(self) -> Any:
        return self.door._transport._pool  # type: ignore[attr-defined]

    async def send(self, method: str = "GET", content: Any = None, fields: Any = ((b"Host", b"h"),), target: bytes = b"/x") -> Exchange:
        return await self.door.send(method, self.base, target, fields, content)

    async def get(self, method: str = "GET", **more: Any) -> bytes:
        exchange = await self.send(method, **more)
        try:
            return await exchange.read(1 << 30)
        finally:
            await exchange.close()


@asynccontextmanager
async def staged(
    talk: Talk, *, scheme: str = "http", host: str = "127.0.0.1", context: ssl.SSLContext | None = None, **door: Any
) -> AsyncIterator[Stage]:
    server = Server(talk)
    await server.start(context)
    settings = {"connections_max": 4, "connect_seconds": 5.0, "read_seconds": 5.0, **door}
    stage = Stage(server, HttpDoor(**settings), scheme, host)
    try:
        yield stage
    finally:
        await stage.door.close()
        await server.stop()


def loops() -> list[Any]:
    found: list[Any] = [pytest.param(asyncio.new_event_loop, id="asyncio")]
    try:
        import uvloop
    except ImportError:
        return found
    return [*found, pytest.param(uvloop.new_event_loop, id="uvloop")]


@pytest.fixture(params=loops())
def run(request: pytest.FixtureRequest) -> Iterator[Callable[[Awaitable[None]], None]]:
    """Runs a test's story on each kind of loop; what a loop would only have logged fails it."""
    complaints: list[dict[str, Any]] = []

    def story(work: Any) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.get_loop().set_exception_handler(lambda _, context: complaints.append(context))
            runner.run(_bounded(work))
        assert not complaints, complaints

    async def _bounded(work: Any) -> None:
        async with asyncio.timeout(30):
            await work

    yield story


async def always(side: Side, answer: bytes = OK) -> None:
    while await side.head():
        await side.say(answer)


# The message


def test_a_request_leaves_as_it_was_given(run: Any) -> None:
    seen: list[bytes] = []

    async def talk(side: Side) -> None:
        seen.append(await side.head())
        await side.say(b"HTTP/1.1 200 Fine\r\nX-A: caf\xe9\r\nx-a: \xff\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc")

    async def story() -> None:
        async with staged(talk) as stage:
            fields = ((b"Host", b"h"), (b"X-Odd", b"caf\xe9 \xff"), (b"x-odd", b""))
            exchange = await stage.send(fields=fields, target=b"/a%2Fb//../c?d=%zz&e")
            assert exchange.status == 200
            assert tuple(exchange.fields) == (
                (b"X-A", b"caf\xe9"), (b"x-a", b"\xff"), (b"Content-Encoding", b"gzip"), (b"Content-Length", b"3"),
            )  # fmt: skip
            assert await exchange.read(10) == b"abc"
            await exchange.close()

    run(story())
    assert seen == [b"GET /a%2Fb//../c?d=%zz&e HTTP/1.1\r\nHost: h\r\nX-Odd: caf\xe9 \xff\r\nx-odd: \r\n\r\n"]


def test_a_short_body_goes_out_with_the_head(run: Any) -> None:
    seen: list[bytes] = []

    async def talk(side: Side) -> None:
        seen.append(await side.head() + await side.read(4))
        await side.say(OK)

    async def story() -> None:
        async with staged(talk) as stage:
            assert await stage.get("POST", content=b"body", fields=((b"Host", b"h"), (b"Content-Length", b"4"))) == b"hello"

    run(story())
    assert seen == [b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody"]


# Connections


def test_connections_are_used_again(run: Any) -> None:
    async def story() -> None:
        async with staged(always) as stage:
            for _ in range(5):
                assert await stage.get() == b"hello"
            assert stage.server.connections_count == 1
            assert stage.pool.statistics() == {"taken_count": 0, "idle_count": 1}

    run(story())


def test_an_idle_connection_is_closed_in_time_and_forgotten(run: Any) -> None:
    async def story() -> None:
        async with staged(always, keepalive_seconds=0.05) as stage:
            await asyncio.gather(*(stage.get() for _ in range(3)))
            assert stage.pool.statistics()["idle_count"] == stage.server.open_count > 1
            await stage.server.wait_open(0)
            assert stage.pool.statistics() == {"taken_count": 0, "idle_count": 0}
            assert not stage.pool._idle

    run(story())


def test_the_bound_holds_for_idle_connections_too(run: Any) -> None:
    """Each site may have been busy once; all together stay below the bound."""

    async def story() -> None:
        async with staged(always, connections_max=2) as one, staged(always) as two, staged(always) as three:
            for stage in (one, two, three):
                exchange = await one.door.send("GET", stage.base, b"/x", ((b"Host", b"h"),))
                await exchange.read(10)
                await exchange.close()
                assert sum(one.pool.statistics().values()) <= 2
            await one.server.wait_open(0)
            assert (two.server.open_count, three.server.open_count) == (1, 1)

    run(story())


def test_what_needs_a_connection_waits_for_one_and_not_for_ever(run: Any) -> None:
    async def story() -> None:
        async with staged(always, connections_max=1, read_seconds=0.2) as stage:
            held = await stage.send()
            with pytest.raises(NoneFree, match="no connection left"):
                await stage.get()
            waiting = asyncio.ensure_future(stage.get())
            await asyncio.sleep(0)
            await held.close()
            assert await waiting == b"hello"

    run(story())


def test_a_body_that_was_not_read_to_its_end_takes_the_connection_with_it(run: Any) -> None:
    async def story() -> None:
        async with staged(always) as stage:
            exchange = await stage.send()
            await exchange.close()
            await exchange.close()
            assert await stage.get() == b"hello"
            assert stage.server.connections_count == 2
            await stage.server.wait_open(1)

    run(story())


def test_what_follows_an_answer_is_not_the_next(run: Any) -> None:
    async def talk(side: Side) -> None:
        await side.head()
        await side.say(OK + (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil" if side.number == 1 else b""))
        await side.rest()

    async def story() -> None:
        async with staged(talk) as stage:
            assert [await stage.get(), await stage.get()] == [b"hello", b"hello"]

    run(story())


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_connection_that_ended_while_it_was_idle_is_replaced(run: Any, method: str) -> None:
    """Nothing was sent on it, so any request may go elsewhere."""
    closed = asyncio.Event()

    async def talk(side: Side) -> None:
        await side.head()
        await side.say(OK)
        if side.number == 1:
            closed.set()
        else:
            await side.rest()

    async def story() -> None:
        async with staged(talk) as stage:
            await stage.get()
            await closed.wait()
            await stage.server.wait_open(0)
            await asyncio.sleep(0.01)  # until its end has crossed the loopback
            assert await stage.get(method, content=b"", fields=((b"Content-Length", b"0"),)) == b"hello"
            assert stage.server.connections_count == 2

    run(story())


async def ends_at_the_second(side: Side, *, seen: list[bytes], how: str) -> None:
    """Each connection answers once, takes a second request, and ends without a word."""
    await side.head()
    await side.say(OK)
    seen.append(await side.head())
    if how == "answered":
        await side.say(b"HTTP/1.1 2")
    if how == "reset":
        side.reset()


@pytest.mark.parametrize("how", ["closed", "reset"])
@pytest.mark.parametrize(("method", "content", "is_repeated"), [
    ("GET", None, True), ("PUT", b"x", True), ("DELETE", None, True), ("POST", b"x", False), ("PATCH", b"x", False),
    ("PUT", "stream", False),
])  # fmt: skip
def test_a_request_is_repeated_once_where_it_may_be(run: Any, method: str, content: Any, is_repeated: bool, how: str) -> None:
    seen: list[bytes] = []

    async def story() -> None:
        async with staged(lambda side: ends_at_the_second(side, seen=seen, how=how)) as stage:
            await asyncio.gather(*(stage.get() for _ in range(3)))
            assert stage.server.connections_count == 3
            asked = stage.get(method, content=streamed([b"x"]) if content == "stream" else content, fields=((b"Content-Length", b"1"),))
            if is_repeated:
                assert await asked == b"hello"
            else:
                with pytest.raises(Unreachable):
                    await asked
            # Of the three that were idle only one was tried.
            assert (len(seen), stage.server.connections_count) == (1, 4 if is_repeated else 3)

    run(story())


def test_a_request_is_not_repeated_once_an_answer_began(run: Any) -> None:
    seen: list[bytes] = []

    async def story() -> None:
        async with staged(lambda side: ends_at_the_second(side, seen=seen, how="answered")) as stage:
            await stage.get()
            with pytest.raises(Broken):
                await stage.get()
            assert stage.server.connections_count == 1

    run(story())


def test_a_request_is_not_repeated_on_a_new_connection(run: Any) -> None:
    async def talk(side: Side) -> None:
        await side.head()

    async def story() -> None:
        async with staged(talk) as stage:
            with pytest.raises(Unreachable, match="closed"):
                await stage.get()
            assert stage.server.connections_count == 1

    run(story())


def test_a_door_that_was_closed_keeps_nothing(run: Any) -> None:
    async def talk(side: Side) -> None:
        await side.head()
        await side.say(b"HTTP/1.1 200 OK\r\n\r\nhel")
        await side.rest()

    async def story() -> None:
        async with staged(talk) as stage:
            exchange = await stage.send()
            chunks = exchange.chunks()
            assert await anext(chunks) == b"hel"
            await stage.door.close()
            with pytest.raises(Broken):
                await anext(chunks)
            await exchange.close()
            await stage.server.wait_open(0)
            with pytest.raises(ExchangeError):
                await stage.get()
            assert stage.pool.statistics() == {"taken_count": 0, "idle_count": 0}

    run(story())


# Silence and slowness


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\nContent-", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel"])
def test_a_server_that_falls_silent(run: Any, said: bytes) -> None:
    async def talk(side: Side) -> None:
        await side.head()
        await side.say(said)
        await side.rest()

    async def story() -> None:
        async with staged(talk, read_seconds=0.1) as stage:
            with pytest.raises(TimedOut):
                await stage.get()
            await stage.server.wait_open(0)
            assert stage.pool.statistics() == {"taken_count": 0, "idle_count": 0}

    run(story())


def test_nobody_there(run: Any) -> None:
    async def story() -> None:
        async with staged(always) as stage:
            await stage.server.stop()
            with pytest.raises(NotConnected, match=r"^connection refused$"):
                await stage.get()

    run(story())


def test_a_name_that_is_none(run: Any) -> None:
    async def story() -> None:
        async with staged(always) as stage:
            for name in ("a..b", f"{'x' * 64}.example", "nowhere.invalid"):
                with pytest.raises(NotConnected) as caught:
                    await stage.door.send("GET", parse_base(f"http://{name}/"), b"/", ())
                assert "\n" not in str(caught.value)

    run(story())


def test_a_connection_that_is_never_accepted(run: Any) -> None:
    """The queue of a listener that accepts nobody is full after a few; the next one waits."""

    async def story() -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            fillers = [socket.socket() for _ in range(4)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(listener.getsockname())
            door = HttpDoor(connections_max=1, connect_seconds=0.2, read_seconds=5)
            try:
                with pytest.raises(NotConnected, match="within the deadline"):
                    await door.send("GET", parse_base(f"http://127.0.0.1:{listener.getsockname()[1]}/"), b"/", ())
            finally:
                await door.close()
                for filler in fillers:
                    filler.close()

    if sys.platform == "win32":
        pytest.skip("Windows refuses instead")
    run(story())


def test_a_slow_reader_costs_the_read_ahead_and_no_more(run: Any) -> None:
    sent = 0
    total = 64 * 1024 * 1024

    async def talk(side: Side) -> None:
        nonlocal sent
        await side.head()
        await side.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
        while sent < total:
            await side.say(bytes(65536))
            sent += 65536
        await side.rest()

    async def story() -> None:
        async with staged(talk) as stage:
            exchange = await stage.send()
            connection = next(iter(stage.pool._taken))
            before = -1
            while sent != before:  # until the server, too, has to wait
                before = sent
                await asyncio.sleep(0.05)
            assert sent < total
            received, largest = 0, 0
            async for chunk in exchange.chunks():
                received += len(chunk)
                largest = max(largest, connection._queued_bytes)
            assert received == total
            assert READ_AHEAD_BYTES // 4 < largest <= READ_AHEAD_BYTES + 256 * 1024
            await exchange.close()
            assert stage.pool.statistics() == {"taken_count": 0, "idle_count": 1}

    run(story())


def test_what_may_be_left_unread_is_hardly_sent(run: Any) -> None:
    """Neither by a new connection, nor after much has come by another one: what a system has offered it can't take back."""
    if sys.platform != "linux":
        pytest.skip("elsewhere the system decides")
    sent = 0

    async def talk(side: Side) -> None:
        nonlocal sent
        side.buffer(64 * 1024)
        while True:
            await side.head()
            sent = 0
            await side.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (32 * BLOCK))
            for _ in range(32):
                await side.say(bytes(BLOCK))
                sent += BLOCK

    async def story() -> None:
        async with staged(talk) as stage:
            for wide_before in (0, 3):
                assert all([len(await stage.get()) == 32 * BLOCK for _ in range(wide_before)])
                exchange = await stage.door.send("GET", stage.base, b"/x", ((b"Host", b"h"),), unread_bytes_max=64 * 1024)
                chunks = exchange.chunks()
                first, before = len(await anext(chunks)), -1
                while sent != before:
                    before = sent
                    await asyncio.sleep(0.05)
                assert sent < 10 * BLOCK
                exchange.widen()
                assert first + sum([len(chunk) async for chunk in chunks]) == 32 * BLOCK
                await exchange.close()
            assert stage.server.connections_count == 2

    run(story())


def test_what_is_gathered_comes_in_blocks_and_a_trickle_all_the_same(run: Any) -> None:
    heard = asyncio.Event()
    size = 4 * BLOCK

    async def talk(side: Side) -> None:
        for _ in range(2):
            await side.head()
            await side.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (size + 10))
            await side.say(bytes(10))
            await heard.wait()
            for _ in range(size // 1024):
                await side.say(bytes(1024))
                await asyncio.sleep(0)

    async def story() -> None:
        async with staged(talk) as stage:
            for _ in range(2):
                heard.clear()
                exchange = await stage.send()
                exchange.gather(BLOCK // 2)
                chunks = exchange.chunks()
                assert len(await anext(chunks)) == 10
                heard.set()
                assert sum([len(chunk) async for chunk in chunks]) == size
                await exchange.close()
            assert stage.server.connections_count == 1

    run(story())


@pytest.mark.parametrize("is_sure", [True, False])
def test_what_is_gathered_is_what_was_sent_on_each_connection_again(run: Any, is_sure: bool) -> None:
    bodies = [os.urandom(size) for size in (24 * BLOCK + 1, 5, 3 * BLOCK, 24 * BLOCK)]

    async def talk(side: Side) -> None:
        for body in bodies:
            await side.head()
            await side.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    async def story() -> None:
        async with staged(talk) as stage:
            for body in bodies:
                exchange = await stage.send()
                exchange.gather(2 * BLOCK, is_sure=is_sure)
                assert b"".join([bytes(chunk) async for chunk in exchange.chunks()]) == body
                await exchange.close()
            assert stage.server.connections_count == 1

    run(story())


def count_reads(stage: Stage, reads: list[int]) -> None:
    """Of the body that is gathered now, past the parser."""
    connection = next(iter(stage.pool._taken))
    buffered = connection.buffered
    connection.buffered = lambda count: reads.append(count) or buffered(count)


def test_the_system_counts_what_is_gathered(run: Any) -> None:
    """A connection that is read for each packet of a large body costs more than the packets."""
    if sys.platform != "linux":
        pytest.skip("elsewhere it can't")
    reads: list[int] = []

    async def talk(side: Side) -> None:
        await side.head()
        await side.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (4 * BLOCK))
        await heard.wait()
        for _ in range(4 * BLOCK // 1024):
            await side.say(bytes(1024))
            await asyncio.sleep(0)
        await side.rest()

    heard = asyncio.Event()

    async def story() -> None:
        async with staged(talk) as stage:
            exchange = await stage.send()
            exchange.gather(BLOCK)
            count_reads(stage, reads)
            heard.set()
            assert sum([len(chunk) async for chunk in exchange.chunks()]) == 4 * BLOCK
            await exchange.close()
            assert 0 < len(reads) < 12

    run(story())


def test_a_quick_body_is_read_in_growing_blocks(run: Any) -> None:
    """A plain download of 64 MiB at 100 Mbit/s cost 3 s of processor time: each packet woke the process."""
    if sys.platform != "linux":
        pytest.skip("elsewhere the system can't count")
    reads: list[int] = []
    size, heard = 64 * BLOCK, asyncio.Event()

    async def talk(side: Side) -> None:
        await side.head()
        await side.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        await heard.wait()
        for _ in range(size // 1024):
            await side.say(bytes(1024))
            await asyncio.sleep(0)
        await side.rest()

    async def story() -> None:
        async with staged(talk) as stage:
            exchange = await stage.send()
            exchange.gather(4 * BLOCK, is_sure=False)
            count_reads(stage, reads)
            heard.set()
            assert sum([len(chunk) async for chunk in exchange.chunks()]) == size
            await exchange.close()
            assert 0 < len(reads) < size / 1024 / 20

    run(story())


@pytest.mark.parametrize("framing", [b"Content-Length: 5000000", b"Transfer-Encoding: chunked"], ids=["length", "chunked"])
def test_bytes_of_a_slow_body_wait_for_no_others(run: Any, monkeypatch: pytest.MonkeyPatch, framing: bytes) -> None:
    """Each part is read before the next is sent; also the first one after some that came quickly. No timer helps but that one's."""
    monkeypatch.setattr("minicdn.wire.gathering.LITTLE_SECONDS", 60)
    asked = asyncio.Event()
    parts = [1, 100, 2000, 30 * BLOCK, 7, 100]

    async def talk(side: Side) -> None:
        await side.head()
        await side.say(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n" % framing)
        for part in parts:
            await asked.wait()
            asked.clear()
            body = bytes(part)
            await side.say(b"%x\r\n%b\r\n" % (part, body) if b"chunked" in framing else body)
        await side.rest()

    async def story() -> None:
        async with staged(talk) as stage:
            exchange = await stage.send()
            exchange.gather(4 * BLOCK, is_sure=False)
            chunks = exchange.chunks()
            for part in parts:
                asked.set()
                got = 0
                while got < part:
                    got += len(await anext(chunks))
                assert got == part
            await exchange.close()

    run(story())


@pytest.mark.parametrize("is_over", [False, True])
def test_who_wants_little_more_is_told_what_comes_all_the_same(run: Any, is_over: bool) -> None:
    """Of what is left, when the server has gone already, there is what was read."""

    async def talk(side: Side) -> None:
        await side.head()
        await side.say(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(BLOCK))
        if not is_over:
            await side.rest()

    async def story() -> None:
        async with staged(talk) as stage:
            exchange = await stage.send()
            await stage.server.wait_open(0 if is_over else 1)
            await asyncio.sleep(0.05)
            assert exchange.narrow(BLOCK // 8) >= BLOCK
            await exchange.close()

    run(story())


def test_what_comes_when_little_is_wanted_is_not_gathered(run: Any) -> None:
    """Each block of a narrowed answer waited a twentieth of a second for one that could not come: a megabyte took one."""
    asked = asyncio.Event()

    async def talk(side: Side) -> None:
        await side.head()
        await side.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (32 * BLOCK) + bytes(BLOCK))
        for _ in range(20):
            await asked.wait()
            asked.clear()
            await side.say(bytes(1000))
        await side.rest()

    async def story() -> None:
        async with staged(talk) as stage:
            exchange = await stage.send()
            exchange.widen()
            exchange.gather(BLOCK)
            chunks = exchange.chunks()
            got = 0
            while got < BLOCK:
                got += len(await anext(chunks))
            exchange.narrow(BLOCK // 2)
            began_at = asyncio.get_running_loop().time()
            for _ in range(20):
                asked.set()
                assert len(await anext(chunks)) == 1000
            assert asyncio.get_running_loop().time() - began_at < 0.8
            await exchange.close()

    run(story())


def test_after_a_narrow_body_the_next_answer_is_read(run: Any) -> None:
    """A body of which so much had come that its connection read no more, all of it as it turned out, left the connection so."""
    said = asyncio.Event()

    async def talk(side: Side) -> None:
        for size in (READ_AHEAD_BYTES + BLOCK, 5):
            await side.head()
            await side.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))
            said.set()
        await side.rest()

    async def story() -> None:
        async with staged(talk) as stage:
            exchange = await stage.send()
            await said.wait()
            await asyncio.sleep(0.05)
            exchange.narrow(BLOCK)
            assert len(await exchange.read(READ_AHEAD_BYTES + BLOCK)) == READ_AHEAD_BYTES + BLOCK
            await exchange.close()
            again = await stage.door.send("GET", stage.base, b"/x", ((b"Host", b"h"),), unread_bytes_max=BLOCK)
            assert len(await again.read(5)) == 5
            await again.close()
            assert stage.server.connections_count == 1

    run(story())


# Uploads


async def streamed(chunks: list[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        await asyncio.sleep(0)
        yield chunk


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_an_upload_of_either_framing(run: Any, framing: str) -> None:
    seen: list[bytes] = []

    async def talk(side: Side) -> None:
        while head := await side.head():
            seen.append(head + await side.read(11 if framing == "length" else len(b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n")))
            await side.say(OK)

    field = (b"Content-Length", b"11") if framing == "length" else (b"Transfer-Encoding", b"chunked")

    async def story() -> None:
        async with staged(talk) as stage:
            for _ in range(2):
                assert await stage.get("PUT", content=streamed([b"hello", b"", b" world"]), fields=(field,)) == b"hello"
            assert stage.server.connections_count == 1

    run(story())
    body = b"hello world" if framing == "length" else b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
    assert seen == [b"PUT /x HTTP/1.1\r\n%b: %b\r\n\r\n%b" % (*field, body)] * 2


def test_an_upload_keeps_the_pace_of_the_server(run: Any) -> None:
    made = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal made
        for _ in range(1000):
            made += 65536
            yield bytes(65536)

    async def story() -> None:
        async with staged(lambda side: side.hold_back()) as stage:
            asking = asyncio.ensure_future(stage.get("PUT", content=endless(), fields=((b"Transfer-Encoding", b"chunked"),)))
            before = -1
            while made != before:
                before = made
                await asyncio.sleep(0.05)
            assert made < 16 * 1024 * 1024
            asking.cancel()
            await asyncio.wait((asking,))
            assert stage.pool.statistics() == {"taken_count": 0, "idle_count": 0}

    run(story())


def test_an_upload_that_nobody_takes_ends_in_time(run: Any) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(65536)

    async def story() -> None:
        async with staged(lambda side: side.hold_back(), read_seconds=0.2) as stage:
            with pytest.raises(TimedOut):
                await stage.get("PUT", content=endless(), fields=((b"Transfer-Encoding", b"chunked"),))
            assert stage.pool.statistics() == {"taken_count": 0, "idle_count": 0}

    run(story())


def test_an_early_refusal_ends_the_upload_and_the_connection(run: Any) -> None:
    """The rest of the content must never be followed by another request, which would be read as more of it."""
    stopped = asyncio.Event()

    async def content() -> AsyncIterator[bytes]:
        try:
            yield b"hello"
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async def talk(side: Side) -> None:
        await side.head()
        if side.number == 1:
            await side.read(5)
        await side.say(b"HTTP/1.1 %d So\r\nContent-Length: 2\r\n\r\nno" % (413 if side.number == 1 else 200))
        await side.rest()

    async def story() -> None:
        async with staged(talk) as stage:
            exchange = await stage.send("PUT", content=content(), fields=((b"Content-Length", b"999"),))
            assert (exchange.status, await exchange.read(9)) == (413, b"no")
            await exchange.close()
            await stopped.wait()
            assert await stage.get() == b"no"
            assert stage.server.connections_count == 2

    run(story())


def test_an_answer_that_begins_before_the_end_of_the_upload_does_not_cut_it(run: Any) -> None:
    """A server may begin its answer when it likes (RFC 9110 §7.5); only a refusal says that it does not want the rest."""
    go_on = asyncio.Event()

    async def content() -> AsyncIterator[bytes]:
        yield b"hello"
        await go_on.wait()
        yield b"world"

    async def talk(side: Side) -> None:
        while await side.head():
            first = await side.read(5)
            await side.say(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" + first)
            await side.say(await side.read(5))

    async def story() -> None:
        async with staged(talk) as stage:
            for _ in range(2):
                go_on.clear()
                exchange = await stage.send("PUT", content=content(), fields=((b"Content-Length", b"10"),))
                go_on.set()
                assert await exchange.read(99) == b"helloworld"
                await exchange.close()
            assert stage.server.connections_count == 1

    run(story())


class GoneAway(Exception):
    pass


@pytest.mark.parametrize("is_answered", [False, True])
def test_an_upload_that_breaks_off_here_breaks_the_exchange(run: Any, is_answered: bool) -> None:
    fail = asyncio.Event()

    async def content() -> AsyncIterator[bytes]:
        yield b"hello"
        await fail.wait()
        raise GoneAway

    async def talk(side: Side) -> None:
        await side.head()
        await side.read(5)
        if is_answered:
            await side.say(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        else:
            fail.set()
        await side.rest()

    async def story() -> None:
        async with staged(talk) as stage:
            sent = stage.send("PUT", content=content(), fields=((b"Content-Length", b"10"),))
            if is_answered:
                exchange = await sent
                fail.set()
                with pytest.raises(Broken):
                    await exchange.read(99)
                await exchange.close()
            else:
                with pytest.raises(GoneAway):
                    await sent
            await stage.server.wait_open(0)
            assert stage.pool.statistics() == {"taken_count": 0, "idle_count": 0}

    run(story())


def test_the_answer_counts_even_if_the_server_then_closes_on_the_upload(run: Any) -> None:
    async def content() -> AsyncIterator[bytes]:
        while True:
            yield bytes(1000)
            await asyncio.sleep(0.001)

    async def talk(side: Side) -> None:
        await side.head()
        await side.say(b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")

    async def story() -> None:
        async with staged(talk) as stage:
            exchange = await stage.send("PUT", content=content(), fields=((b"Transfer-Encoding", b"chunked"),))
            assert exchange.status == 413
            await exchange.close()

    run(story())


# Nothing is kept


async def upload(stage: Stage) -> None:
    await stage.get("PUT", content=streamed([b"hello", b" world"]), fields=((b"Content-Length", b"11"),))


async def fetch(stage: Stage) -> None:
    await stage.get()


async def echo(side: Side) -> None:
    while head := await side.head():
        if head.startswith(b"PUT"):
            await side.read(11)
        await side.say(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        await asyncio.sleep(0)
        await side.say(b"world")


@pytest.mark.parametrize("is_reused", [False, True], ids=["new", "reused"])
@pytest.mark.parametrize("work", [fetch, upload])
def test_whenever_it_is_cancelled_nothing_is_kept(run: Any, work: Callable[[Stage], Awaitable[None]], is_reused: bool) -> None:
    """Cancelled after every number of turns of the loop, until it is quicker."""

    async def once(turns: int) -> bool:
        async with staged(echo, connections_max=1, keepalive_seconds=60) as stage:
            if is_reused:
                await fetch(stage)
            others = asyncio.all_tasks()
            task = asyncio.ensure_future(work(stage))
            for _ in range(turns):
                await asyncio.sleep(0)
            is_over = task.done()
            task.cancel()
            await asyncio.wait((task,))
            statistics = stage.pool.statistics()
            assert statistics["taken_count"] == 0
            await stage.server.wait_open(statistics["idle_count"])
            assert {other for other in asyncio.all_tasks() - others if not any(of in repr(other) for of in ("_serve", "_accept"))} == set()
            assert await stage.get() == b"helloworld"  # the only slot is free
            return is_over

    async def story() -> None:
        for turns in range(400):
            if await once(turns):
                return
        raise AssertionError("never over")

    run(story())


def test_no_timer_outlives_an_exchange() -> None:
    async def story() -> None:
        async with staged(always, keepalive_seconds=60) as stage:
            for _ in range(3):
                await stage.get()
            loop: Any = asyncio.get_running_loop()
            due = [timer for timer in loop._scheduled if not timer.cancelled()]
            assert len(due) == 2, due  # the idle connection's, and the test's own deadline

    async def bounded() -> None:
        async with asyncio.timeout(30):
            await story()

    asyncio.run(bounded())


# TLS


@pytest.fixture(scope="module")
def authority() -> Any:
    return pytest.importorskip("trustme").CA()


@pytest.fixture
def trusted(authority: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return authority


def server_context(authority: Any, *names: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names).configure_cert(context)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


def test_tls(run: Any, trusted: Any) -> None:
    async def story() -> None:
        context = server_context(trusted, "localhost")
        async with staged(always, scheme="https", host="localhost", context=context) as stage:
            assert [await stage.get() for _ in range(3)] == [b"hello"] * 3
            assert stage.server.connections_count == 1

    run(story())


def test_a_certificate_for_another_host(run: Any, trusted: Any) -> None:
    async def story() -> None:
        context = server_context(trusted, "elsewhere.example")
        async with staged(always, scheme="https", host="localhost", context=context) as stage:
            with pytest.raises(Unreachable, match=r"^its certificate is not to be trusted: .*not valid for 'localhost'$"):
                await stage.get()
            assert stage.pool.statistics() == {"taken_count": 0, "idle_count": 0}

    run(story())


def test_a_certificate_of_nobody_known(run: Any, authority: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = pytest.importorskip("trustme").CA()
    other.cert_pem.write_to_path(tmp_path / "other.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "other.pem"))

    async def story() -> None:
        context = server_context(authority, "localhost")
        async with staged(always, scheme="https", host="localhost", context=context) as stage:
            with pytest.raises(Unreachable, match=r"^its certificate is not to be trusted: unable to get local issuer certificate$"):
                await stage.get()

    run(story())


def test_no_tls_where_some_is_expected(run: Any, trusted: Any) -> None:
    async def talk(side: Side) -> None:
        await side.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await side.rest()

    async def story() -> None:
        async with staged(talk, scheme="https", host="localhost") as stage:
            with pytest.raises(Unreachable, match=r"^no TLS connection: [a-z ]+$"):
                await stage.get()

    run(story())


def test_a_greeting_that_is_never_answered(run: Any, trusted: Any) -> None:
    async def story() -> None:
        async with staged(lambda side: side.rest(), scheme="https", host="localhost", connect_seconds=0.2) as stage:  # type: ignore[arg-type,return-value]
            with pytest.raises(NotConnected, match="within the deadline"):
                await stage.get()
            await stage.server.wait_open(0)

    run(story())


@pytest.mark.parametrize("is_clean", [True, False], ids=["clean", "cut"])
def test_a_body_until_the_end_of_tls_needs_its_farewell(run: Any, trusted: Any, is_clean: bool) -> None:
    """Anybody on the way can end a TCP connection; TLS says goodbye in a way that only the server can (RFC 9112 §9.8)."""

    async def talk(side: Side) -> None:
        await side.head()
        await side.say(b"HTTP/1.1 200 OK\r\n\r\nhello")
        if not is_clean:
            side.cut()
            await side.rest()

    async def story() -> None:
        context = server_context(trusted, "localhost")
        async with staged(talk, scheme="https", host="localhost", context=context) as stage:
            if is_clean or type(asyncio.get_running_loop()).__module__.startswith("asyncio"):  # whose TLS keeps it to itself
                assert await stage.get() == b"hello"
            else:
                with pytest.raises(Broken, match="before the end of the body"):
                    await stage.get()

    run(story())


# Where httptools is missing


@pytest.fixture(params=["ours", "httpx's"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param != "ours":
        monkeypatch.setitem(sys.modules, "minicdn.wire.transport", None)
    return request.param


SAME = {
    "length": (OK, b"hello"),
    "chunked": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", b"hello"),
    "until the end": (b"HTTP/1.1 200 OK\r\nX-Odd: caf\xe9\r\n\r\nhello", b"hello"),
    "encoded": (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc", b"abc"),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    "redirect": (b"HTTP/1.1 302 Found\r\nLocation: /y\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n", b""),
    "interim": (b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK, b"hello"),
}


@pytest.mark.parametrize("name", SAME)
def test_either_transport_gives_the_same(either: str, name: str) -> None:
    octets, body = SAME[name]
    seen: list[bytes] = []

    async def talk(side: Side) -> None:
        seen.append(await side.head())
        await side.say(octets)

    async def story() -> None:
        async with staged(talk) as stage:
            assert (type(stage.door._transport).__name__ == "LeanTransport") is (either == "ours")
            exchange = await stage.send(fields=((b"Host", b"h"), (b"X-Odd", b"caf\xe9")), target=b"/a%2F//b?")
            final = octets.split(b"\r\n\r\n")[1 if name == "interim" else 0]
            lines = final.removeprefix(b"\r\n").split(b"\r\n")[1:]
            assert [name + b": " + value for name, value in exchange.fields] == lines
            assert await exchange.read(99) == body
            await exchange.close()

    asyncio.run(story())
    assert seen == [b"GET /a%2F//b? HTTP/1.1\r\nHost: h\r\nX-Odd: caf\xe9\r\n\r\n"]


@pytest.mark.parametrize(("octets", "kind"), [
    (b"", Unreachable), (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel", Broken), (b"what is this\r\n\r\n", Broken), (None, TimedOut),
])  # fmt: skip
def test_either_transport_says_the_same_of_what_goes_wrong(either: str, octets: bytes | None, kind: type[ExchangeError]) -> None:
    async def talk(side: Side) -> None:
        await side.head()
        if octets is None:
            await side.rest()
        else:
            await side.say(octets)

    async def story() -> None:
        async with staged(talk, read_seconds=0.2) as stage:
            with pytest.raises(kind) as caught:
                await stage.get()
            assert "\n" not in str(caught.value)

    asyncio.run(story())


def test_no_answer_is_not_the_same_as_no_connection(either: str) -> None:
    async def talk(side: Side) -> None:
        await side.head()

    async def story() -> None:
        async with staged(talk) as stage:
            with pytest.raises(Unreachable) as caught:
                await stage.get()
            assert type(caught.value) is Unreachable
            await stage.server.stop()
            with pytest.raises(NotConnected):
                await stage.get()

    asyncio.run(story())


def test_who_asks_hears_of_a_new_connection_before_its_answer(run: Any) -> None:
    events: list[str] = []

    async def talk(side: Side) -> None:
        while await side.head():
            events.append("asked")
            await side.say(OK)

    async def story() -> None:
        async with staged(talk) as stage:
            for _ in range(2):
                exchange = await stage.door.send("GET", stage.base, b"/", (), on_connected=lambda: events.append("connected"))
                await exchange.read(99)
                await exchange.close()

    run(story())
    assert events == ["connected", "asked", "asked"]


def test_either_transport_sends_uploads(either: str) -> None:
    seen: list[bytes] = []

    async def talk(side: Side) -> None:
        seen.append((await side.head()).split(b"\r\n")[0] + await side.read(len(b"5\r\nhello\r\n0\r\n\r\n")))
        await side.say(OK)

    async def story() -> None:
        async with staged(talk) as stage:
            assert await stage.get("PUT", content=streamed([b"hello"]), fields=fields) == b"hello"

    fields = ((b"Host", b"h"), (b"Transfer-Encoding", b"chunked"))
    asyncio.run(story())
    assert seen == [b"PUT /x HTTP/1.1" + b"5\r\nhello\r\n0\r\n\r\n"]


def test_the_door_takes_our_transport_when_it_can() -> None:
    assert type(http._transport(1, 1.0)).__name__ == "LeanTransport"


def test_a_proxy_of_the_environment_is_not_asked(either: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes talk to each other directly, whatever the shell says."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setitem(os.environ, name, "http://127.0.0.1:9/")

    async def story() -> None:
        async with staged(always) as stage:
            assert await stage.get() == b"hello"

    asyncio.run(story())
