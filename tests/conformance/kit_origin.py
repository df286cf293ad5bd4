"""An upstream that says just what the row says, octet for octet, and remembers what it was asked."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.conformance.kit_rows import Up
from tests.conformance.kit_wire import Message, parse_head

NAME = re.compile(rb"/c/([a-z0-9-]+\.[0-9]+)")
"""The row's own name, in every path of it."""
REASONS = {200: "OK", 206: "Partial Content", 304: "Not Modified", 404: "Not Found"}


@dataclass
class Scene:
    """What is to be answered next in one row, what was asked so far, and the texts' meaning.

    respond: makes each answer from the request, instead of `answers`.
    """

    fill_in: Callable[[str], str]
    move: Callable[[float], None]
    answers: list[Up] = field(default_factory=list)
    asked: list[Message] = field(default_factory=list)
    unexpected: list[Message] = field(default_factory=list)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    hangs_up: bool = False
    respond: Callable[[Message], Up] | None = None


class Origin:
    def __init__(self) -> None:
        self.scenes: dict[bytes, Scene] = {}
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuse connections, and end those there are."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer. False: the connection is over."""
        start, fields = parse_head((await reader.readuntil(b"\r\n\r\n"))[:-4])
        request = Message(start, fields)
        request.body = await _read_content(reader, writer, request)
        found = NAME.search(start)
        scene = self.scenes.get(found[1]) if found else None
        if scene is not None and scene.respond is not None:
            scene.asked.append(request)
            return await self._answer(writer, scene, request, scene.respond(request))
        if scene is not None and scene.hangs_up:
            return False  # the same request once more, since a reused connection may have been closing (RFC 9112 §9.3.1)
        if scene is None or not scene.answers:
            if scene is not None:
                scene.unexpected.append(request)
            writer.write(b"HTTP/1.1 599 Nobody Expected This\r\nCache-Control: no-store\r\nContent-Length: 0\r\n\r\n")
            return True
        answer = scene.answers.pop(0)
        scene.asked.append(request)
        return await self._answer(writer, scene, request, answer)

    async def _answer(self, writer: asyncio.StreamWriter, scene: Scene, request: Message, answer: Up) -> bool:
        scene.move(answer.takes)
        if answer.hold == "head":
            await scene.released.wait()
        if answer.is_silent:
            await scene.released.wait()
            return False
        if answer.hangup:
            scene.hangs_up = True
            return False
        if answer.raw is not None:
            writer.write(scene.fill_in(answer.raw.decode("latin-1")).encode("latin-1"))
            return False
        for status, lines in answer.interim:
            writer.write(_head(scene, status, lines))
        method = request.start.split(b" ")[0]
        writer.write(_head(scene, answer.status, _framed(answer)))
        if method == b"HEAD" or answer.status in (204, 304):
            return True
        return await _send_body(writer, scene, answer)


async def _send_body(writer: asyncio.StreamWriter, scene: Scene, answer: Up) -> bool:
    body = answer.body if answer.cut is None else answer.body[: answer.cut]
    if isinstance(answer.hold, int):
        writer.write(_chunk(answer, body[: answer.hold]))
        await scene.released.wait()
        body = body[answer.hold :]
    writer.write(_chunk(answer, body))
    await writer.drain()
    if answer.cut is not None or answer.framing == "close":
        return False
    if answer.framing == "chunked":
        writer.write(b"0\r\n\r\n")
    return True


def _chunk(answer: Up, data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data) if answer.framing == "chunked" and data else data


def _framed(answer: Up) -> tuple[str, ...]:
    lines = answer.lines
    names = {line.partition(":")[0].lower() for line in lines}
    if "date" not in names and "-date" not in names:
        lines = ("Date: <now>", *lines)
    lines = tuple(line for line in lines if line.lower() != "-date")
    if answer.status in (204, 304) or answer.framing in ("close", "none") or "content-length" in names:
        return lines
    return (*lines, "Transfer-Encoding: chunked" if answer.framing == "chunked" else f"Content-Length: {len(answer.body)}")


def _head(scene: Scene, status: int, lines: tuple[str, ...]) -> bytes:
    text = "".join(f"{scene.fill_in(line)}\r\n" for line in lines)
    return f"HTTP/1.1 {status} {REASONS.get(status, 'Said So')}\r\n{text}\r\n".encode("latin-1")


async def _read_content(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Message) -> bytes:
    if (request.line("expect") or "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if (request.line("transfer-encoding") or "").lower() == "chunked":
        content = b""
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            content += (await reader.readexactly(size + 2))[:-2]
        await reader.readuntil(b"\r\n")
        return content
    return await reader.readexactly(int(request.line("content-length") or 0))
