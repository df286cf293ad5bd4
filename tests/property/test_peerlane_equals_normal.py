"""What a peer is told by the short way is what the normal way tells it: the same octets and counts, whatever it asks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("httptools")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minicdn.wire.codec import encode
from minicdn.wire.fetch import FetchRequest
from tests.unit.web.lanes import ANSWERS, HOST, Side, Upstream, Watch

KEYS = [path.decode() for path in ANSWERS]
PLAIN = [(b"host", b"h"), (b"user-agent", b"x"), (b"accept-encoding", b"gzip"), (b"via", b"1.1 minicdn-other")]
TELLING = [
    (b"via", b"1.1 minicdn-n"), (b"cache-control", b"no-cache"), (b"cache-control", b"only-if-cached"), (b"cache-control", b"max-stale=99"),
    (b"authorization", b"Basic eDp5"), (b"pragma", b"no-cache"), (b"accept-encoding", b"br"),
    (b"range", b"bytes=0-1"),
]  # fmt: skip


@st.composite
def questions(draw: Any) -> bytes:
    """Mostly plain."""
    often = st.integers(0, 9)
    fetch = FetchRequest(
        draw(st.sampled_from(["GET"] * 9 + ["HEAD"])),
        draw(st.sampled_from(KEYS)),
        draw(st.lists(st.sampled_from(PLAIN * 4 + TELLING), max_size=4)),
        held=draw(st.sampled_from([None] * 9 + [b'"e"', b'"s"', b'"x"'])),
        range=draw(st.sampled_from([None] * 9 + [b"bytes=0-1", b"bytes=9-", b"bytes=x"])),
        validator=draw(st.sampled_from([None] * 9 + [b'"e"'])),
        target=draw(st.sampled_from([None] * 9 + ["/plain", "/plain?sig=1"])),
        wants_fresh=not draw(often),
        mark=draw(st.sampled_from([""] * 6 + ["a.0", "abcdef.1", "nonsense"])),
        asker=draw(st.sampled_from([None, "", "http://10.0.0.9:1"])),
    )
    message = encode(fetch.to_wire())
    if not draw(often):  # a name stands twice: the last one counts
        message = bytes((message[0] + 1,)) + message[1:] + encode({"key": draw(st.sampled_from(KEYS))})[1:]
    if not draw(often):
        message = message[: draw(st.integers(0, len(message)))]
    lines = [f"Host: {HOST}", "Content-Type: application/msgpack", f"Content-Length: {len(message)}"]
    odd = draw(st.sampled_from([""] * 12 + ["X-Odd: 1", "Connection: close", "Host: other"]))
    lines += [odd] if odd else []
    end = draw(st.sampled_from(["\r\n"] * 9 + ["\n"]))
    return end.join(("POST /_rpc/get HTTP/1.1", *lines, "", "")).encode() + message


@st.composite
def steps(draw: Any) -> tuple[float, list[bytes]]:
    """(seconds that pass before it, pieces on one connection)."""
    octets = b"".join(draw(st.lists(questions(), min_size=1, max_size=2)))
    cut = draw(st.sampled_from([0, 0, 0, 1])) and draw(st.integers(1, len(octets)))
    pieces = [octets[:cut], octets[cut:]] if 0 < cut < len(octets) else [octets]
    return draw(st.sampled_from([0.0, 0.0, 0.3, 1.0, 3.0, 61.0])), pieces


class Both:
    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self.watch = Watch()
        self.served_count = 0
        self.runner.run(self._start())

    async def _start(self) -> None:
        self.server = await asyncio.start_server(Upstream(self.watch).serve, "127.0.0.1", 0)
        port = self.server.sockets[0].getsockname()[1]
        self.quick, self.normal = [Side(self.watch, port, has_lane=has_lane) for has_lane in (True, False)]
        serve = self.quick.app.direct._peers.serve
        self.quick.app.direct._peers.serve = lambda *arguments: self._counted(serve(*arguments))
        for side in (self.quick, self.normal):
            await side.role.start()

    def _counted(self, is_served: bool) -> bool:
        self.served_count += is_served
        return is_served

    async def play(self, after_seconds: float, pieces: list[bytes]) -> None:
        self.watch.at += after_seconds
        found = []
        for side in (self.quick, self.normal):
            wire = await side.send(*pieces, is_settled=False)
            found.append((wire.octets, wire.is_closed, side.log(), side.counters()))
        quick, normal = found
        assert quick == normal

    async def _stop(self) -> None:
        for side in (self.quick, self.normal):
            await side.role.stop()
        self.server.close()

    def close(self) -> None:
        self.runner.run(self._stop())
        self.runner.close()


@pytest.fixture(scope="module")
def both() -> Iterator[Both]:
    found = Both()
    yield found
    assert found.served_count > 100
    found.close()


@given(story=st.lists(steps(), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_the_lane_says_what_the_normal_way_says(both: Both, story: list[tuple[float, list[bytes]]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(30):
            for step in story:
                await both.play(*step)

    both.runner.run(run())


def test_a_question_that_says_its_key_twice_teaches_nothing(both: Both) -> None:
    """What stands behind the key of one question must not be taken for the rest of another's."""
    plain = encode(FetchRequest("GET", "/plain", PLAIN).to_wire())
    twice = b"\x84" + plain[1:] + encode({"key": "/joined"})[1:]
    other = twice.replace(b"/plain", b"/short")

    async def run() -> None:
        for message in (plain, twice, other, twice, other):
            head = f"POST /_rpc/get HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: x\r\nContent-Length: {len(message)}\r\n\r\n"
            await both.play(0.0, [head.encode() + message] * 2)

    both.runner.run(run())


def test_a_range_among_the_clients_fields_is_heeded(both: Both) -> None:
    """No node of ours puts it there."""
    message = encode(FetchRequest("GET", "/plain", [(b"range", b"bytes=1-2")]).to_wire())
    head = f"POST /_rpc/get HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: x\r\nContent-Length: {len(message)}\r\n\r\n"

    async def run() -> None:
        for _ in range(3):
            await both.play(0.0, [head.encode() + message])

    both.runner.run(run())


@pytest.mark.parametrize("key", KEYS)
def test_each_answer_at_each_quarter_of_a_second(both: Both, key: str) -> None:
    """The same through a whole life: fresh, older, stale, fetched again."""
    message = encode(FetchRequest("GET", key, PLAIN).to_wire())
    octets = f"POST /_rpc/get HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: x\r\nContent-Length: {len(message)}\r\n\r\n".encode() + message

    async def run() -> None:
        for _ in range(14):
            await both.play(0.25, [octets])
            await both.play(0.0, [octets, octets])

    both.runner.run(run())
