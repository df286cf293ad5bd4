"""Caps that wait, change and are left, on a clock that jumps."""

from __future__ import annotations

import asyncio

import pytest

from minicdn.node.limits import Gate, Limits, is_loopback
from tests.kit.jumping import run_jumping


async def seconds_for(work) -> float:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await work
    return loop.time() - begun


def test_without_a_cap_nothing_waits_and_nothing_is_cut() -> None:
    async def story() -> None:
        limits, data = Limits(), bytes(10_000_000)
        assert await seconds_for(limits.wait_up(10**12)) == 0
        assert limits.up.parts(data) == [data]
        assert limits.upstream_parts(data) == [data]

    run_jumping(story())


@pytest.mark.parametrize("rate", [100_000, 1_000_000, 100_000_000])
def test_ten_seconds_keep_within_five_percent(rate: int) -> None:
    async def story() -> None:
        gate, sent, loop = Gate(rate), 0, asyncio.get_running_loop()
        while loop.time() < 10:
            for part in gate.parts(bytes(256 * 1024)):
                await gate.wait(len(part))
                sent += len(part) if loop.time() < 10 else 0
        assert sent / (10 * rate) == pytest.approx(1, rel=0.05)

    run_jumping(story())


def test_one_who_leaves_takes_nothing_from_the_others() -> None:
    async def story() -> None:
        gate = Gate(1_000_000)
        await gate.wait(250_000)
        leaving = asyncio.ensure_future(gate.wait(10**9))
        staying = asyncio.ensure_future(seconds_for(gate.wait(100_000)))
        await asyncio.sleep(0)
        leaving.cancel()
        assert await staying == pytest.approx(0.1, rel=0.02)

    run_jumping(story())


def test_a_cap_that_is_lifted_lets_all_go_on() -> None:
    async def story() -> None:
        gate = Gate(1_000)
        waiting = asyncio.ensure_future(seconds_for(gate.wait(10**9)))
        await asyncio.sleep(1)
        gate.set_rate(0)
        assert await waiting == pytest.approx(1, abs=0.01)

    run_jumping(story())


def test_a_share_follows_the_number_of_nodes() -> None:
    async def story() -> None:
        limits = Limits()
        limits.set_upstream(1_000_000, 2)
        await limits.wait_upstream(125_000)  # the burst
        waiting = asyncio.ensure_future(seconds_for(limits.wait_upstream(1_000_000)))
        await asyncio.sleep(1)
        limits.set_upstream(1_000_000, 1)
        assert await waiting == pytest.approx(1.5, rel=0.05)

    run_jumping(story())


def test_what_comes_from_the_upstream_comes_down_too() -> None:
    async def story() -> None:
        limits = Limits(down_rate=500_000)
        limits.set_upstream(1_000_000, 1)
        begun = asyncio.get_running_loop().time()
        for part in limits.upstream_parts(bytes(1_125_000)):
            await limits.wait_upstream(len(part))
        assert asyncio.get_running_loop().time() - begun == pytest.approx(2, rel=0.05)

    run_jumping(story())


@pytest.mark.parametrize(
    ("client", "is_it"),
    [
        (("127.0.0.1", 5), True), (("127.9.9.9", 5), True), (("::1", 5), True), (("::ffff:127.0.0.1", 5), True),
        (("10.0.0.1", 5), False), (("::ffff:10.0.0.1", 5), False), (("1270::1", 5), False), (None, False),
    ],
)  # fmt: skip
def test_who_is_on_this_machine(client: tuple[str, int] | None, is_it: bool) -> None:
    assert is_loopback(client) is is_it
