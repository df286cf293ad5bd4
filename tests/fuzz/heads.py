"""Requests over real sockets to a running node, changed at random. Each is answered with what HTTP allows, or its connection ends; none is
answered 500, and after them the node is as before."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from minicdn.loops import loop_factory
from tests.fuzz.mutations import mutate
from tests.kit.program import Minicdn
from tests.kit.rss import rss_bytes

END_SECONDS = 5.0
"""A connection whose client has said its last word ends within this."""
LOOK_EVERY = 5000
WARM_COUNT = 20_000
GROWTH_BYTES_MAX = 48 * 1024 * 1024
AT_ONCE = 128
LISTEN_SECONDS = 0.02
ANSWER_BYTES_MAX = 256 * 1024

HOST = b"Host: 127.0.0.1\r\n"
REQUESTS = [
    b"GET /good.bin HTTP/1.1\r\n" + HOST + b"\r\n",
    b"HEAD /good.bin HTTP/1.1\r\n" + HOST + b"Accept-Encoding: gzip, br;q=0.5\r\n\r\n",
    b"GET /good.bin HTTP/1.1\r\n" + HOST + b'Range: bytes=10-20,30-40,-5\r\nIf-Range: "x"\r\n\r\n',
    b"GET /large.bin HTTP/1.1\r\n" + HOST + b"Range: bytes=100000-100999\r\n\r\n",
    b"GET /good.bin?a=1&b=%20 HTTP/1.1\r\n" + HOST + b'If-None-Match: "a", W/"b"\r\nCache-Control: no-cache\r\n\r\n',
    b"GET /a/../%67ood.bin HTTP/1.0\r\nIf-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\nConnection: keep-alive\r\n\r\n",
    b"GET http://127.0.0.1:1/good.bin HTTP/1.1\r\n" + HOST + b"\r\n",
    b"POST /good.bin HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
    b"PUT /x HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX-T: 1\r\n\r\n",
    b"PURGE /gone/* HTTP/1.1\r\n" + HOST + b"X-Minicdn-Purge: hard\r\n\r\n",
    b"GET /_stats HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /_explain?target=%2Fgood.bin HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /_play/good.bin HTTP/1.1\r\n" + HOST + b"Range: bytes=0-\r\n\r\n",
    b"POST /_purge HTTP/1.1\r\n" + HOST + b'Content-Type: application/json\r\nContent-Length: 22\r\n\r\n{"prefixes":["/gone/"]}',
    b"POST /_rpc/get HTTP/1.1\r\n" + HOST + b"Content-Type: application/msgpack\r\nContent-Length: 6\r\n\r\n\x81\xa3key\xa1",
    b"OPTIONS * HTTP/1.1\r\n" + HOST + b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n\r\n",
    b"GET /good.bin HTTP/1.1\r\n" + HOST + b"Authorization: Bearer abc\r\nX-Minicdn-Data: {}\r\nX-Minicdn-Type: json\r\n\r\n",
]
WORDS = [
    *(b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b"\x80\xff", b"%00", b"%", b"..", b"/_", b"//", b"*", b",", b'"', b"\r\n\r\n"),
    *(b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n", b"Content-Length: 99999999999999999999\r\n", b"Connection: close\r\n"),
    *(b"Range: bytes=", b"bytes=0-0", b"-1", b"18446744073709551616", b"HTTP/1.1", b"HTTP/9.9", b"GET ", b"CONNECT ", b"X" * 5000),
    *(b"Via: 1.1 minicdn-x\r\n", b"Cache-Control: only-if-cached\r\n", b"If-Match: *\r\n", b"Vary: *\r\n", b"Host: elsewhere.example\r\n"),
    *(b"http://elsewhere.example/", b"a" * 70_000, b"0\r\n\r\n", b"ffffffffffffffff\r\n"),
    *(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01"),
]
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


@dataclass
class Ran:
    """statuses: of first answers; 0: the connection ended without a word."""

    requests_count: int = 0
    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)

    def line(self) -> str:
        told = ", ".join(f"{status or 'closed'}: {count}" for status, count in sorted(self.statuses.items()))
        grown = f"memory {self.memory[0] >> 20} → {self.memory[-1] >> 20} MiB" if self.memory else "memory not looked at"
        return f"{self.requests_count} requests in {self.seconds:.0f} s; first answers {told}; {grown}; wrong: {len(self.wrong)}"


def connections(seed: int, count: int) -> list[list[bytes]]:
    """What so many clients say, each in one connection: a request, or several without waiting."""
    rng = random.Random(seed)
    return [[_request(rng) for _ in range(rng.choice((1, 1, 1, 2, 3)))] for _ in range(count)]


def _request(rng: random.Random) -> bytes:
    request = rng.choice(REQUESTS)
    return request if rng.random() < 0.1 else mutate(rng, request, WORDS)


class Client(asyncio.Protocol):
    """Says it all at once, listens for a moment, and says that this was all."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._timer: asyncio.TimerHandle | None = None
        self.answer = bytearray()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        transport.write(self._octets)
        self._timer = asyncio.get_running_loop().call_later(LISTEN_SECONDS, lambda: transport.is_closing() or transport.write_eof())

    def data_received(self, data: bytes) -> None:
        if len(self.answer) < ANSWER_BYTES_MAX:
            self.answer += data

    def connection_lost(self, error: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self.ended.done():
            self.ended.set_result(None)


class Fuzzing:
    """node: fresh, and used by nobody else; its upstream has /good.bin."""

    connections = staticmethod(connections)

    def __init__(self, node: Minicdn, good: bytes) -> None:
        self._node, self._good = node, good
        self.ran = Ran()

    def run(self, seed: int, requests_max: int, seconds_max: float) -> Ran:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(self._run(seed, requests_max, time.monotonic() + seconds_max))
        return self.ran

    async def _run(self, seed: int, requests_max: int, ends_at: float) -> None:
        began_at, ran = time.monotonic(), self.ran
        while ran.requests_count < requests_max and time.monotonic() < ends_at and not ran.wrong:
            said = self.connections(seed, min(LOOK_EVERY, requests_max - ran.requests_count))
            turns = iter(said)
            await asyncio.gather(*(self._speak(turns) for _ in range(AT_ONCE)))
            ran.requests_count += sum(map(len, said))
            await asyncio.to_thread(self._look, seed)
            seed += 1
        ran.seconds = time.monotonic() - began_at

    async def _speak(self, turns: Iterator[list[bytes]]) -> None:
        for number, requests in enumerate(turns):
            octets = b"".join(requests)
            try:
                async with asyncio.timeout(END_SECONDS):
                    answer = await self._exchange(octets, f"127.0.0.{number % 8 + 1}")
            except TimeoutError:
                self.ran.wrong.append(f"no end within {END_SECONDS:g} s: {octets[:2000]!r}")
                return
            found = STATUS.match(answer)
            self.ran.statuses[int(found[1]) if found else 0] += 1
            if (answer and not found) or b"HTTP/1.1 500" in answer:
                self.ran.wrong.append(f"{answer[:200]!r} for {octets[:2000]!r}")

    async def _exchange(self, octets: bytes, address: str) -> bytes:
        try:
            transport, client = await asyncio.get_running_loop().create_connection(lambda: Client(octets), address, self._node.port)
        except OSError:
            return b""
        try:
            await client.ended
        finally:
            transport.close()
        return bytes(client.answer)

    def _look(self, seed: int) -> None:
        """Between two lots: the node is well."""
        node, ran = self._node, self.ran
        if not node.is_running() or "Traceback" in node.output:
            ran.wrong.append(f"seed {seed}: {node.show()}")
            return
        answer = node.ask("/good.bin", deadline_seconds=5)
        if (answer.status, answer.body) != (200, self._good):
            ran.wrong.append(f"seed {seed}: /good.bin is {answer.status} with {len(answer.body)} bytes")
        if ran.requests_count >= WARM_COUNT:
            ran.memory.append(rss_bytes(node.pid))
            if ran.memory[-1] - ran.memory[0] > GROWTH_BYTES_MAX:
                ran.wrong.append(f"seed {seed}: memory grew from {ran.memory[0] >> 20} to {ran.memory[-1] >> 20} MiB")
