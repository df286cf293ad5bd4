"""A client of the simulation: one GET on a connection of its own, redirects followed, and everything that came remembered."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from urllib.parse import urlsplit

REDIRECTS_MAX = 3


@dataclass
class Answer:
    """is_whole: the message ended as its framing says. error: what ended it otherwise."""

    url: str
    path: str
    asked_at: float
    span: tuple[int, int] | None = None
    status: int = 0
    fields: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    is_whole: bool = False
    is_close_delimited: bool = False
    error: str = ""
    ended_at: float = 0.0

    @property
    def is_good(self) -> bool:
        """A whole 200 answers a Range, too (RFC 9110 §14.2)."""
        return self.is_whole and (self.status == 200 or (self.status == 206 and self.span is not None))

    def __str__(self) -> str:
        via = " ".join(self.fields.get(name, "") for name in ("x-cache", "cache-status", "content-range", "age"))
        state = "whole" if self.is_whole else f"cut ({self.error})"
        what = f"{self.url} {self.span or ''} -> {self.status} {len(self.body)} bytes, {state}"
        return f"[{self.asked_at:.3f}..{self.ended_at:.3f}] {what}, v{self.fields.get('x-version')} {via}"


async def get(url: str, *, span: tuple[int, int] | None = None, pause_seconds: float = 0.0) -> Answer:
    """Never raises but CancelledError. pause_seconds: after each read, for a client that is slow."""
    loop = asyncio.get_running_loop()
    answer = Answer(url, urlsplit(url).path, loop.time(), span)
    try:
        for _ in range(REDIRECTS_MAX):
            await _exchange(answer, pause_seconds)
            if answer.status != 302:
                break
            answer.url = answer.fields["location"]
            answer.is_whole, answer.status = False, 0
            answer.body.clear()
    except (OSError, asyncio.IncompleteReadError, EOFError) as error:
        answer.error = type(error).__name__
    answer.ended_at = loop.time()
    return answer


async def _exchange(answer: Answer, pause_seconds: float) -> None:
    parts = urlsplit(answer.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        wanted = f"Range: bytes={answer.span[0]}-{answer.span[1] - 1}\r\n" if answer.span else ""
        writer.write(f"GET {answer.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n{wanted}Connection: close\r\n\r\n".encode())
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        answer.status = int(lines[0].split(" ")[1])
        answer.fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:] if line)}
        await _read_body(answer, reader, pause_seconds)
    finally:
        writer.transport.abort()


async def _read_body(answer: Answer, reader: asyncio.StreamReader, pause_seconds: float) -> None:
    if answer.fields.get("transfer-encoding") == "chunked":
        while size := int((await reader.readuntil(b"\r\n"))[:-2], 16):
            await _read(answer, reader, size, pause_seconds)
            await reader.readexactly(2)
        await reader.readexactly(2)
    elif "content-length" in answer.fields:
        await _read(answer, reader, int(answer.fields["content-length"]), pause_seconds)
    else:
        answer.is_close_delimited = True
        while chunk := await reader.read(65536):
            answer.body += chunk
    answer.is_whole = True


async def _read(answer: Answer, reader: asyncio.StreamReader, size: int, pause_seconds: float) -> None:
    while size:
        chunk = await reader.read(min(size, 65536))
        if not chunk:
            raise EOFError
        answer.body += chunk
        size -= len(chunk)
        if pause_seconds:
            await asyncio.sleep(pause_seconds)
