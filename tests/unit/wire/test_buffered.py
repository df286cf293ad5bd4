"""A gathered body falls into a buffer: what is read is what was sent, however it comes and however slow its reader is."""

from __future__ import annotations

import asyncio
import gc
import random
import sys
import weakref
from typing import Any

import pytest

from minicdn.wire import buffered, gathering
from minicdn.wire.connection import ClientConnection, Lost

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system can't count, and nothing is buffered")

SIZE = 4096


@pytest.fixture(autouse=True)
def small_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffered, "BUFFER_BYTES", SIZE)
    monkeypatch.setattr(gathering, "BUFFERED_BYTES_MIN", 2)


class Kernel(asyncio.Transport):
    """Has octets for the protocol, and gives them as it can take them, in parts of chance."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self.octets = b""
        self.is_paused = self._is_closing = False
        self.protocol: Any = None
        self._rng = rng

    def get_protocol(self) -> Any:
        return self.protocol

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def write(self, data: Any) -> None:
        pass

    def pause_reading(self) -> None:
        assert not self._is_closing
        self.is_paused = True

    def resume_reading(self) -> None:
        assert not self._is_closing
        self.is_paused = False

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            asyncio.get_running_loop().call_soon(self._lose)

    def _lose(self) -> None:
        self.protocol.connection_lost(None)
        self.protocol = None  # as real ones do

    abort = close

    def deliver(self) -> bool:
        """One part. False: there is nothing, or nobody takes it."""
        if not self.octets or self.is_paused or self._is_closing:
            return False
        count = min(self._rng.choice((1, 10, 1000, SIZE - 1, SIZE, 3 * SIZE)), len(self.octets))
        if isinstance(self.protocol, asyncio.BufferedProtocol):
            buffer = self.protocol.get_buffer(-1)
            count = min(count, len(buffer))
            assert count, "uvloop ends a connection that is read and has no room"
            buffer[:count] = self.octets[:count]
            self.octets = self.octets[count:]
            self.protocol.buffer_updated(count)
        else:
            data, self.octets = self.octets[:count], self.octets[count:]
            self.protocol.data_received(data)
        return True


def connected(rng: random.Random) -> tuple[ClientConnection, Kernel]:
    connection, kernel = ClientConnection(), Kernel(rng)
    kernel.protocol = connection
    connection.connection_made(kernel)
    return connection, kernel


def answer(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


async def head_of(connection: ClientConnection, kernel: Kernel) -> None:
    waiting = asyncio.ensure_future(connection.wait_head())
    while not waiting.done():
        await asyncio.sleep(0)
        kernel.deliver()
    await waiting


async def read_all(connection: ClientConnection, kernel: Kernel, rng: random.Random, *, is_slow: bool) -> bytes:
    """As a reader would that looks at what it has read only some time later."""
    body = b""
    while True:
        reading = asyncio.ensure_future(connection.read(5))
        while not reading.done():
            await asyncio.sleep(0)
            kernel.deliver()
        chunk = await reading
        if not chunk:
            return body
        for _ in range(rng.randrange(5) if is_slow else 0):
            kernel.deliver()
        body += chunk


@pytest.mark.parametrize("is_slow", [False, True], ids=["quick", "slow"])
@pytest.mark.parametrize("seed", range(30))
def test_what_is_read_is_what_was_sent(seed: int, is_slow: bool) -> None:
    rng = random.Random(seed)

    async def story() -> None:
        connection, kernel = connected(rng)
        for _ in range(4):
            body = rng.randbytes(rng.choice((0, 1, 2, 100, SIZE - 1, SIZE, SIZE + 1, 10 * SIZE + 7)))
            kernel.octets += answer(body)
            connection.begin("GET", b"")
            await head_of(connection, kernel)
            if rng.random() < 0.8:
                connection.gather(rng.choice((1, 500, SIZE)), is_sure=rng.random() < 0.5)
            got = b""
            if rng.random() < 0.3:
                reading = asyncio.ensure_future(connection.read(5))
                while not reading.done():
                    await asyncio.sleep(0)
                    kernel.deliver()
                got = bytes(await reading)
                if connection.is_open:
                    connection.narrow(100)
            assert got + await read_all(connection, kernel, rng, is_slow=is_slow) == body
            assert connection.is_reusable and kernel.protocol is connection and not kernel.is_paused
            connection.bound_unread(None)

    asyncio.run(story())


def begun(body: bytes, rng: random.Random, extra: bytes = b"") -> tuple[ClientConnection, Kernel]:
    """Its head and first byte are here, and it is gathered."""
    connection, kernel = connected(rng)
    connection.begin("GET", b"")
    octets = answer(body) + extra
    connection.data_received(octets[: len(answer(b"")) + len(str(len(body)))])
    kernel.octets = octets[len(answer(b"")) + len(str(len(body))) :]
    connection.gather(100)
    assert isinstance(kernel.protocol, asyncio.BufferedProtocol)
    return connection, kernel


@pytest.mark.parametrize("tail", [b"x", answer(b"hello"), b"\r\n"])
def test_what_follows_a_body_is_no_part_of_it_and_ends_the_connection(tail: bytes) -> None:
    async def story() -> None:
        connection, kernel = begun(bytes(3 * SIZE), random.Random(1), tail)
        assert await read_all(connection, kernel, random.Random(2), is_slow=False) == bytes(3 * SIZE)
        kernel.deliver()
        await asyncio.sleep(0)
        assert not connection.is_reusable

    asyncio.run(story())


@pytest.mark.parametrize("error", [None, ConnectionResetError(104, "Connection reset by peer")])
def test_a_body_that_ends_early_is_lost_after_what_came_of_it(error: Exception | None) -> None:
    async def story() -> None:
        connection, kernel = begun(bytes(3 * SIZE), random.Random(1))
        kernel.octets = kernel.octets[:SIZE]
        while kernel.deliver():
            pass
        protocol = kernel.protocol
        if error is None:
            protocol.eof_received()
        protocol.connection_lost(error)
        got = len(await connection.read(1))
        with pytest.raises(Lost):
            while chunk := await connection.read(1):
                got += len(chunk)
        assert 0 < got <= SIZE + 1 and not connection.is_reusable

    asyncio.run(story())


def test_a_reader_that_does_not_come_stops_the_other_side_at_a_full_buffer() -> None:
    async def story() -> None:
        connection, kernel = begun(bytes(10 * SIZE), random.Random(1))
        while kernel.deliver():
            pass
        left = len(kernel.octets)
        assert kernel.is_paused and 10 * SIZE - left in (SIZE, SIZE + 1)
        while kernel.is_paused:
            reading = asyncio.ensure_future(connection.read(5))
            await asyncio.sleep(0)
        assert kernel.deliver() and len(kernel.octets) < left
        assert await reading

    asyncio.run(story())


def test_an_upload_beside_a_body_is_held_back_and_let_go() -> None:
    async def story() -> None:
        connection, kernel = begun(bytes(3 * SIZE), random.Random(1))
        kernel.protocol.pause_writing()
        writing = asyncio.ensure_future(connection.write(b"x"))
        await asyncio.sleep(0)
        assert not writing.done()
        kernel.protocol.resume_writing()
        await writing

    asyncio.run(story())


def test_a_buffer_is_kept_for_the_next_body_and_given_up_after_one_without() -> None:
    async def story() -> None:
        connection, kernel = begun(bytes(3 * SIZE), random.Random(1))
        rng, first = random.Random(2), connection._buffer
        await read_all(connection, kernel, rng, is_slow=False)
        for is_gathered, kept in ((True, first), (False, first), (False, None)):
            connection.begin("GET", b"")
            assert connection._buffer is kept
            kernel.octets = answer(bytes(10 * SIZE))
            await head_of(connection, kernel)
            if is_gathered:
                connection.gather(100)
            await read_all(connection, kernel, rng, is_slow=False)

    asyncio.run(story())


@pytest.mark.parametrize("is_whole", [True, False])
def test_a_connection_that_is_over_keeps_no_memory(is_whole: bool) -> None:
    """It stays itself until the collector comes."""

    async def story() -> weakref.ref[Any]:
        connection, kernel = begun(bytes(3 * SIZE), random.Random(1))
        await connection.read()
        if is_whole:
            await read_all(connection, kernel, random.Random(2), is_slow=False)
        found = weakref.ref(connection._buffer)
        connection.close()
        await asyncio.sleep(0)
        return found

    gc.disable()
    try:
        assert asyncio.run(story())() is None
    finally:
        gc.enable()
