from __future__ import annotations

import pytest

from minicdn.core.bucket import BURST_SECONDS, Bucket, share
from minicdn.core.pace import SECONDS_COUNT, Pace


def drained(rate: float, now: float = 100.0) -> Bucket:
    bucket = Bucket(rate, now)
    while not bucket.take(bucket.step, now):
        pass
    return bucket


def test_a_full_bucket_gives_its_burst_and_then_says_how_long() -> None:
    bucket = Bucket(1_000_000, 0.0)
    taken = 0
    while not (seconds := bucket.take(bucket.step, 0.0)):
        taken += bucket.step
    assert taken == 1_000_000 * BURST_SECONDS
    assert seconds == pytest.approx(bucket.step / 1_000_000)


def test_after_the_wait_it_is_there_and_not_before() -> None:
    bucket = drained(1_000_000)
    seconds = bucket.take(10_000, 100.0)
    assert bucket.take(10_000, 100.0 + seconds * 0.9) > 0
    assert bucket.take(10_000, 100.0 + seconds + 1e-9) == 0


def test_what_was_refused_was_not_taken() -> None:
    bucket = drained(1_000_000)
    assert [bucket.take(40_000, 100.0) for _ in range(3)] == [bucket.take(40_000, 100.0)] * 3


def test_a_clock_that_stands_still_or_goes_back_gives_nothing() -> None:
    bucket = drained(1_000_000)
    assert bucket.take(50_000, 90.0) == bucket.take(50_000, 100.0) > 0


@pytest.mark.parametrize(("rate", "step"), [(1_000, 250), (10_000, 2_500), (40_000, 4096), (1_000_000, 50_000), (1e9, 50_000_000)])
def test_steps_fit_into_the_burst(rate: float, step: int) -> None:
    assert Bucket(rate, 0.0).step == step


def test_another_rate_counts_from_now_on() -> None:
    bucket = drained(1_000_000)
    bucket.set_rate(100_000, 100.1)
    assert bucket.take(5_000, 100.1) == 0, "what the first rate had filled, up to the second one's burst"
    while not bucket.take(5_000, 100.1):
        pass
    assert bucket.take(5_000, 100.1) == pytest.approx(0.05)


def test_shares() -> None:
    assert share(30e6, 3) == 10e6
    assert share(30e6, 0) == 30e6
    assert share(0, 3) == 0


def test_the_pace_is_that_of_the_last_seconds() -> None:
    pace = Pace()
    for second in range(20):
        pace.add(1_000, second + 0.5)
    assert pace.per_second(20.1) == 1_000
    assert pace.per_second(20 + SECONDS_COUNT - 1) == 1_000 / SECONDS_COUNT
    assert pace.per_second(40) == 0


def test_a_pause_counts_as_one() -> None:
    pace = Pace()
    pace.add(5_000, 10.0)
    pace.add(5_000, 13.0)
    assert pace.per_second(14.0) == 10_000 / SECONDS_COUNT
