"""A node behind connections without sockets, with or without its express lane, and an upstream that always says the same."""

from __future__ import annotations

import asyncio
import email.utils
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from minicdn.core.logline import LogLine
from minicdn.node.clock import Clock
from minicdn.roles.manager import Manager
from minicdn.settings import MIB, Settings
from minicdn.web.app import build_app
from minicdn.web.httptools_protocol import ContentProtocol

START_AT = 1_790_000_000.25
HOST = "127.0.0.1:11000"


class Watch(Clock):
    """Moved by hand."""

    def __init__(self) -> None:
        self.at = START_AT

    def wall(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at - START_AT


ANSWERS: dict[bytes, tuple[int, list[str], bytes]] = {
    b"/plain": (200, ["Cache-Control: max-age=60", 'ETag: "e"', "Content-Type: text/plain"], b"hello"),
    b"/empty": (200, ["Cache-Control: max-age=60"], b""),
    b"/joined": (200, ["Cache-Control: max-age=60"], b"j" * 16_000),
    b"/apart": (200, ["Cache-Control: max-age=60", "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT"], b"a" * 20_000),
    b"/short": (200, ["Cache-Control: max-age=2"], b"short"),
    b"/old": (200, ["Cache-Control: max-age=60", "Age: 58"], b"old"),
    b"/stale": (200, ["Cache-Control: max-age=2, stale-while-revalidate=5", 'ETag: "s"'], b"stale"),
    b"/vary": (200, ["Cache-Control: max-age=60", "Vary: Accept-Encoding"], b"varies"),
    b"/no-cache": (200, ["Cache-Control: no-cache, max-age=60", 'ETag: "n"'], b"no-cache"),
    b"/withheld": (200, ['Cache-Control: no-cache="set-cookie", max-age=60', "Set-Cookie: a=b"], b"withheld"),
    b"/private": (200, ['Cache-Control: private="set-cookie", max-age=60', "Set-Cookie: a=b"], b"private"),
    b"/no-store": (200, ["Cache-Control: no-store"], b"no-store"),
    b"/gone": (410, ["Cache-Control: max-age=60"], b"gone"),
    b"/heuristic": (200, ["Last-Modified: 25 seconds ago"], b"heuristic"),
    b"/cookie": (200, ["Cache-Control: max-age=60", "Set-Cookie: a=b", "X-Odd: caf\xe9"], b"cookie"),
}


class Upstream:
    """asked_count: requests so far. bodies: what a path has instead of its own, from now on. is_split: bodies come a moment after heads."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self.asked_count = 0
        self.bodies: dict[bytes, bytes] = {}
        self.held: asyncio.Event | None = None
        self.said_first: int | None = None
        """So much of an answer is sent at first, and the rest when it is let go on."""
        self.goes_on = asyncio.Event()
        self.waits_count = 0
        self.is_split = False
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if b"transfer-encoding: chunked" in head.lower():
                    await reader.readuntil(b"0\r\n\r\n")
                length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                await reader.readexactly(int(length[0].split(b":")[1]) if length else 0)
                self.asked_count += 1
                if self.held is not None:
                    await self.held.wait()
                answer = self._answer(head)
                if self.said_first is not None:
                    writer.write(answer[: self.said_first])
                    answer = answer[self.said_first :]
                    self.waits_count += 1
                    await self.goes_on.wait()
                end = answer.index(b"\r\n\r\n") + 4 if self.is_split else 0
                writer.write(answer[:end])
                await asyncio.sleep(0.02 if end else 0)
                writer.write(answer[end:])
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def _answer(self, head: bytes) -> bytes:
        method, target = head.split(b" ")[:2]
        path = b"/" + target.split(b"?")[0].strip(b"/").split(b"/")[0]
        status, lines, body = ANSWERS.get(path, (404, [], b"nothing"))
        body = self.bodies.get(path, body)
        tag = next((line[6:].encode() for line in lines if line.startswith("ETag")), b"-")
        if tag in head and b"if-none-match" in head.lower():
            status, body = 304, b""
        lines = [line.replace("25 seconds ago", _date(self._watch.at - 25)) for line in lines]
        lines.append(f"Date: {_date(self._watch.at)}")
        if status != 304:
            lines.append(f"Content-Length: {len(body)}")
        start = f"HTTP/1.1 {status} Said So\r\n".encode() + "".join(f"{line}\r\n" for line in lines).encode("latin-1") + b"\r\n"
        return start if method == b"HEAD" else start + body


def _date(at: float) -> str:
    return email.utils.formatdate(at, usegmt=True)


class Wire(asyncio.Transport):
    """A connection's transport: what was written to it, and whether it was closed."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__({"peername": ("10.0.0.5", 50123), "sockname": ("127.0.0.1", 11000)})
        self.written: list[bytes] = []
        self.is_closed = False
        self.protocol = protocol
        protocol.connection_made(self)

    @property
    def octets(self) -> bytes:
        return b"".join(self.written)

    def write(self, data: Any) -> None:
        assert not self.is_closed
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    abort = close

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Side:
    """A manager that serves. has_lane False: all requests go the normal way. http: the protocol that reads them."""

    http: Any = ContentProtocol

    def __init__(self, watch: Watch, port: int, *, has_lane: bool = True, **settings: Any) -> None:
        found = {"upstream": f"http://127.0.0.1:{port}", "port": 11000, "memory_bytes": 64 * MIB, "cache_dir": None, **settings}
        self.role = Manager(Settings(**found), node_id="n", clock=watch, say=lambda text: None)
        self.node = self.role.node
        self.lines: list[LogLine] = []
        self.node.on_log = self.lines.append
        self.app = build_app(self.role)
        self.express = self.app.express
        self.served_count = self.made_count = 0
        self._count_served()
        if not has_lane:
            del self.app.express
            del self.app.direct
        self._state = ServerState()
        self._config = uvicorn.Config(
            self.app, http=self.http, ws="none", lifespan="off", interface="asgi3", log_config=None, access_log=False,
            proxy_headers=False,
        )  # fmt: skip
        self._config.load()

    def _count_served(self) -> None:
        serve = self.express.serve

        def counting(*arguments: Any) -> bool:
            is_served = serve(*arguments)
            self.served_count += is_served
            return is_served

        self.express.serve = counting

    def connect(self) -> Wire:
        return Wire(self.protocol())

    def protocol(self) -> Any:
        self.made_count += 1
        return self.http(config=self._config, server_state=self._state, app_state={}, _loop=asyncio.get_running_loop())

    async def send(self, *pieces: bytes, is_settled: bool = True) -> Wire:
        """On a connection of its own, piece by piece, each after what the one before it set off (or not)."""
        wire = self.connect()
        for piece in pieces:
            if wire.is_closed:
                break
            wire.protocol.data_received(piece)  # type: ignore[attr-defined]
            if is_settled:
                await self.settle()
        await self.settle()
        return wire

    async def settle(self) -> None:
        while self._state.tasks or self.node.stats()["fills_count"]:
            if self._state.tasks:
                await asyncio.wait(self._state.tasks)
            else:
                await asyncio.sleep(0)  # there is no event for it

    async def get(self, target: str, *lines: str) -> bytes:
        return (await self.send(get(target, *lines))).octets

    async def warm(self, target: str) -> None:
        """So that the next request takes the lane."""
        await self.get(target)
        await self.get(target)
        before = self.served_count
        await self.get(target)
        assert self.served_count == before + 1, f"{target} does not take the lane"

    async def is_served_by_lane(self, target: str, *lines: str) -> bool:
        before = self.served_count
        await self.get(target, *lines)
        return self.served_count > before

    def counters(self) -> dict[str, int]:
        return self.node.counters.snapshot()

    def log(self) -> list[LogLine]:
        """All but how long it took."""
        return [line._replace(duration_seconds=0.0) for line in self.lines]


def get(target: str, *lines: str) -> bytes:
    return "\r\n".join((f"GET {target} HTTP/1.1", f"Host: {HOST}", *lines, "", "")).encode("latin-1")


@asynccontextmanager
async def upstream(watch: Watch) -> AsyncIterator[Upstream]:
    found = Upstream(watch)
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()
        await asyncio.sleep(0)
