"""An upstream that fails is left alone, a little longer each time, and not for a single accident."""

from __future__ import annotations

import random

import pytest

from minicdn.errors import UpstreamError
from minicdn.node.rest import FREE_FAILURES, MAX_SECONDS, Rest
from tests.unit.node.fakes import FakeClock

REFUSED = UpstreamError("the upstream can't be asked: refused")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def rest(clock: FakeClock) -> Rest:
    return Rest(clock.monotonic, random.Random(1))


def failed(rest: Rest, count: int) -> None:
    for _ in range(count):
        rest.failed(REFUSED)


def test_the_first_failures_cost_no_rest(rest: Rest) -> None:
    failed(rest, FREE_FAILURES)
    assert rest.check() is None


def test_after_more_of_them_it_is_not_asked_and_the_reason_is_told(rest: Rest) -> None:
    failed(rest, FREE_FAILURES + 1)
    with pytest.raises(UpstreamError, match=r"refused; asked again in 0\.\d s"):
        rest.check()


def test_the_rest_ends_and_never_grows_beyond_its_bound(rest: Rest, clock: FakeClock) -> None:
    failed(rest, 100)
    with pytest.raises(UpstreamError):
        rest.check()
    clock.now += MAX_SECONDS
    assert rest.check() is None


def test_an_answer_ends_it_all(rest: Rest) -> None:
    failed(rest, 100)
    rest.answered()
    assert rest.check() is None
    failed(rest, FREE_FAILURES)
    assert rest.check() is None


def test_silence_has_cost_its_deadline_already(rest: Rest) -> None:
    for _ in range(100):
        rest.failed(UpstreamError("silent", timed_out=True))
    assert rest.check() is None
