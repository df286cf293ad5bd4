"""A cap holds over every interval, whoever takes and whenever; and whoever waits has its turn."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from minicdn.core.bucket import Bucket
from minicdn.node.limits import Gate
from tests.kit.jumping import run_jumping

rates = st.integers(1_000, 10**9)


@given(rates, st.lists(st.tuples(st.floats(0, 2), st.floats(0.01, 1)), min_size=1, max_size=60))
def test_no_interval_carries_more_than_its_rate_and_one_burst(rate, asked):
    bucket, now, taken = Bucket(rate, 0.0), 0.0, []
    for pause, part in asked:
        now += pause
        count = max(1, int(bucket.step * part))
        if not bucket.take(count, now):
            taken.append((now, count))
    for first, (begun, _) in enumerate(taken):
        total = 0
        for at, count in taken[first:]:
            total += count
            assert total <= (rate * (at - begun) + bucket.burst) * (1 + 1e-9)


@given(rates, st.lists(st.integers(1, 400_000), min_size=1, max_size=8))
@settings(max_examples=40)
def test_all_who_wait_get_theirs_at_the_rate_and_none_before_an_equal_that_came_earlier(rate, counts):
    async def story():
        gate, ended, loop = Gate(rate), [], asyncio.get_running_loop()

        async def take(number, count):
            await gate.wait(count)
            ended.append((number, loop.time()))

        begun = loop.time()
        async with asyncio.TaskGroup() as group:
            for number, count in enumerate(counts):
                group.create_task(take(number, count))
        return ended, loop.time() - begun

    ended, seconds = run_jumping(story())
    ended_at = dict(ended)  # at one instant the loop decides who goes on first
    for number, count in enumerate(counts):
        assert all(ended_at[number] <= ended_at[later] for later in range(number + 1, len(counts)) if counts[later] >= count)
    burst = Bucket(rate, 0.0).burst
    ideal = max(0.0, (sum(counts) - burst) / rate)
    assert ideal * (1 - 1e-6) - 1e-6 <= seconds <= ideal * 1.01 + 0.01 + 0.002 * len(counts) * max(1, sum(counts) // 4096) ** 0.5


@given(rates, st.integers(2, 6), st.integers(1, 20))
@settings(max_examples=40)
def test_takers_at_once_share_alike(rate, takers_count, rounds_count):
    async def story():
        gate, got = Gate(rate), [0] * takers_count
        step = Bucket(rate, 0.0).step

        async def take(number):
            while sum(got) < takers_count * rounds_count * step:
                await gate.wait(step)
                got[number] += step

        async with asyncio.TaskGroup() as group:
            for number in range(takers_count):
                group.create_task(take(number))
        return got, step

    got, step = run_jumping(story())
    burst_steps = Bucket(rate, 0.0).burst / step
    assert max(got) - min(got) <= (burst_steps + 1) * step, "the first may have had the burst"
