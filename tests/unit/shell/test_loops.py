"""Everything is looked through for garbage when nobody asks, and seldom otherwise."""

from __future__ import annotations

import asyncio
import gc
import inspect
from collections.abc import Iterator

import pytest

from minicdn import loops
from minicdn.loops import keep_tidy, run_stoppable, settle_collector


@pytest.fixture(autouse=True)
def settings_put_back() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


def _collections(monkeypatch: pytest.MonkeyPatch, *, is_busy: bool, seconds_max: float) -> int:
    monkeypatch.setattr(loops, "TIDY_SECONDS", 0.001)
    monkeypatch.setattr(loops, "QUIET_SECONDS", 0.001)
    monkeypatch.setattr(loops, "TIDY_SECONDS_MAX", seconds_max)
    asked: list[int] = []
    collected: list[int] = []
    monkeypatch.setattr(gc, "collect", lambda: collected.append(1))

    def count_requests() -> int:
        asked.append(1)
        return len(asked) if is_busy else 0

    async def run() -> None:
        tidying = asyncio.ensure_future(keep_tidy(count_requests))
        while len(asked) < 10:  # noqa: ASYNC110  (as often as the loop turns)
            await asyncio.sleep(0)
        tidying.cancel()

    asyncio.run(run())
    return len(collected)


def test_a_quiet_node_is_tidied(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _collections(monkeypatch, is_busy=False, seconds_max=3600) >= 4


def test_a_busy_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _collections(monkeypatch, is_busy=True, seconds_max=3600) == 0


def test_but_in_the_end_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _collections(monkeypatch, is_busy=True, seconds_max=0) >= 4


def test_what_grows_is_not_looked_through_by_itself() -> None:
    gc.disable()  # as a start leaves it
    settle_collector()
    assert gc.isenabled()
    before = gc.get_stats()[2]["collections"]
    kept = [[] for _ in range(300_000)]
    assert gc.get_stats()[2]["collections"] == before and kept


def test_a_ctrl_c_before_a_command_began_leaves_no_word_of_pythons_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """`RuntimeWarning: coroutine … was never awaited`, where a person had only stopped it."""

    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(loops, "loop_factory", interrupted)
    main = asyncio.sleep(0)
    with pytest.raises(KeyboardInterrupt):
        run_stoppable(main)
    assert inspect.getcoroutinestate(main) == inspect.CORO_CLOSED
