"""The server's side of a connection, through real sockets: what may come in, in which pieces, and what must leave."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from minicdn.web.protocol import HEAD_BYTES_MAX, target_of

pytest.importorskip("httptools")

from minicdn.web.httptools_protocol import EARLY_BYTES_MAX, UNWANTED_BYTES_MAX, ContentProtocol
from minicdn.web.places import LOOKS_MAX


class App:
    """Answers as the path says; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.bodies: list[bytes] = []
        self.go_on = asyncio.Event()
        self.ended: asyncio.Queue[str] = asyncio.Queue()
        self.sent_bytes = 0

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self.asked.append(scope)
        name = scope["raw_path"].decode("ascii").strip("/").split("/")[0].replace("-", "_")
        try:
            await getattr(self, f"do_{name}", self.do_hello)(scope, receive, send)
        except BaseException as error:
            self.ended.put_nowait(type(error).__name__)
            raise
        self.ended.put_nowait("returned")

    async def do_hello(self, scope: Any, receive: Any, send: Any, *, status: int = 200, length: bytes = b"5") -> None:
        await send({"type": "http.response.start", "status": status, "headers": [(b"Content-Length", length)], "minicdn.is_followed": True})
        await send({"type": "http.response.body", "body": b"hello" if status == 200 else b""})

    async def do_empty(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def do_same(self, scope: Any, receive: Any, send: Any) -> None:
        await self.do_hello(scope, receive, send, status=304, length=b"777")

    async def do_chunked(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"X-A", b"caf\xe9")]})
        await send({"type": "http.response.body", "body": b"hello", "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        await send({"type": "http.response.body", "body": b" world"})

    async def do_echo(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            if not message["more_body"]:
                break
        self.bodies.append(body)
        await self.do_hello(scope, receive, send)

    async def do_wait(self, scope: Any, receive: Any, send: Any) -> None:
        await self.go_on.wait()
        await self.do_hello(scope, receive, send)

    async def do_watch(self, scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async def do_endless(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"Content-Length", b"%d" % (1 << 40))]})
        while True:
            await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})
            self.sent_bytes += 65536

    async def do_large(self, scope: Any, receive: Any, send: Any) -> None:
        body = bytes(8 * 1024 * 1024)
        headers = [(b"Content-Length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers, "minicdn.is_followed": True})
        await send({"type": "http.response.body", "body": body})

    async def do_fail(self, scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("on purpose")

    async def do_silent(self, scope: Any, receive: Any, send: Any) -> None:
        pass

    async def do_half(self, scope: Any, receive: Any, send: Any, error: Exception | None = None) -> None:
        headers = [(b"Content-Length", b"10")] if scope["raw_path"].endswith(b"/length") else []
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"hello", "more_body": True})
        await self.go_on.wait()
        if error is not None:
            raise error

    async def do_half_and_fail(self, scope: Any, receive: Any, send: Any) -> None:
        await self.do_half(scope, receive, send, RuntimeError("on purpose"))

    async def do_cut(self, scope: Any, receive: Any, send: Any) -> None:
        await self.do_half(scope, receive, send)
        scope["minicdn.connection"].cut()

    async def do_too_long(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"Content-Length", b"5")]})
        await send({"type": "http.response.body", "body": b"helloHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"})


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def send(self, octets: bytes) -> None:
        self._writer.write(octets)

    async def head(self) -> bytes:
        return await self._reader.readuntil(b"\r\n\r\n")

    async def read(self, size: int) -> bytes:
        return await self._reader.readexactly(size)

    async def answer(self) -> tuple[int, bytes]:
        """Of those with a length."""
        head = await self.head()
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        return int(head.split(b" ")[1]), await self.read(int(length[1]) if length and head[9:12] not in (b"204", b"304") else 0)

    async def rest(self) -> bytes:
        """Up to the end of the connection."""
        return await self._reader.read(-1)

    async def is_open(self) -> bool:
        """Whether it still answers."""
        self.send(b"GET /hello HTTP/1.1\r\nHost: h\r\n\r\n")
        try:
            return await self.answer() == (200, b"hello")
        except (EOFError, OSError):
            return False

    def finish(self) -> None:
        self._writer.write_eof()

    def stop_reading(self) -> None:
        self._writer.transport.pause_reading()  # type: ignore[attr-defined]

    def read_on(self) -> None:
        self._writer.transport.resume_reading()  # type: ignore[attr-defined]

    def reset(self) -> None:
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    def close(self) -> None:
        self._writer.close()


class Stage:
    """A server with the application above, and its clients."""

    def __init__(self, app: Any, protocol: type[ContentProtocol], keep_alive_seconds: float, buffer_bytes: int | None) -> None:
        self.app = app
        self._buffer_bytes = buffer_bytes
        self.state = ServerState()
        config = uvicorn.Config(
            app, http=protocol, ws="none", lifespan="off", interface="asgi3", log_config=None, access_log=False,
            proxy_headers=False, timeout_keep_alive=keep_alive_seconds,  # type: ignore[arg-type]
        )  # fmt: skip
        config.load()
        self._make = lambda: protocol(config=config, server_state=self.state, app_state={}, _loop=asyncio.get_running_loop())
        self._clients: list[Client] = []
        self.errors: list[str] = []

    @property
    def connection(self) -> ContentProtocol:
        (found,) = self.state.connections
        return found  # type: ignore[return-value]

    async def start(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        self._bound(listener, socket.SO_SNDBUF)
        self._server = await asyncio.get_running_loop().create_server(self._make, sock=listener)
        self.port = self._server.sockets[0].getsockname()[1]

    def _bound(self, sock: socket.socket, option: int) -> None:
        if self._buffer_bytes is not None:
            sock.setsockopt(socket.SOL_SOCKET, option, self._buffer_bytes)

    async def connect(self) -> Client:
        sock = socket.socket()
        self._bound(sock, socket.SO_RCVBUF)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
        client = Client(*await asyncio.open_connection(sock=sock))
        self._clients.append(client)
        return client

    async def ask(self, octets: bytes) -> bytes:
        """On a connection of its own, all that comes back until its end."""
        client = await self.connect()
        client.send(octets)
        return await client.rest()

    async def wait_until(self, is_so: Callable[[], Any], what: str) -> None:
        for _ in range(5000):
            if is_so():
                return
            await asyncio.sleep(0.002)
        raise AssertionError(f"never came: {what}")

    async def wait_closed(self) -> None:
        await self.wait_until(lambda: not self.state.connections, "the end of all connections")

    async def stop(self) -> None:
        self._server.close()
        for client in self._clients:
            client.close()
        for connection in list(self.state.connections):
            connection.transport.abort()
        self.app.go_on.set()
        await self.wait_closed()
        for task in list(self.state.tasks):
            task.cancel()
        await self.wait_until(lambda: not self.state.tasks, "the end of all tasks")


class Complaints(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(f"{record.getMessage().strip()}: {record.exc_info[1] if record.exc_info else ''}")


@asynccontextmanager
async def staged(
    *, keep_alive_seconds: float = 60, head_seconds: float = 60, app: Any = None, buffer_bytes: int | None = 32 * 1024
) -> AsyncIterator[Stage]:
    """buffer_bytes: small, so that a slow client shows soon; None: as the system has it."""
    protocol = type("Protocol", (ContentProtocol,), {"head_seconds": head_seconds})
    stage = Stage(app or App(), protocol, keep_alive_seconds, buffer_bytes)
    await stage.start()
    try:
        yield stage
    finally:
        await stage.stop()


def loops() -> list[Any]:
    found: list[Any] = [pytest.param(asyncio.new_event_loop, id="asyncio")]
    with contextlib.suppress(ImportError):
        import uvloop

        found.append(pytest.param(uvloop.new_event_loop, id="uvloop"))
    return found


@pytest.fixture(params=loops())
def run(request: pytest.FixtureRequest) -> Iterator[Callable[..., None]]:
    """Runs a test's story on each kind of loop. Whatever is logged or left to the loop meanwhile fails it, but for `complaints`."""
    complaints = Complaints()
    loggers = [logging.getLogger(name) for name in ("uvicorn.error", "asyncio")]
    for logger in loggers:
        logger.addHandler(complaints)

    def story(work: Awaitable[None], expected: str = "") -> None:
        async def bounded() -> None:
            async with asyncio.timeout(30):
                await work

        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(bounded())
        assert bool(complaints.found) == bool(expected) and all(expected in text for text in complaints.found), complaints.found

    yield story
    for logger in loggers:
        logger.removeHandler(complaints)


def get(path: str, *lines: str, version: str = "1.1", method: str = "GET") -> bytes:
    return "\r\n".join((f"{method} {path} HTTP/{version}", "Host: h", *lines, "", "")).encode("latin-1")


HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
HELLO_AND_CLOSE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nconnection: close\r\n\r\nhello"
CHUNKS = b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"


# What leaves


@pytest.mark.parametrize(("request_octets", "answer"), [
    (get("/hello", "Connection: close"), HELLO_AND_CLOSE),
    (get("/hello", version="1.0"), HELLO_AND_CLOSE),
    (get("/hello", "Connection: keep-alive", version="1.0"), HELLO_AND_CLOSE),
    (get("/hello", "Connection: close", method="HEAD"), HELLO_AND_CLOSE.removesuffix(b"hello")),
    (get("/empty", "Connection: close"), b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n"),
    (get("/same", "Connection: close"), b"HTTP/1.1 304 Not Modified\r\nContent-Length: 777\r\nconnection: close\r\n\r\n"),
    (get("/chunked", "Connection: close"),
        b"HTTP/1.1 200 OK\r\nX-A: caf\xe9\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n" + CHUNKS),
    (get("/chunked", "Connection: close", method="HEAD"), b"HTTP/1.1 200 OK\r\nX-A: caf\xe9\r\nconnection: close\r\n\r\n"),
    (get("/chunked", version="1.0"), b"HTTP/1.1 200 OK\r\nX-A: caf\xe9\r\nconnection: close\r\n\r\nhello world"),
])  # fmt: skip
def test_an_answer_and_its_framing(run: Any, request_octets: bytes, answer: bytes) -> None:
    async def story() -> None:
        async with staged() as stage:
            assert await stage.ask(request_octets) == answer

    run(story())


def test_a_head_with_its_whole_body_is_one_write(run: Any) -> None:
    async def story() -> None:
        async with staged() as stage:
            client = await stage.connect()
            assert await client.is_open()
            writes: list[bytes] = []
            connection = stage.connection
            transport = connection.transport

            class Recording:
                def __getattr__(self, name: str) -> Any:
                    return getattr(transport, name)

                def write(self, data: bytes) -> None:
                    writes.append(data)
                    transport.write(data)

            connection.transport = Recording()  # type: ignore[assignment]
            assert await client.is_open()
            assert writes == [HELLO]

    run(story())


@pytest.mark.parametrize("path", ["/fail", "/silent"])
def test_an_application_that_fails_before_its_answer(run: Any, path: str) -> None:
    async def story() -> None:
        async with staged() as stage:
            answer = await stage.ask(get(path))
            assert answer.startswith(b"HTTP/1.1 500 Internal Server Error\r\n") and b"connection: close" in answer

    run(story(), "ASGI")


@pytest.mark.parametrize(("path", "version"), [("/half", "1.1"), ("/half/length", "1.1"), ("/half", "1.0")])
@pytest.mark.parametrize("how", ["cut", "half-and-fail", "half"])
def test_an_answer_that_breaks_off_never_looks_whole(run: Any, path: str, version: str, how: str) -> None:
    """Chunks lack the last one, a length is not reached; what would end with the connection ends with a reset."""

    async def story() -> None:
        async with staged() as stage:
            client = await stage.connect()
            client.send(get(path.replace("half", how), version=version))
            await client.head()
            first = await client.read(5)
            stage.app.go_on.set()
            if version == "1.0":
                with pytest.raises(ConnectionResetError):
                    await client.rest()
            else:
                assert (first + await client.rest()) in (b"hello", b"5\r\nhello\r\n")
            await stage.wait_closed()

    run(story(), "" if how == "cut" else "ASGI")


def test_what_goes_beyond_its_length_does_not_leave(run: Any) -> None:
    async def story() -> None:
        async with staged() as stage:
            assert (await stage.ask(get("/too-long"))).count(b"HTTP/1.1") == 1

    run(story(), "longer than its Content-Length")


# What comes in


REQUESTS = (
    get("/hello"),
    get("/a/%C3%A9?x=%20&&", "X-Odd:  caf\xe9 \t", "x-odd:"),
    b"GET /caf\xc3\xa9/\xff?\xe9 HTTP/1.1\r\nHost: h\r\n\r\n",
    get("/b", method="M-SEARCH"),
    get("/b", method="PURGE"),
    get("/b", method="BREW"),
    get("/b", method="get"),
    get("/b", "Content-Length: 0", method="QUERY"),
    b"\r\n\r\n" + get("/blank-lines-before"),
    get("http://h/absolute?x"),
    get("*", method="OPTIONS"),
    get("h:443", method="CONNECT"),
    get("/upgrade", "Upgrade: websocket", "Connection: Upgrade"),
    get("/upgrade", "Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAA"),
    get("/echo", "Content-Length: 5", method="POST") + b"hello",
    get("/echo", "Content-Length: 5", method="BREW") + b"hello",
    get("/echo", "Transfer-Encoding: chunked", method="PUT") + b"5;x=y\r\nhello\r\n0\r\nX-Odd: trailer\r\n\r\n",
    get("/echo", "Content-Length: 5", "Upgrade: x", "Connection: upgrade", method="POST") + b"hello",
    get("/echo", "Transfer-Encoding: chunked", "Upgrade: h2c", "Connection: upgrade", method="POST") + b"5\r\nhello\r\n0\r\n\r\n",
    get("/echo", "Content-Length: 5") + b"hello",
)


async def heard(pieces: list[bytes], count: int) -> tuple[list[tuple[Any, ...]], list[bytes]]:
    """What the application is asked when these pieces come, and that each request is answered."""
    async with staged() as stage:
        client = await stage.connect()
        for piece in pieces:
            stage.connection.data_received(piece)
        assert [await client.answer() for _ in range(count)] == [(200, b"hello")] * count
        asked = [
            (scope["method"], target_of(scope), scope["raw_path"], scope["query_string"], scope["http_version"], tuple(scope["headers"]))
            for scope in stage.app.asked
        ]
        return asked, stage.app.bodies


@pytest.mark.parametrize("octets", REQUESTS, ids=[f"{number}" for number in range(len(REQUESTS))])
def test_a_request_is_the_same_in_any_two_pieces_and_byte_by_byte(octets: bytes) -> None:
    async def story() -> None:
        whole = await heard([octets], 1)
        line = octets.lstrip(b"\r\n").split(b"\r\n")[0]
        assert [(method, target) for method, target, *_ in whole[0]] == [(line.split(b" ")[0].decode(), line.split(b" ")[1])]
        assert whole[1] == ([b"hello"] if b"/echo" in octets else [])
        for at in range(1, len(octets)):
            assert await heard([octets[:at], octets[at:]], 1) == whole, at
        assert await heard([octets[at : at + 1] for at in range(len(octets))], 1) == whole

    asyncio.run(story())


PIPELINED = tuple(octets for octets in REQUESTS if b"CONNECT" not in octets)


def test_requests_in_one_piece_are_answered_in_their_order() -> None:
    """Behind chunks the parser does not say where it was; there the connection may end, but nothing may get mixed up."""
    octets = [request for request in PIPELINED if b"chunked" not in request]

    async def story() -> None:
        apart = [(await heard([request], 1))[0][0] for request in octets]
        together = await heard([b"".join(octets)], len(octets))
        assert together[0] == apart
        for size in (1, 7, 100):
            everything = b"".join(octets)
            assert await heard([everything[at : at + size] for at in range(0, len(everything), size)], len(octets)) == together

    asyncio.run(story())


def test_what_follows_chunks_in_the_same_piece(run: Any) -> None:
    chunked = get("/echo", "Transfer-Encoding: chunked", method="PUT") + b"5\r\nhello\r\n0\r\n\r\n"

    async def story() -> None:
        async with staged() as stage:
            client = await stage.connect()
            client.send(chunked + get("/second"))
            assert (await client.rest()).count(b"HTTP/1.1 200 OK") in (1, 2)
            assert stage.app.bodies == [b"hello"]
            client = await stage.connect()
            client.send(chunked)
            assert await client.answer() == (200, b"hello")
            assert await client.is_open()

    run(story())


def test_what_is_in_a_field_is_no_request(run: Any) -> None:
    """Each piece that came is looked at by the express lane only where a request may begin."""

    class WithLane(App):
        class express:
            served: list[bytes] = []  # noqa: RUF012

            @classmethod
            def serve(cls, transport: Any, client: Any, data: bytes, fd: int) -> bool:
                cls.served.append(data)
                return False

    async def story() -> None:
        app = WithLane()
        async with staged(app=app) as stage:
            client = await stage.connect()
            connection = stage.connection
            connection.data_received(get("/wait") + b"GET /b HTTP/1.1\r\nX-A: ")
            connection.data_received(get("/inside-a-field"))
            app.go_on.set()
            assert [await client.answer(), await client.answer()] == [(200, b"hello")] * 2
            connection.data_received(b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(get("/inside-a-body")))
            connection.data_received(get("/inside-a-body"))
            assert await client.answer() == (200, b"hello")
            connection.data_received(b"GET /c HT")
            connection.data_received(b"TP/1.1\r\nHost: h\r\n\r\n")
            assert await client.answer() == (200, b"hello")
            assert [scope["raw_path"] for scope in app.asked] == [b"/wait", b"/b", b"/echo", b"/c"]
            assert app.express.served and not any(b"inside" in data[:20] for data in app.express.served), app.express.served

    run(story())


def test_requests_that_come_too_early_wait_within_a_bound(run: Any) -> None:
    async def story() -> None:
        async with staged() as stage:
            client = await stage.connect()
            client.send(get("/wait"))
            await stage.wait_until(lambda: stage.app.asked, "the first")
            early = get("/early") * 40_000
            client.send(early)
            await stage.wait_until(lambda: stage.connection.flow.read_paused, "a pause")
            assert len(stage.app.asked) == 1
            assert len(stage.connection._early) <= EARLY_BYTES_MAX + 256 * 1024
            stage.app.go_on.set()
            for _ in range(2000):
                assert await client.answer() == (200, b"hello")

    run(story())


def test_a_request_behind_one_that_closes_is_not_answered(run: Any) -> None:
    async def story() -> None:
        async with staged() as stage:
            assert await stage.ask(get("/hello", "Connection: close") + get("/second")) == HELLO_AND_CLOSE
            assert len(stage.app.asked) == 1

    run(story())


def test_trailers_are_no_fields(run: Any) -> None:
    async def story() -> None:
        async with staged() as stage:
            client = await stage.connect()
            client.send(get("/echo", "Transfer-Encoding: chunked", method="POST") + b"0\r\nUser-Agent: x\r\nAuthorization: y\r\n\r\n")
            assert await client.answer() == (200, b"hello")
            assert [name for name, _ in stage.app.asked[0]["headers"]] == [b"host", b"transfer-encoding"]

    run(story())


@pytest.mark.parametrize(("octets", "status"), [
    (b"GET /" + b"x" * (2 * HEAD_BYTES_MAX), 431),
    (b"GET / HTTP/1.1\r\nX-A: " + b"x" * (2 * HEAD_BYTES_MAX), 431),
    (b"GET / HTTP/1.1\r\n" + b"x" * (2 * HEAD_BYTES_MAX), 431),
    (b"GET / HTTP/1.1\r\n" + b"X-A: 1\r\n" * HEAD_BYTES_MAX, 431),
    (b"x" * 100, 400),
    (b"\x16\x03\x01\x02\x00", 400),
    (b"GET / / HTTP/1.1\r\n\r\n", 400),
    (get("/echo", "Transfer-Encoding: gzip, chunked", method="POST"), 501),
    (get("/echo", "Content-Length: 1, 1", method="POST"), 400),
    (get("/echo", "Transfer-Encoding: chunked", method="POST") + b"zz\r\n", 400),
    (get("/echo", "Transfer-Encoding: chunked", method="POST") + b"0\r\n" + b"X-A: 1\r\n" * HEAD_BYTES_MAX, 431),
])  # fmt: skip
@pytest.mark.parametrize("before", [b"", get("/hello")], ids=["alone", "behind"])
def test_no_request(run: Any, octets: bytes, status: int, before: bytes) -> None:
    async def story() -> None:
        async with staged() as stage:
            client = await stage.connect()
            client.send(before + octets)
            if before:
                assert await client.answer() == (200, b"hello")
            head = await client.head()
            assert int(head.split(b" ")[1]) == status and b"connection: close" in head
            await stage.wait_closed()

    run(story())


def test_a_large_head_of_a_large_body_is_fine(run: Any) -> None:
    async def story() -> None:
        async with staged() as stage:
            client = await stage.connect()
            client.send(get("/echo", "X-A: " + "x" * (HEAD_BYTES_MAX - 1000), "Content-Length: 300000", method="POST") + bytes(300_000))
            assert await client.answer() == (200, b"hello")
            assert await client.is_open()

    run(story())


# Bodies of requests


def test_expect_100_continue(run: Any) -> None:
    async def story() -> None:
        async with staged() as stage:
            client = await stage.connect()
            client.send(get("/echo", "Expect: 100-continue", "Content-Length: 5", method="PUT"))
            assert await client.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
            client.send(b"hello")
            assert await client.answer() == (200, b"hello")
            assert stage.app.bodies == [b"hello"]
            assert await client.is_open()

    run(story())


def test_expect_of_a_1_0_client_is_not_met(run: Any) -> None:
    async def story() -> None:
        async with staged() as stage:
            octets = get("/echo", "Expect: 100-continue", "Content-Length: 5", method="PUT", version="1.0") + b"hello"
            assert await stage.ask(octets) == HELLO_AND_CLOSE

    run(story())


def test_who_expects_and_is_answered_at_once_finds_the_connection_closed(run: Any) -> None:
    """Whether the content will follow, nobody knows; it must not be taken for a request."""

    async def story() -> None:
        async with staged() as stage:
            octets = get("/hello", "Expect: 100-continue", "Content-Length: 50", method="PUT")
            assert await stage.ask(octets) == HELLO_AND_CLOSE

    run(story())


def test_content_that_the_application_does_not_read(run: Any) -> None:
    async def story() -> None:
        async with staged() as stage:
            client = await stage.connect()
            client.send(get("/hello", "Content-Length: 300000", method="PUT"))
            assert await client.answer() == (200, b"hello")
            client.send(bytes(300_000))
            assert await client.is_open()
            client.send(get("/hello", f"Content-Length: {1 << 30}", method="PUT"))
            assert await client.answer() == (200, b"hello")
            client.send(bytes(UNWANTED_BYTES_MAX + 1000))
            await stage.wait_closed()

    run(story())


# Clients that leave, and clients that wait


@pytest.mark.parametrize("buffer_bytes", [32 * 1024, None])
@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_client_that_leaves_ends_the_sending(run: Any, how: str, buffer_bytes: int | None) -> None:
    """Large buffers take all that is written, so that the application never waits, and the loop has no time to tell it."""

    async def story() -> None:
        async with staged(buffer_bytes=buffer_bytes) as stage:
            client = await stage.connect()
            client.send(get("/endless"))
            await client.read(1_000_000)
            getattr(client, how)()
            assert await stage.app.ended.get() == "ClientDisconnected"

    run(story())


@pytest.mark.parametrize("behind", [b"", get("/second"), b"GET /sec"], ids=["alone", "pipelined", "half-pipelined"])
def test_a_client_that_leaves_is_told_to_who_watches(run: Any, behind: bytes) -> None:
    async def story() -> None:
        async with staged() as stage:
            client = await stage.connect()
            client.send(get("/watch") + behind)
            await stage.wait_until(lambda: stage.app.asked, "the request")
            client.close()
            assert await stage.app.ended.get() == "returned"
            assert len(stage.app.asked) == 1

    run(story())


def test_a_slow_client_slows_the_application(run: Any) -> None:
    async def story() -> None:
        async with staged() as stage:
            client = await stage.connect()
            client.stop_reading()
            client.send(get("/endless"))
            before = -1
            while stage.app.sent_bytes != before or not before:
                before = stage.app.sent_bytes
                await asyncio.sleep(0.05)
            assert before < 32 * 1024 * 1024

    run(story())


def test_a_connection_that_never_says_anything_is_closed(run: Any) -> None:
    async def story() -> None:
        async with staged(keep_alive_seconds=0.1) as stage:
            client = await stage.connect()
            assert await client.rest() == b""
            await stage.wait_closed()

    run(story())


@pytest.mark.parametrize("said", [get("/hello"), get("/hello") + b"\r\n", get("/hello") * 2])
def test_an_idle_connection_is_closed(run: Any, said: bytes) -> None:
    async def story() -> None:
        async with staged(keep_alive_seconds=0.1) as stage:
            assert (await stage.ask(said)).replace(HELLO, b"") == b""
            await stage.wait_closed()

    run(story())


def test_a_connection_in_use_is_not_closed(run: Any) -> None:
    async def story() -> None:
        async with staged(keep_alive_seconds=0.2) as stage:
            client = await stage.connect()
            for _ in range(8):
                await asyncio.sleep(0.05)
                assert await client.is_open()
            client.send(get("/wait"))
            await asyncio.sleep(0.3)
            stage.app.go_on.set()
            assert await client.answer() == (200, b"hello")

    run(story())


def test_the_express_lane_keeps_a_connection_in_use_and_then_it_is_closed(run: Any) -> None:
    class Lane(App):
        class express:
            @staticmethod
            def serve(transport: Any, client: Any, data: bytes, fd: int) -> bool:
                transport.write(HELLO)
                return True

    async def story() -> None:
        async with staged(app=Lane(), keep_alive_seconds=0.2) as stage:
            client = await stage.connect()
            for _ in range(8):
                await asyncio.sleep(0.05)
                assert await client.is_open()
            assert not stage.app.asked and stage.state.total_requests == 8
            assert await client.rest() == b""
            await stage.wait_closed()

    run(story())


@pytest.mark.parametrize("said", [b"G", b"GET /x HTTP/1.1\r\n", b"GET /x HTTP/1.1\r\nHost: h\r\nX-A: 1\r\n\r", b"BREW /\xff"])
@pytest.mark.parametrize("before", [b"", get("/hello")], ids=["first", "second"])
def test_a_head_that_does_not_end_is_answered_408(run: Any, said: bytes, before: bytes) -> None:
    async def story() -> None:
        async with staged(head_seconds=0.1) as stage:
            answer = (await stage.ask(before + said)).removeprefix(HELLO)
            assert answer.startswith(b"HTTP/1.1 408 ") and b"connection: close" in answer

    run(story())


def test_a_head_that_comes_bit_by_bit_has_one_deadline(run: Any) -> None:
    async def story() -> None:
        async with staged(head_seconds=0.2) as stage:
            client = await stage.connect()
            client.send(b"GET /x HTTP/1.1\r\nHost: h\r\n")
            dripping = asyncio.ensure_future(drip(client))
            assert (await client.head()).startswith(b"HTTP/1.1 408 ")
            dripping.cancel()

    async def drip(client: Client) -> None:
        while True:
            client.send(b"X-A: 1\r\n")
            await asyncio.sleep(0.02)

    run(story())


def test_a_head_has_its_time_even_if_the_keep_alive_time_is_shorter(run: Any) -> None:
    async def story() -> None:
        async with staged(keep_alive_seconds=0.1, head_seconds=10) as stage:
            client = await stage.connect()
            client.send(b"GET /x HTTP/1.1\r\nHos")
            await asyncio.sleep(0.4)
            client.send(b"t: h\r\n\r\n")
            assert await client.answer() == (200, b"hello")

    run(story())


def test_a_body_that_stops_coming_costs_the_connection(run: Any) -> None:
    async def story() -> None:
        async with staged(keep_alive_seconds=0.05) as stage:
            client = await stage.connect()
            client.send(get("/echo", "Content-Length: 50", method="PUT") + b"hello")
            await stage.wait_closed()
            assert await stage.app.ended.get() == "returned"  # it was told

    run(story())


def test_a_client_that_takes_nothing_is_cut_off(run: Any) -> None:
    """Whether the application still sends, or only the last bytes are left."""
    assert LOOKS_MAX * 0.05 < 1

    async def story() -> None:
        async with staged(keep_alive_seconds=0.05) as stage:
            for path in ("/endless", "/large"):
                client = await stage.connect()
                client.stop_reading()
                client.send(get(path))
                await stage.app.ended.get()
                await stage.wait_closed()

    run(story())


def test_a_slow_client_is_not_cut_off(run: Any) -> None:
    async def story() -> None:
        async with staged(keep_alive_seconds=0.1) as stage:
            client = await stage.connect()
            client.send(get("/large", "Connection: close"))
            head = await client.head()
            received = 0
            for _ in range(12):
                received += len(await client.read(65536))
                await asyncio.sleep(0.05)
            assert len(await client.rest()) == int(re.findall(rb"Content-Length: (\d+)", head)[0]) - received

    run(story())


# The end of the server


def test_shutdown_closes_what_is_idle_and_lets_finish_what_is_not(run: Any) -> None:
    async def story() -> None:
        async with staged() as stage:
            fresh, idle, busy = [await stage.connect() for _ in range(3)]
            assert await idle.is_open()
            busy.send(get("/wait"))
            await stage.wait_until(lambda: len(stage.app.asked) == 2, "the busy one")
            for connection in list(stage.state.connections):
                connection.shutdown()
            assert (await fresh.rest(), await idle.rest()) == (b"", b"")
            stage.app.go_on.set()
            assert await busy.rest() == HELLO_AND_CLOSE
            await stage.wait_closed()

    run(story())


def test_nothing_is_left_of_a_connection(run: Any) -> None:
    async def story() -> None:
        async with staged() as stage:
            for how in ("close", "reset"):
                client = await stage.connect()
                client.send(get("/hello") + b"GET /ha")
                assert await client.answer() == (200, b"hello")
                connection = stage.connection
                await stage.wait_until(lambda c=connection: c._head_timer is not None, "the head's deadline")
                getattr(client, how)()
                await stage.wait_closed()
                assert connection._timer.cancelled() and connection._head_timer.cancelled()

    run(story())
