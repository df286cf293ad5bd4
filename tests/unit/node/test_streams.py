"""Streams: what is passed on first-hand, who waits for it, and when it is outrun."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from minicdn.core.pieces import Pieces
from minicdn.errors import BrokenBody
from minicdn.node.streams import STREAMED_BYTES_MIN, TOLD_SECONDS, Streams
from minicdn.store.body import Body
from minicdn.store.memory import MemoryStorage
from tests.unit.node.fakes import FakeClock

MIB = 1024 * 1024
LENGTH = 32 * MIB


def begun(passed_per_second: float | None = None) -> tuple[Streams, Body, Any, FakeClock]:
    clock, body = FakeClock(), Body.partial(MemoryStorage(), LENGTH)
    uplink = SimpleNamespace(rate=lambda now: passed_per_second)
    seed = SimpleNamespace(pieces=Pieces.of(LENGTH), arriving=set())
    streams = Streams(clock.monotonic, uplink)  # type: ignore[arg-type]
    body.expect(0, LENGTH)
    streams.begin(body, seed, 0, LENGTH)  # type: ignore[arg-type]
    return streams, body, seed, clock


@pytest.mark.parametrize(
    ("passed_per_second", "mib", "is_outrun"),
    [
        (None, 8, False),
        (10 * MIB, 8, False),
        (5 * MIB, 8, False),
        (3 * MIB, 8, True),
        (3 * MIB, STREAMED_BYTES_MIN / MIB - 1, False),
        (3 * MIB, (LENGTH - STREAMED_BYTES_MIN) / MIB + 1, False),
    ],
    ids=["not measured", "as quick", "half as quick", "much slower", "too early to say", "too late to matter"],
)
def test_a_stream_is_outrun_by_what_the_uplink_carries(passed_per_second: float | None, mib: float, is_outrun: bool) -> None:
    streams, body, _, clock = begun(passed_per_second)
    clock.now += mib / 8
    assert streams.is_outrun(body, int(mib * MIB)) is is_outrun


def test_who_waits_for_what_does_not_come_any_more_learns_so() -> None:
    async def story() -> None:
        streams, body, seed, _ = begun()
        with streams.waiting(body):
            body.write(0, bytes(MIB))
            await streams.wait(body, 5)
            assert streams.is_first_hand(body, 0, LENGTH)
            waiting = asyncio.ensure_future(streams.wait(body, 2 * MIB))
            await asyncio.sleep(0)
            streams.ended(body)
            body.ended(0, LENGTH)
            body.expect(MIB, LENGTH)  # by others, perhaps by who waits here
            with pytest.raises(BrokenBody):
                await waiting
            assert streams.is_first_hand(body, 0, MIB)
            assert not streams.is_first_hand(body, 0, MIB + 1)
            assert not seed.arriving
        assert body not in streams

    asyncio.run(story())


def test_a_stream_that_nobody_asks_for_is_let_go() -> None:
    async def story() -> None:
        streams, body, _, clock = begun()
        let_go: list[Body] = []
        streams.told(body, let_go.append)
        clock.now += 1
        streams.told(body, let_go.append)
        streams._look(body, let_go.append)
        assert not let_go, "the last who was told may still ask"
        clock.now += TOLD_SECONDS
        streams._look(body, let_go.append)
        assert let_go == [body]

    asyncio.run(story())
