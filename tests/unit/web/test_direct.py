"""The direct way by itself: who waits on it and leaves, is overtaken, or has to be given to the normal way. (What it says is compared with
the normal way in tests/property/test_express_equals_normal.py.)"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

pytest.importorskip("httptools")

from minicdn.core.message import Request
from minicdn.core.purging import Purge
from minicdn.web.direct import Waiting
from tests.unit.web.lanes import ANSWERS, Side, Upstream, Watch, Wire, get, upstream

Story = Callable[[Side, Upstream], Awaitable[None]]


CONNECTIONS_COUNT = 8


async def keep_connections(side: Side, origin: Upstream) -> None:
    """To the upstream: a question needs no task then."""
    origin.held = asyncio.Event()
    for number in range(CONNECTIONS_COUNT):
        asked(side, f"/plain/kept/{number}")
    while origin.asked_count < CONNECTIONS_COUNT:  # noqa: ASYNC110 — there is no event for it
        await asyncio.sleep(0)
    let_go(origin)
    await side.settle()
    side.lines.clear()
    side.node.counters.values.update(requests_count=0)
    origin.asked_count = 0


@pytest.fixture(params=[False, True], ids=["in-a-task", "without"], autouse=True)
def is_kept(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Each story is told twice: where the upstream has to be connected to, and where there are connections."""
    monkeypatch.setattr("tests.unit.web.test_direct.ARE_KEPT", request.param)
    return request.param


ARE_KEPT = False


def play(story: Story, **settings: Any) -> None:
    """The upstream answers nobody until it is told to."""

    async def run() -> None:
        watch = Watch()
        async with asyncio.timeout(30), AsyncExitStack() as stack:
            origin = await stack.enter_async_context(upstream(watch))
            origin.held = asyncio.Event()
            side = Side(watch, origin.port, **settings)
            await side.role.start()
            stack.push_async_callback(side.role.stop)
            if ARE_KEPT:
                await keep_connections(side, origin)
                origin.held = asyncio.Event()
            await story(side, origin)

    asyncio.run(run())


def asked(side: Side, *targets: str) -> Wire:
    wire = side.connect()
    wire.protocol.data_received(b"".join(map(get, targets)))  # type: ignore[attr-defined]
    return wire


def let_go(origin: Upstream) -> None:
    assert origin.held is not None
    origin.held.set()


@pytest.mark.parametrize("target", ["/plain", "/empty", "/gone", "/no-store", "/vary"])
def test_who_waits_is_answered_once_and_all_by_one_fill(target: str) -> None:
    async def story(side: Side, origin: Upstream) -> None:
        wires = [asked(side, target) for _ in range(5)]
        assert all(isinstance(wire.protocol.cycle, Waiting) for wire in wires)  # type: ignore[attr-defined]
        let_go(origin)
        await side.settle()
        bodies = {wire.octets.split(b"\r\n\r\n", 1)[1] for wire in wires}
        assert len(bodies) == 1 and all(wire.octets.count(b"HTTP/1.1 ") == 1 for wire in wires)
        assert origin.asked_count == (5 if target == "/no-store" else 1)
        assert side.node.counters.get("requests_count") == len(side.lines) == 5

    play(story)


def test_who_leaves_is_logged_and_waits_for_nothing() -> None:
    async def story(side: Side, origin: Upstream) -> None:
        leaving, staying = asked(side, "/plain"), asked(side, "/plain")
        leaving.close()
        await asyncio.sleep(0)
        (line,) = side.lines
        assert (line.status, line.bytes, line.success, line.source, line.key) == (0, 0, False, "none", "/plain")
        let_go(origin)
        await side.settle()
        assert staying.octets.endswith(b"hello") and not leaving.octets

    play(story)


class Slow(Upstream):
    """parts_count: in how many writes an answer comes, a moment between them."""

    parts_count = 1

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                head, body = self._answer(request).split(b"\r\n\r\n", 1)
                head += b"\r\n\r\n"
                if b"/unasked" in request:
                    head, body = head.replace(b" 404 ", b" 304 "), b""
                for part in ([head + body], [head + body[:3], body[3:]], [head, body[:3], body[3:]])[self.parts_count - 1]:
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(0.02)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


@pytest.mark.parametrize("parts_count", [1, 2, 3])
@pytest.mark.parametrize("target", ["/plain", "/empty", "/joined", "/apart", "/gone", "/no-store", "/vary", "/unasked"])
def test_an_answer_that_comes_bit_by_bit_is_waited_for(target: str, parts_count: int) -> None:
    """By a connection that was used before: what is asked by it has no task until its answer turns out not to have come whole."""
    end = ANSWERS[target.encode()][2] if target != "/unasked" else b"without a condition\n"

    async def run() -> None:
        watch = Watch()
        origin = Slow(watch)
        server = await asyncio.start_server(origin.serve, "127.0.0.1", 0)
        side = Side(watch, server.sockets[0].getsockname()[1])
        await side.role.start()
        try:
            async with asyncio.timeout(30):
                await side.get("/heuristic")
                origin.parts_count = parts_count
                wires = [asked(side, target) for _ in range(2)]
                await side.settle()
                assert all(wire.octets.startswith(b"HTTP/1.1 ") and wire.octets.endswith(end) for wire in wires)
        finally:
            await side.role.stop()
            server.close()

    asyncio.run(run())


@pytest.mark.parametrize("has_lane", [True, False])
@pytest.mark.parametrize("target", ["/old", "/private"])
def test_what_was_purged_while_it_was_on_its_way_is_said_as_it_would_be_stored(target: str, has_lane: bool) -> None:
    """It is not kept, so its entry still has the head as the upstream sent it."""

    async def story(side: Side, origin: Upstream) -> None:
        wire = asked(side, target)
        for _ in range(10):  # until it is asked for on the normal way, too
            await asyncio.sleep(0)
        side.node.purger.begin(Purge(frozenset((target,)), is_soft=False))
        let_go(origin)
        await side.settle()
        head = wire.octets.split(b"\r\n\r\n", 1)[0].lower()
        assert head.startswith(b"http/1.1 200") and wire.octets.endswith((b"old", b"private"))
        assert head.count(b"\r\nage: ") == 1 and b"\r\nset-cookie:" not in head
        assert not side.node.cache.stored_for(target)

    play(story, has_lane=has_lane)


def test_a_fill_for_nobody_is_not_waited_for() -> None:
    async def story(side: Side, origin: Upstream) -> None:
        wire = asked(side, "/no-store")
        fill = side.node.cache.begin(Request("GET", b"/no-store", "/no-store"), lambda status, fields: None).fill  # type: ignore[union-attr]
        assert fill.waiting_count == 1
        wire.close()
        await asyncio.sleep(0)
        assert fill.waiting_count == 0
        let_go(origin)
        await side.settle()

    play(story)


def taken_count(side: Side) -> int:
    upstream: Any = side.node.upstream
    return upstream._upstream._door._transport._pool.statistics()["taken_count"]


@pytest.mark.parametrize("is_closing", [False, True], ids=["before", "while it comes"])
@pytest.mark.parametrize("target", ["/no-store", "/plain"])
def test_what_comes_for_nobody_gives_back_its_connection(target: str, is_closing: bool) -> None:
    """Nobody wants the body of an answer that can't be kept: its fill is ended, maybe before its task has made a step."""

    async def story(side: Side, origin: Upstream) -> None:
        let_go(origin)
        await side.get("/empty")  # leaves a connection
        origin.held = asyncio.Event()
        wire = asked(side, target)
        if is_closing:
            wire.is_closed = True
        else:
            wire.close()
            await asyncio.sleep(0)
        assert taken_count(side) == 1
        let_go(origin)
        await side.settle()
        await side.settle()
        assert taken_count(side) == 0
        assert not side.node.cache._dock._filling and not side.node.cache._dock._flights
        assert [line.status for line in side.lines] == [200, 0]

    play(story)


def test_what_comes_meanwhile_has_its_turn_afterwards() -> None:
    async def story(side: Side, origin: Upstream) -> None:
        wire = asked(side, "/plain")
        wire.protocol.data_received(get("/empty"))  # type: ignore[attr-defined]
        wire.protocol.data_received(get("/gone"))  # type: ignore[attr-defined]
        assert not wire.octets
        let_go(origin)
        await side.settle()
        assert [line.key for line in side.lines] == ["/plain", "/empty", "/gone"]
        assert wire.octets.index(b"hello") < wire.octets.index(b"410 Gone")

    play(story)


@pytest.mark.parametrize("target", ["/plain", "/apart", "/gone", "/no-store", "/vary"])
def test_a_head_without_its_body_answers_nobody_yet(target: str) -> None:
    """It was asked for without a task, and a task goes on from its head: who waits hears of it when there is something to say."""

    async def story(side: Side, origin: Upstream) -> None:
        let_go(origin)
        await side.get("/empty")  # leaves a connection
        origin.is_split = True
        bugs: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: bugs.append(context))
        wires = [asked(side, target) for _ in range(3)]
        await side.settle()
        await side.settle()
        assert not bugs
        assert {wire.octets.split(b"\r\n\r\n", 1)[1] for wire in wires} == {ANSWERS[target.encode()][2]}

    play(story)


@pytest.mark.parametrize("target", ["/plain", "/gone"])
def test_a_node_that_closes_says_so_in_the_answer(target: str) -> None:
    async def story(side: Side, origin: Upstream) -> None:
        wire = asked(side, target)
        wire.protocol.shutdown()  # type: ignore[attr-defined]
        assert not wire.is_closed
        let_go(origin)
        await side.settle()
        assert b"\r\nconnection: close\r\n" in wire.octets.lower() and wire.is_closed

    play(story)


@pytest.mark.parametrize("target", ["/apart", "/plain", "/no-store"])
@pytest.mark.parametrize("first_bytes", [1, 20, -4, -1, 0])
def test_an_answer_that_comes_in_two(target: str, first_bytes: int) -> None:
    """Cut in its first line, in its head, at the end of the head (−4: before the empty line's end), or in the body."""

    async def story(side: Side, origin: Upstream) -> None:
        body = ANSWERS[target.encode()][2]
        origin.said_first = (
            first_bytes if first_bytes > 0 else len(origin._answer(b"GET %b HTTP/1.1" % target.encode())) - len(body) + first_bytes
        )
        if not first_bytes:
            origin.said_first += len(body) // 2
        wires = [asked(side, target) for _ in range(3)]
        leaving = asked(side, target)
        let_go(origin)
        while not origin.waits_count:  # noqa: ASYNC110 — there is no event for it
            await asyncio.sleep(0)
        for _ in range(20):  # what was sent is read
            await asyncio.sleep(0.001)
        leaving.close()
        origin.goes_on.set()
        await side.settle()
        assert [wire.octets.split(b"\r\n\r\n", 1)[1] for wire in wires] == [body] * 3
        assert len(side.lines) == 4 and [line.status for line in side.lines].count(200) >= 3
        assert side.node._upstream_door._transport._pool.statistics()["taken_count"] == 0

    play(story)


@pytest.mark.parametrize("target", ["/gone", "/plain"])
def test_who_is_leaving_while_the_answer_comes_holds_no_place_in_its_fill(target: str) -> None:
    """Its connection is closing and has not been told yet: nobody would go on with the request."""

    async def story(side: Side, origin: Upstream) -> None:
        begun = side.node.cache.begin(Request("GET", target.encode(), target), lambda status, fields: None)
        assert begun is not None
        begun.fill.when_answered(lambda: wire.close())
        wire = asked(side, target)
        assert begun.fill.waiting_count == 1
        let_go(origin)
        await side.settle()
        await asyncio.sleep(0)
        assert begun.fill.waiting_count == 0 and not wire.octets
        assert [line.status for line in side.lines] == [0]

    play(story)


def test_a_peers_head_is_short_and_its_length_a_number() -> None:
    """Whoever can reach a node without a token can say anything to it."""

    async def story(side: Side, origin: Upstream) -> None:
        for host, length in (("a", "9" * 5000), ("a" * 60_000, "5")):
            wire = side.connect()
            lines = ("POST /_rpc/get HTTP/1.1", f"Host: {host}", "Content-Type: a", f"Content-Length: {length}", "", "hello")
            wire.protocol.data_received("\r\n".join(lines).encode())  # type: ignore[attr-defined]
            await side.settle()
            assert wire.octets.startswith(b"HTTP/1.1 400 ")
        assert not side.app.direct._peers._lengths

    play(story)


def test_with_a_token_no_peer_comes_this_way() -> None:
    async def story(side: Side, origin: Upstream) -> None:
        assert side.app.direct._peers is None

    play(story, token="secret-enough-for-a-test")
