"""The upstream of the simulation: versions, validators, ranges; and answers that fail, break off, or stop coming.

Every GET is noted with what it was answered and when, for the checkers.
"""

from __future__ import annotations

import asyncio
import random
import re
from dataclasses import dataclass, field

from minicdn.testing.simloop import Process
from minicdn.testing.world import World
from tests.simulation.files import File

ADDRESS = "10.0.1.1"
PORT = 80
CHUNK_BYTES = 32 * 1024


@dataclass
class Fetch:
    path: str
    version: int
    start: int
    end: int
    asker: str
    began_at: float
    ended_at: float | None = None
    is_part: bool = False
    sent_bytes: int = 0

    @property
    def is_whole(self) -> bool:
        return self.sent_until == self.end

    @property
    def sent_until(self) -> int:
        return self.start + self.sent_bytes


@dataclass
class Trouble:
    """How likely an answer goes wrong in which way; seconds: how long a stall lasts."""

    refusal: float = 0.0
    cut: float = 0.0
    stall: float = 0.0
    slow_head: float = 0.0
    stall_seconds: float = 20.0


@dataclass
class Origin:
    world: World
    rng: random.Random
    files: dict[str, File] = field(default_factory=dict)
    fetches: list[Fetch] = field(default_factory=list)
    detours: list[str] = field(default_factory=list)
    """What came through more than two nodes: an owner passes nothing on to a third."""
    trouble: Trouble = field(default_factory=Trouble)

    async def start(self) -> None:
        self._process = Process("origin", ADDRESS)
        self._server = await self.world.loop.create_task(asyncio.start_server(self._serve, ADDRESS, PORT), context=self._process.context)

    def go_down(self) -> None:
        self._server.close()

    async def come_up(self) -> None:
        self.go_down()
        await self.start()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asker = writer.get_extra_info("peername")[0]
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                if not await self._answer(head, asker, writer):
                    break
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer(self, head: str, asker: str, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection goes on."""
        lines = head.split("\r\n")
        method, path, _ = lines[0].split(" ")
        fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:] if line)}
        file = self.files.get(path)
        if fields.get("via", "").count("minicdn-") > 2:
            self.detours.append(f"{path} via {fields['via']}")
        if self.rng.random() < self.trouble.slow_head:
            await asyncio.sleep(self.rng.uniform(0.1, self.trouble.stall_seconds))
        if file is None or self.rng.random() < self.trouble.refusal:
            status = "404 Not Found" if file is None else "503 Service Unavailable"
            writer.write(f"HTTP/1.1 {status}\r\nCache-Control: no-store\r\nContent-Length: 4\r\n\r\noops".encode())
            await writer.drain()
            return True
        return await self._answer_file(file, method, fields, asker, writer)

    async def _answer_file(self, file: File, method: str, fields: dict[str, str], asker: str, writer: asyncio.StreamWriter) -> bool:
        version, now = file.version, self.world.loop.time()
        body = file.bytes_of(version)
        shown = [f"Cache-Control: {file.cache_control}", f"X-Version: {version}", "Content-Type: application/octet-stream"]
        if file.has_validator:
            shown.append(f"ETag: {file.etag(version)}")
        if file.has_ranges:
            shown.append("Accept-Ranges: bytes")
        fetch = Fetch(file.path, version, 0, len(body), asker, now)
        self.fetches.append(fetch)
        try:
            if file.has_validator and fields.get("if-none-match") == file.etag(version):
                writer.write(("\r\n".join(["HTTP/1.1 304 Not Modified", *shown]) + "\r\n\r\n").encode())
                await writer.drain()
                fetch.end = 0
                return True
            start, end = self._span(file, version, fields, len(body))
            if start >= end and body:
                shown.append(f"Content-Range: bytes */{len(body)}")
                writer.write(("\r\n".join(["HTTP/1.1 416 Range Not Satisfiable", *shown, "Content-Length: 0"]) + "\r\n\r\n").encode())
                await writer.drain()
                return True
            is_part = (start, end) != (0, len(body)) or self._is_range(file, version, fields)
            fetch.start, fetch.end, fetch.is_part = start, end, is_part
            status = "206 Partial Content" if is_part else "200 OK"
            if is_part:
                shown.append(f"Content-Range: bytes {start}-{end - 1}/{len(body)}")
            is_chunked = file.is_chunked and not is_part
            shown.append("Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {end - start}")
            writer.write(("\r\n".join([f"HTTP/1.1 {status}", *shown]) + "\r\n\r\n").encode())
            if method != "GET":
                fetch.end = fetch.start
                await writer.drain()
                return True
            return await self._send(fetch, body[start:end], is_chunked, writer)
        finally:
            fetch.ended_at = self.world.loop.time()

    async def _send(self, fetch: Fetch, body: bytes, is_chunked: bool, writer: asyncio.StreamWriter) -> bool:
        cut_at = self.rng.randrange(len(body) + 1) if self.rng.random() < self.trouble.cut else None
        stall_at = self.rng.randrange(len(body) + 1) if self.rng.random() < self.trouble.stall else None
        for position in range(0, len(body), CHUNK_BYTES):
            chunk = body[position : position + CHUNK_BYTES]
            if cut_at is not None and cut_at <= position + len(chunk):
                chunk = chunk[: cut_at - position]
                writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if is_chunked and chunk else chunk)
                if self.rng.random() < 0.5:
                    writer.transport.abort()
                return False
            writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if is_chunked else chunk)
            fetch.sent_bytes = position + len(chunk)
            await writer.drain()
            if stall_at is not None and stall_at <= position + len(chunk):
                stall_at = None
                await asyncio.sleep(self.rng.uniform(0.5, self.trouble.stall_seconds))
        if is_chunked:
            writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    def _is_range(self, file: File, version: int, fields: dict[str, str]) -> bool:
        if not file.has_ranges or not re.fullmatch(r"bytes=\d*-\d*", fields.get("range", "")):
            return False
        return fields.get("if-range", file.etag(version)) == file.etag(version)

    def _span(self, file: File, version: int, fields: dict[str, str], length: int) -> tuple[int, int]:
        if not self._is_range(file, version, fields):
            return 0, length
        first, _, last = fields["range"].removeprefix("bytes=").partition("-")
        if not first:
            return max(0, length - int(last)), length
        return int(first), min(length, int(last) + 1) if last else length
