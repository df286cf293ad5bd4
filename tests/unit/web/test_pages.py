"""Octets sent past the transport arrive in their order, and all of them, however little the socket takes at once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable

import pytest
from uvicorn.protocols.http.flow_control import FlowControl

from minicdn.loops import loop_factory
from minicdn.web.answering import Answering, ClientDisconnected
from minicdn.web.express import HEADED_USES, _Said
from minicdn.web.pages import HAS_PAGES, HEADED_BYTES_MAX, PAGES_BYTES_MIN, Pages, Room, plain_socket, send_pages

pytestmark = pytest.mark.skipif(not HAS_PAGES, reason="this system has no memfd_create or sendfile")
BODY = os.urandom(600_000)
LOOPS = [asyncio.SelectorEventLoop, *filter(None, [loop_factory()])]


class Server(asyncio.Protocol):
    """Answers each octet that comes by `answer(transport)`."""

    def __init__(self, answer: Callable[[asyncio.Transport], None]) -> None:
        self._answer = answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)  # little is taken at once

    def data_received(self, data: bytes) -> None:
        for _ in data:
            self._answer(self.transport)  # type: ignore[arg-type]


def received(
    make_loop: Callable[[], asyncio.AbstractEventLoop], answer: Callable[[asyncio.Transport], None], times: int, size: int
) -> bytes:
    async def run() -> bytes:
        server = await asyncio.get_running_loop().create_server(lambda: Server(answer), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"x" * times)
        async with asyncio.timeout(30):
            found = await reader.readexactly(size)
        writer.close()
        server.close()
        return found

    with asyncio.Runner(loop_factory=make_loop) as runner:
        return runner.run(run())


@pytest.mark.parametrize("size", [len(BODY), HEADED_BYTES_MAX, PAGES_BYTES_MIN])
@pytest.mark.parametrize("make_loop", LOOPS)
def test_an_answer_in_pages_between_others(make_loop: Callable[[], asyncio.AbstractEventLoop], size: int) -> None:
    body = BODY[:size]
    said, room = _Said(200, b"head" * 30, body), Room(1)

    def answer(transport: asyncio.Transport) -> None:
        transport.write(b"before")
        said.send(transport, plain_socket(transport), room)
        transport.write(b"after")

    whole = b"before" + b"head" * 30 + body + b"after"
    assert received(make_loop, answer, 12, 12 * len(whole)) == 12 * whole
    assert said.pages is not None


@pytest.mark.parametrize("taken_bytes", [0, 1, 3, 4, 5, PAGES_BYTES_MIN + 3, PAGES_BYTES_MIN + 4])
def test_what_a_socket_does_not_take_is_the_transports(taken_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    body = BODY[:PAGES_BYTES_MIN]
    said, room = _Said(200, b"head", body), Room(1)
    written: list[bytes] = []

    class Transport:
        write = staticmethod(written.append)
        writelines = staticmethod(written.extend)

        def get_write_buffer_size(self) -> int:
            return 0

    def sendfile(fd: int, file: int, offset: int, count: int) -> int:
        assert (fd, offset, count) == (5, 0, 4 + len(body))
        if not taken_bytes:
            raise BlockingIOError
        written.append(os.pread(file, taken_bytes, offset))
        return taken_bytes

    monkeypatch.setattr(os, "sendfile", sendfile)
    for _ in range(HEADED_USES):
        written.clear()
        said.send(Transport(), 5, room)
        assert b"".join(written) == b"head" + body
    assert said.pages is not None and (len(written[0]) == taken_bytes or not taken_bytes)


@pytest.mark.parametrize("make_loop", LOOPS)
def test_a_part_of_the_pages(make_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    pages = Pages(Room(1), BODY)

    def answer(transport: asyncio.Transport) -> None:
        sent = send_pages(transport, plain_socket(transport), b"head", pages.fd, 1000, 2000)
        transport.write(BODY[1000 + sent : 3000])

    assert received(make_loop, answer, 1, 2004) == b"head" + BODY[1000:3000]


class Full:
    """A transport that holds something back."""

    def writelines(self, data: object) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 1


def test_pages_are_made_for_what_is_sent_again_and_let_go_of() -> None:
    said, room = _Said(200, b"", BODY), Room(1)
    said.send(Full(), 5, room)
    assert said.pages is None
    said.send(Full(), 5, room)
    assert room.left_count == 0
    fd = said.pages.fd  # type: ignore[union-attr]
    os.fstat(fd)
    again = _Said(200, b"", BODY)
    again.take_pages(said)
    del said
    os.fstat(fd)
    del again
    with pytest.raises(OSError):
        os.fstat(fd)
    assert room.left_count == 1


def test_where_there_are_enough_pages_bytes_are_copied() -> None:
    said, room = _Said(200, b"", BODY), Room(1)
    other = Pages(room, b"x")
    for _ in range(3):
        said.send(Full(), 5, room)
    assert said.pages is None
    del other
    said.send(Full(), 5, room)
    assert said.pages is not None


def test_where_no_file_can_be_made_it_is_tried_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    said, room = _Said(200, b"", BODY), Room(1)

    def refuse(*_: object) -> int:
        raise OSError

    monkeypatch.setattr(os, "memfd_create", refuse)
    for _ in range(5):
        said.send(Full(), 5, room)
    assert said.pages is None and room.left_count == 1
    monkeypatch.undo()
    for _ in range(2):
        said.send(Full(), 5, room)
    assert said.pages is not None


def test_pages_with_a_head_are_of_that_head_only() -> None:
    said, room = _Said(200, b"Age: 1", BODY[:PAGES_BYTES_MIN]), Room(1)
    for _ in range(HEADED_USES):
        assert said.pages is None
        said.send(Full(), 5, room)
    assert said.pages is not None
    again = _Said(200, b"Age: 2", said.body)
    again.take_pages(said)
    assert again.pages is None


def test_a_socket_that_is_gone_is_the_transports_affair() -> None:
    one, other = socket.socketpair()
    with contextlib.closing(one):
        other.close()
        written: list[bytes] = []
        transport = type("Transport", (), {"write": staticmethod(written.append)})
        assert send_pages(transport, one.fileno(), b"head", Pages(Room(1), BODY).fd, 0, 10) == 0
        assert written == [b"head"]


class Sending(Answering):
    """A body under way, and the protocol of its connection."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.scope, self.transport, self.flow = {"method": "GET"}, transport, FlowControl(transport)
        self.response_started, self.response_complete, self.disconnected, self.chunked_encoding = True, False, False, False
        self.expected_content_length = 2 * len(BODY)


class FileServer(Server):
    """Sends the file to each who connects, and keeps what came of that."""

    def __init__(self, file: int, came: asyncio.Queue[int | BaseException], stall_seconds: float) -> None:
        super().__init__(lambda _: None)
        self._file, self._came, self._stall_seconds = file, came, stall_seconds

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.cycle = Sending(transport)  # type: ignore[arg-type]
        self.task = asyncio.ensure_future(self._send())

    async def _send(self) -> None:
        assert self.cycle.may_send_files(plain_socket(self.transport))
        try:
            self._came.put_nowait(await self.cycle.send_file(self._file, 100, len(BODY), self._stall_seconds))
        except (TimeoutError, ClientDisconnected) as error:
            self._came.put_nowait(error)

    def pause_writing(self) -> None:
        self.cycle.flow.pause_writing()

    def resume_writing(self) -> None:
        self.cycle.flow.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        self.cycle.disconnected = True
        self.cycle.flow.resume_writing()


def sent_as_file(
    make_loop: Callable[[], asyncio.AbstractEventLoop],
    client: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bytes]],
    stall_seconds: float = 30,
) -> tuple[bytes, int | BaseException]:
    """What the client got, and what came of the sending, of all but the first 100 octets of a file that is shorter than was believed."""

    async def run() -> tuple[bytes, int | BaseException]:
        pages, came = Pages(Room(1), BODY), asyncio.Queue[int | BaseException]()
        server = await asyncio.get_running_loop().create_server(lambda: FileServer(pages.fd, came, stall_seconds), "127.0.0.1", 0)
        async with asyncio.timeout(30):
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), limit=4096)
            found = await client(reader, writer)
            outcome = await came.get()
        writer.close()
        server.close()
        return found, outcome

    with asyncio.Runner(loop_factory=make_loop) as runner:
        return runner.run(run())


@pytest.mark.parametrize("make_loop", LOOPS)
def test_a_file_waits_for_a_slow_client(make_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def client(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> bytes:
        return await reader.readexactly(len(BODY) - 100)

    found, outcome = sent_as_file(make_loop, client)
    assert found == BODY[100:]
    assert outcome == len(BODY) - 100


@pytest.mark.parametrize("make_loop", LOOPS)
def test_a_client_that_takes_nothing_is_not_waited_for_for_ever(make_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def client(*_: object) -> bytes:
        return b""

    _, outcome = sent_as_file(make_loop, client, stall_seconds=0.05)
    assert isinstance(outcome, TimeoutError)


@pytest.mark.parametrize("make_loop", LOOPS)
def test_a_client_that_leaves_ends_a_file(make_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        found = await reader.readexactly(10)
        writer.transport.abort()
        return found

    found, outcome = sent_as_file(make_loop, client)
    assert (found, type(outcome)) == (BODY[100:110], ClientDisconnected)
