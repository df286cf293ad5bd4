"""Loads on a node: what is asked again goes on, and whatever goes wrong is an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from minicdn.core.counters import Counters
from minicdn.errors import ClientError, UpstreamError
from minicdn.node import preheating as module
from minicdn.node.preheating import Loads
from minicdn.wire.preheats import BUSY, FAILED, LOADING, LoadCall

CALL = LoadCall("/a", (), 5.0)


class FakeCache:
    """Finds what `find` does."""

    def __init__(self, find: Callable[[], Any]) -> None:
        self._find = find
        self.asked_count = 0

    async def find(self, request: Any) -> Any:
        self.asked_count += 1
        return await self._find()


def loads(find: Callable[[], Any]) -> tuple[Loads, FakeCache]:
    cache = FakeCache(find)
    return Loads(cache, Counters(), lambda: frozenset()), cache  # type: ignore[arg-type]


def test_what_nobody_foresaw_is_this_files_failure() -> None:
    async def find() -> Any:
        raise RuntimeError("no such thing")

    async def play() -> None:
        found, cache = loads(find)
        for count in (1, 2):
            answer = await found.load(CALL)
            assert (answer.state, answer.reason) == (FAILED, "failed unexpectedly (RuntimeError: no such thing)")
            assert cache.asked_count == count, "asked again, it is tried again"

    asyncio.run(play())


def test_who_asks_again_goes_on_and_who_gives_up_ends_it() -> None:
    ended: list[str] = []

    async def find() -> Any:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("ended")

    async def play() -> None:
        found, cache = loads(find)
        for _ in range(2):
            assert (await found.load(LoadCall("/a", (), 0.01))).state == LOADING
        assert cache.asked_count == 1
        assert (await found.load(LoadCall("/a", (), is_over=True))).state == FAILED
        await asyncio.sleep(0)
        assert ended == ["ended"]
        waiting = asyncio.create_task(found.load(CALL))
        await asyncio.sleep(0.01)
        await found.stop()
        assert (await waiting).state == FAILED and cache.asked_count == 2

    asyncio.run(play())


def test_what_has_ended_takes_nobodys_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who asked are gone: a manager that was restarted, say."""
    monkeypatch.setattr(module, "LOADS_MAX", 2)
    gate = asyncio.Event()

    async def find() -> Any:
        await gate.wait()
        raise UpstreamError("none")

    async def play() -> None:
        found, _ = loads(find)
        assert [(await found.load(LoadCall(target))).state for target in ("/a", "/b", "/c")] == [LOADING, LOADING, BUSY]
        gate.set()
        await asyncio.sleep(0.01)
        assert (await found.load(LoadCall("/c", (), 5.0))).state == FAILED

    asyncio.run(play())


@pytest.mark.parametrize("target", ["/_stats", "/%5Fstats"])
def test_what_is_minicdns_own_is_not_loaded(target: str) -> None:
    async def find() -> Any:
        raise UpstreamError("it was asked")

    async def play() -> None:
        with pytest.raises(ClientError, match="belong to minicdn itself"):
            await loads(find)[0].load(LoadCall(target, (), 5.0))

    asyncio.run(play())


def test_an_error_of_the_upstream_is_the_reason() -> None:
    async def find() -> Any:
        raise UpstreamError("the upstream can't be reached")

    async def play() -> None:
        assert (await loads(find)[0].load(CALL)).reason == "the upstream can't be reached"

    asyncio.run(play())
