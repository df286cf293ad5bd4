"""An upstream to which no connection can be made is left alone for moments; everything else about it rests nobody."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from minicdn.core.counters import Counters
from minicdn.errors import UpstreamError, UpstreamUnreachable
from minicdn.node.patience import PatientUpstream
from tests.unit.node.fakes import FakeClock
from tests.unit.store.making import on_loop, turns


class Wire:
    """Stands for the connections: answers what the test says, when it says so."""

    url = "http://up"

    def __init__(self) -> None:
        self.asked_count = 0
        self.error: Exception | None = None
        self.is_connected = True
        self.gate = asyncio.Event()
        self.gate.set()

    async def send(self, method: str, key: str, fields: Any, content: Any = None, *, on_connected: Any, **more: Any) -> str:
        self.asked_count += 1
        if self.is_connected and not isinstance(self.error, UpstreamUnreachable):
            on_connected()
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return f"answer {key}"


class Scene:
    def __init__(self, seed: int = 1) -> None:
        self.clock = FakeClock()
        self.wire = Wire()
        self.said: list[str] = []
        self.counters = Counters()
        self.upstream = PatientUpstream(
            self.wire,  # type: ignore[arg-type]
            counters=self.counters,
            monotonic=self.clock.monotonic,
            rng=random.Random(seed),
            wait_seconds=5.0,
            say=self.said.append,
        )

    async def ask(self, key: str = "/x") -> Any:
        """The answer, or the error."""
        try:
            return await self.upstream.send("GET", key, [])
        except UpstreamError as error:
            return error

    def down(self) -> None:
        self.wire.error = UpstreamUnreachable("the upstream http://up can't be asked: connection refused")

    def up(self) -> None:
        self.wire.error = None


@on_loop
async def test_an_upstream_that_is_away_is_asked_seldom_and_its_clients_hear_at_once() -> None:
    scene = Scene()
    scene.down()
    for _ in range(200):
        error = await scene.ask()
        assert isinstance(error, UpstreamUnreachable) and error.retry_after_seconds is not None
        assert "connection refused" in str(error)
    assert scene.wire.asked_count == 2
    assert scene.counters.get("upstream_requests_count") == scene.counters.get("upstream_errors_count") == 2
    assert scene.counters.get("upstream_spared_count") == 198


@on_loop
async def test_it_is_back_within_the_longest_rest_and_both_are_said_once() -> None:
    scene = Scene()
    scene.down()
    for _ in range(100):
        await scene.ask()
        scene.clock.now += 0.5
    assert 5 < scene.wire.asked_count < 60
    assert len(scene.said) == 1 and "connection refused" in scene.said[0]
    scene.up()
    scene.clock.now += 2.0
    assert await scene.ask() == "answer /x"
    assert await scene.ask("/y") == "answer /y"
    assert scene.said[1:] == ["the upstream http://up is back"]


@on_loop
async def test_one_refusal_is_an_accident() -> None:
    scene = Scene()
    scene.down()
    await scene.ask()
    scene.up()
    assert await scene.ask() == "answer /x"
    assert scene.said == []


@on_loop
async def test_what_breaks_off_or_is_silent_rests_nobody() -> None:
    scene = Scene()
    scene.wire.error = UpstreamError("broke off")
    for _ in range(20):
        await scene.ask()
    assert scene.wire.asked_count == 20


@on_loop
async def test_a_connection_that_stands_is_enough_however_long_its_answer_takes() -> None:
    scene = Scene()
    scene.down()
    await scene.ask()
    await scene.ask()
    scene.clock.now += 2.0
    scene.up()
    scene.wire.gate.clear()
    slow = [asyncio.ensure_future(scene.ask(f"/{number}")) for number in range(3)]
    await turns()
    assert scene.wire.asked_count == 5
    scene.wire.gate.set()
    assert await asyncio.gather(*slow) == ["answer /0", "answer /1", "answer /2"]


@on_loop
async def test_during_the_trial_the_others_wait_for_its_end() -> None:
    scene = Scene()
    scene.down()
    await scene.ask()
    await scene.ask()
    scene.clock.now += 2.0
    scene.wire.gate.clear()
    waiting = [asyncio.ensure_future(scene.ask()) for _ in range(10)]
    await turns()
    assert scene.wire.asked_count == 3
    scene.wire.gate.set()
    assert all(isinstance(error, UpstreamUnreachable) for error in await asyncio.gather(*waiting))
    assert scene.wire.asked_count == 3


@on_loop
async def test_a_trial_that_is_given_up_leaves_it_to_the_next() -> None:
    scene = Scene()
    scene.down()
    await scene.ask()
    await scene.ask()
    scene.clock.now += 2.0
    scene.wire.gate.clear()
    first = asyncio.ensure_future(scene.ask())
    await turns()
    second = asyncio.ensure_future(scene.ask())
    await turns()
    scene.up()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    scene.wire.gate.set()
    assert await second == "answer /x"
