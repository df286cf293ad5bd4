"""Clients that come, pipeline and leave at any moment, purges, and an upstream that answers in parts, too little, too much, late or not at
all: afterwards nothing is held by anybody."""

from __future__ import annotations

import asyncio
import gc
import random
from contextlib import AsyncExitStack
from typing import Any

import pytest

pytest.importorskip("httptools")

from minicdn.core.purging import Purge
from minicdn.node.fill import Fill
from tests.unit.web.lanes import ANSWERS, Side, Upstream, Watch, Wire, get

PATHS = [*(path.decode() for path in ANSWERS), "/unknown"]
LINES = ((), (), ("Accept: x",), ("Range: bytes=0-1",), ('If-None-Match: "e"',))
STEPS_COUNT = 400


class Wild(Upstream):
    def __init__(self, watch: Watch, rng: random.Random) -> None:
        super().__init__(watch)
        self._rng = rng

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        rng = self._rng
        try:
            while True:
                said = self._answer(await reader.readuntil(b"\r\n\r\n"))
                fate = rng.random()
                if fate < 0.1:
                    writer.write(said[: rng.randrange(len(said)) if fate < 0.05 else 0])
                    break
                if fate < 0.2:
                    said = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + said
                if fate > 0.97:
                    said += b"x"
                await asyncio.sleep(0.06 if fate > 0.95 else 0)
                cuts = sorted(rng.randrange(len(said)) for _ in range(rng.choice((0, 0, 1, 2))))
                for start, end in zip([0, *cuts], [*cuts, len(said)], strict=True):
                    writer.write(said[start:end])
                    await asyncio.sleep(rng.choice((0, 0, 0.001, 0.004)))
        except (asyncio.IncompleteReadError, ConnectionError, RuntimeError, asyncio.CancelledError):  # uvloop: it is closed
            pass
        writer.close()


def step(side: Side, watch: Watch, wires: list[Wire], rng: random.Random) -> float:
    """How long nothing happens after it."""
    kind = rng.random()
    wire: Any = rng.choice(wires) if wires else side.connect()
    if kind < 0.4:
        target = rng.choice(PATHS) + rng.choice(("", "?a", f"?b{rng.randrange(30)}"))
        if rng.random() < 0.7:
            wire = side.connect()
            wires.append(wire)
        for _ in range(rng.choice((1, 1, 2)) if not wire.is_closed else 0):
            wire.protocol.data_received(get(target, *rng.choice(LINES)))
    elif kind < 0.5:
        wire.close()
    elif kind < 0.53 and not wire.is_closed:
        wire.is_closed = True  # which its protocol hears of in a moment
        asyncio.get_running_loop().call_later(0.002, wire.protocol.connection_lost, None)
    elif kind < 0.56:
        side.node.cache._dock.tell(Purge(prefixes=("/",), is_soft=rng.random() < 0.5), rng.random() < 0.5)
    elif kind < 0.6:
        watch.at += rng.choice((0.1, 1, 5, 30))
    elif kind < 0.62:
        wire.protocol.shutdown()
    else:
        return rng.choice((0, 0.001, 0.01))
    return -1.0


@pytest.mark.parametrize("seed", range(6))
def test_nothing_is_held_by_anybody_afterwards(seed: int) -> None:
    rng = random.Random(seed)
    bugs: list[Any] = []

    async def story() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: bugs.append(context))
        watch, wires = Watch(), list[Wire]()
        async with asyncio.timeout(60), AsyncExitStack() as stack:
            origin = Wild(watch, rng)
            server = await asyncio.start_server(origin.serve, "127.0.0.1", 0)
            origin.port = server.sockets[0].getsockname()[1]
            stack.callback(server.close)
            side = Side(watch, origin.port, upstream_read_seconds=0.05, upstream_connections_max=rng.choice((2, 5, 20)))
            await side.role.start()
            stack.push_async_callback(side.role.stop)
            for _ in range(STEPS_COUNT):
                if (seconds := step(side, watch, wires, rng)) >= 0:
                    await asyncio.sleep(seconds)
            await asyncio.wait_for(side.settle(), 10)
            await side.settle()
            await asyncio.sleep(0.01)
            check(side, wires)

    asyncio.run(story())
    assert not bugs, bugs


def check(side: Side, wires: list[Wire]) -> None:
    dock, upstream = side.node.cache._dock, side.node.upstream
    pool: Any = upstream._upstream._door._transport._pool  # type: ignore[union-attr]
    assert pool.statistics()["taken_count"] == 0 and pool._free_count == pool._connections_max
    assert not dock._fills and not dock._flights and not dock._filling
    for wire in wires:
        cycle = wire.protocol.cycle  # type: ignore[attr-defined]
        assert wire.is_closed or cycle is None or cycle.response_complete
    gc.collect()
    assert not [found for found in gc.get_objects() if isinstance(found, Fill) and found.waiting_count]
    for key in [*side.node.shelf.keys()]:
        assert all(entry.body.is_whole and not entry.body._holds_count for entry in side.node.shelf.find(key))
    assert side.node.shelf.statistics()["memory_filling_bytes"] == 0
