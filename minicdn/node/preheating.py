"""Loads of a preheat on one node: a file is found or fetched as for a client, by whoever owns it, and nobody is sent it.

A load is known by its target and fields. Who asks for one that is under way waits for it; who asked must ask again before ABANDON_SECONDS
are over, or it ends: a manager that is gone, or has cancelled, has nobody download for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from minicdn.core.counters import Counters
from minicdn.core.headers import first
from minicdn.core.message import Head, Request
from minicdn.core.target import parse_target
from minicdn.errors import ClientError, MinicdnError
from minicdn.store.entry import Entry
from minicdn.wire.preheats import BUSY, DONE, FAILED, LOADING, LoadAnswer, LoadCall

if TYPE_CHECKING:
    from minicdn.node.cache import Cache

LOADS_MAX = 64
"""At once on a node, whoever asks for them."""
ABANDON_SECONDS = 120.0
TURNS_MAX = 2
"""A hard purge may come while a file does: then it is brought once more, so that what is here is newer than the purge."""


class _Load:
    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self.entry: Entry | None = None
        self.reason: str | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.askers_count = 0
        self.is_unwanted = False
        """Somebody who asked wants it no more; nor does anybody else, if nobody asks again before those who wait are answered."""

    def answer(self) -> LoadAnswer:
        body = self.entry.body if self.entry is not None else None
        have_bytes, length = (body.have.total_bytes, body.length) if body is not None else (0, None)
        assert self.task is not None
        if not self.task.done():
            return LoadAnswer(LOADING, have_bytes, length)
        if self.task.cancelled():
            return LoadAnswer(FAILED, have_bytes, length, "it was given up")
        self.task.result()
        if self.reason is not None:
            return LoadAnswer(FAILED, have_bytes, length, self.reason)
        return LoadAnswer(DONE, have_bytes, length)


class Loads:
    """ignored_query: names of query parameters that are no part of a key."""

    def __init__(self, cache: Cache, counters: Counters, ignored_query: Callable[[], frozenset[str]]) -> None:
        self._cache = cache
        self._counters = counters
        self._ignored_query = ignored_query
        self._loads: dict[tuple[str, object], _Load] = {}

    async def load(self, call: LoadCall) -> LoadAnswer:
        """How far it is, after the call's hold at most. Raises ClientError where the target is none."""
        request = Request("GET", call.target.encode("ascii"), parse_target(call.target.encode("ascii"), self._ignored_query()), call.fields)
        if request.key.startswith("/_"):
            raise ClientError(400, "paths that begin with /_ belong to minicdn itself")
        name = (call.target, tuple(call.fields))
        load = self._loads.get(name)
        if call.is_over:
            if load is not None:
                load.is_unwanted = True
                if not load.askers_count:
                    self._abandon(name, load)
            return LoadAnswer(FAILED, reason="it was given up")
        if load is None:
            if len(self._loads) >= LOADS_MAX:
                self._forget_the_ended()
            if len(self._loads) >= LOADS_MAX:
                return LoadAnswer(BUSY)
            load = self._loads[name] = _Load()
            load.task = asyncio.get_running_loop().create_task(self._run(load, request))
        assert load.task is not None
        if load.timer is not None:
            load.timer.cancel()
        load.askers_count += 1
        load.is_unwanted = False
        try:
            await asyncio.wait({load.task}, timeout=call.hold_seconds)
        finally:
            load.askers_count -= 1
            if not load.askers_count:
                seconds = 0.0 if load.is_unwanted else ABANDON_SECONDS
                load.timer = asyncio.get_running_loop().call_later(seconds, self._abandon, name, load)
        answer = load.answer()
        if answer.state != LOADING and self._loads.get(name) is load:
            del self._loads[name]
        return answer

    async def stop(self) -> None:
        tasks = [load.task for load in self._loads.values() if load.task is not None]
        for load in self._loads.values():
            if load.timer is not None:
                load.timer.cancel()
        self._loads.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _forget_the_ended(self) -> None:
        """What has ended, and nobody has asked for since, takes nobody's place."""
        for name, load in list(self._loads.items()):
            if not load.askers_count and load.task is not None and load.task.done():
                del self._loads[name]
                if load.timer is not None:
                    load.timer.cancel()

    def _abandon(self, name: tuple[str, object], load: _Load) -> None:
        if self._loads.get(name) is load:
            del self._loads[name]
        if load.task is not None:
            load.task.cancel()

    async def _run(self, load: _Load, request: Request) -> None:
        try:
            load.reason = await self._bring(load, request)
        except MinicdnError as error:
            load.reason = str(error)
        except Exception as error:  # a mistake of ours is this file's failure: unanswered, the manager would give up the node
            load.reason = f"failed unexpectedly ({type(error).__name__}: {error})"
        if load.reason is None:
            self._counters.add("preheated_count")

    async def _bring(self, load: _Load, request: Request) -> str | None:
        """Why it is not here at the end, or None."""
        for _ in range(TURNS_MAX):
            if (trouble := await self._bring_once(load, request)) is not None:
                return trouble
            assert load.entry is not None
            if any(each.body is load.entry.body for each in self._cache.stored_for(request.key)):
                return None
        return "it was removed again while it came: purged, or for want of room"

    async def _bring_once(self, load: _Load, request: Request) -> str | None:
        """Why it can't be kept, or None: all of it has come. What is kept is not read for that, only waited for."""
        found = await self._cache.find(request)
        entry = load.entry = found.entry
        try:
            trouble = _why_not(entry.head)
            if trouble is None and (entry.stored is None or entry.stored.selecting is None):
                trouble = f"it may not be kept for others ({_rule(entry.head)})"
            if trouble is not None:
                return trouble
            body = entry.body
            reader = self._cache.open(body, 0, None)
        finally:
            found.release()
        try:
            while body.is_kept and (reach := await body.wait_reach(reader.position)) > reader.position:
                reader.passed(reach - reader.position)
        finally:
            reader.close()
        return None if body.is_kept else "there was no room to keep it here"


def _why_not(head: Head) -> str | None:
    if head.status < 300:
        return None
    location = (first(head.fields, b"location") or b"").decode("latin-1")
    return f"it is answered {head.status}" + (f", which leads to {location[:200]}" if location and head.status < 400 else "")


def _rule(head: Head) -> str:
    vary, value = first(head.fields, b"vary"), first(head.fields, b"cache-control")
    if vary is not None and b"*" in vary:
        return "Vary: *"
    return f"Cache-Control: {value.decode('latin-1')[:200]}" if value is not None else "by its header fields"
