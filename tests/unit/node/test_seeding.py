"""Loads of pieces: who waits for one hears how it ended, whatever became of it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from minicdn.core.message import Request
from minicdn.core.pieces import Pieces
from minicdn.errors import UpstreamError
from minicdn.node.doubts import FAILURES_MAX, Doubts
from minicdn.node.seeding import LOADS_MAX, SEED_BYTES, SEEDS_MAX, FileId, Seed, Seeding

LENGTH = 4 << 20
FILE, REQUEST = FileId("/a", b'"one"', LENGTH), Request("GET", b"/a", "/a", ())


class Loads:
    """Fills that wait for the test's word."""

    def __init__(self, error: Exception | None = None) -> None:
        self.begun: list[Any] = []
        self.error = error

    def __call__(self, request: Request, part: Any, hint: str | None) -> Any:
        if self.error is not None:
            raise self.error
        outcome: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        async def wait_outcome() -> Any:
            return await asyncio.shield(outcome)

        fill = SimpleNamespace(outcome=outcome, wait_outcome=wait_outcome, release=lambda: None, span=None, task=None)
        self.begun.append(fill)
        return fill


def seed_of(loads: Loads) -> Seed:
    return Seed(FILE, REQUEST, Pieces.of(LENGTH), loads, lambda key: [])


async def several(seed: Seed, count: int) -> list[asyncio.Task[Any]]:
    waiting = [asyncio.ensure_future(seed.load(index)) for index in range(count)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return waiting


@pytest.mark.parametrize("steps", range(4), ids=lambda steps: f"after {steps} steps")
def test_a_stop_tells_all_who_wait_and_begins_nothing(steps: int) -> None:
    async def check() -> None:
        loads = Loads()
        seed = seed_of(loads)
        waiting = [asyncio.ensure_future(seed.load(index)) for index in range(6)]
        for _ in range(steps + 1):
            await asyncio.sleep(0)
        seed.stop()
        told = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 5)
        assert [type(one) for one in told] == [UpstreamError] * 6
        assert len(loads.begun) <= LOADS_MAX and not seed.is_busy

    asyncio.run(check())


def test_a_load_that_is_cancelled_is_an_error_to_its_waiters_and_no_cancellation() -> None:
    async def check() -> None:
        seed = seed_of(Loads())
        waiting = await several(seed, 1)
        (task,) = seed._tasks
        task.cancel()
        with pytest.raises(UpstreamError):
            await asyncio.wait_for(waiting[0], 5)
        again = await several(seed, 1)
        assert not again[0].done(), "it may be asked for anew"
        again[0].cancel()
        seed.stop()

    asyncio.run(check())


def test_a_load_that_can_not_begin_is_an_error_and_the_next_may_begin() -> None:
    async def check() -> None:
        loads = Loads(UpstreamError("no upstream"))
        seed = seed_of(loads)
        for _ in range(2):
            with pytest.raises(UpstreamError):
                await asyncio.wait_for(seed.load(0), 5)

    asyncio.run(check())


def test_a_waiter_that_leaves_takes_nothing_from_the_others() -> None:
    async def check() -> None:
        loads = Loads()
        seed = seed_of(loads)
        first, second = asyncio.ensure_future(seed.load(0)), asyncio.ensure_future(seed.load(0))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        assert len(loads.begun) == 1
        loads.begun[0].outcome.set_result(SimpleNamespace(entry=None, error=UpstreamError("503")))
        with pytest.raises(UpstreamError, match="503"):
            await asyncio.wait_for(second, 5)

    asyncio.run(check())


def test_one_voice_is_heard_often_and_three_once() -> None:
    doubts = Doubts()
    assert [doubts.upstream_failed(0, url) for url in ("a", "b", None)] == [False, False, True]
    assert [doubts.upstream_failed(1, "a") for _ in range(FAILURES_MAX)] == [False] * (FAILURES_MAX - 1) + [True]
    assert [doubts.is_changed(url) for url in ("a", "a", "b")] == [False, False, True]


@pytest.mark.parametrize("field_bytes", [10, 200_000])
def test_what_peers_send_beside_their_questions_is_remembered_within_bounds(field_bytes: int) -> None:
    """Files that nobody has, asked for with the longest heads that are read."""
    seeding = Seeding(Loads(), lambda key: [])
    seeds = []
    for number in range(SEEDS_MAX + 10):
        request = Request("GET", b"/a", "/a", [(b"cookie", b"x" * field_bytes)])
        seeds.append(seeding.seed(FileId("/a", b'"%d"' % number, LENGTH), request, Pieces.of(LENGTH)))
    kept = list(seeding._seeds.values())
    kept_bytes = sum(len(value) for seed in kept for _, value in seed.request.fields)
    assert kept_bytes <= SEEDS_MAX * SEED_BYTES
    assert kept == seeds[-len(kept) :] and len(kept) > (SEEDS_MAX * 9 // 10 if field_bytes == 10 else 50)
