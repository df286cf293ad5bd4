"""Purges, carried out on one node.

A purge counts from the moment it is begun, however many entries there are: named paths are marked at once; for prefixes and tags a sweep
goes over everything in slices, so that serving goes on, and what is asked for before the sweep gets there is marked then (`check`).
Fills that wait for their head are told (told.py). Several purges that wait for a sweep share one.

The *mark* says up to where in the manager's journal this node has been told. A node that hears from another with a mark beyond its own
knows that it has missed something, and validates what it has until it knows what (`is_behind`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from minicdn.core.counters import Counters
from minicdn.core.freshness import expire
from minicdn.core.journal import Entry as JournalEntry
from minicdn.core.journal import Mark
from minicdn.core.purging import EVERYTHING, Purge, merged
from minicdn.node.clock import Clock
from minicdn.store.entry import Entry
from minicdn.store.shelf import Shelf

SLICE_SECONDS = 0.005
LOOK_EVERY_COUNT = 128
"""Keys between two looks at the clock."""
SWEEPS_MAX = 64
TOKENS_MAX = 4096


class Sweep:
    """A purge under way. count: entries marked so far. It may be over before it is looked at."""

    def __init__(self, purge: Purge, began_at: float) -> None:
        self.purge = purge
        self.began_at = began_at
        self.count = 0
        self._checked: set[Entry] = set()
        self._is_over = asyncio.Event()

    def widen(self, purge: Purge, began_at: float) -> None:
        """It does the work of another one too."""
        self.purge, self.began_at = merged((self.purge, purge)), began_at
        self._checked.clear()

    def end(self) -> None:
        self._checked.clear()
        self._is_over.set()

    @property
    def is_over(self) -> bool:
        return self._is_over.is_set()

    async def wait(self, seconds: float | None = None) -> int:
        """How many entries were marked; so far, where it takes longer than `seconds`. (Out of date are all of them already.)"""
        try:
            async with asyncio.timeout(seconds):
                await self._is_over.wait()
        except TimeoutError:
            pass
        return self.count

    def is_first_look(self, entry: Entry) -> bool:
        if entry in self._checked:
            return False
        self._checked.add(entry)
        return True

    def has_seen(self, entry: Entry) -> bool:
        return entry in self._checked


class Purger:
    """tell: how fills learn of a purge, and whether it echoes. stored_for: what a key is answered with, which may be stored under
    another one."""

    def __init__(
        self,
        shelf: Shelf,
        clock: Clock,
        counters: Counters,
        tell: Callable[[Purge, bool], None],
        stored_for: Callable[[str], list[Entry]] | None = None,
    ) -> None:
        self._shelf = shelf
        self._stored_for = stored_for or shelf.find
        self._clock = clock
        self._counters = counters
        self._tell = tell
        self._running: list[Sweep] = []
        self._waiting: list[Sweep] = []
        self._sweeping: asyncio.Task[None] | None = None
        self._tokens: dict[str, Sweep] = {}
        self.mark: Mark | None = None
        self.on_marked: Callable[[], None] | None = None
        self.is_unsure = False
        """Purges may have been missed, and nobody has said which yet: nothing is served without validation."""

    @property
    def is_sweeping(self) -> bool:
        return bool(self._running or self._waiting)

    @property
    def has_entries(self) -> bool:
        return next(self._shelf.keys(), None) is not None

    # What others ask

    def begin(self, purge: Purge, token: str = "", *, echoes: bool = True) -> Sweep:
        """From now on nothing that matches is fresh here (or there at all, where the purge is hard). token: its name, if it may come
        again: the second time costs nothing. echoes: other nodes may not know of it yet (told.py)."""
        if token and (known := self._tokens.get(token)) is not None:
            return known
        self._counters.add("purges_count")
        sweep = self._add(purge, echoes)
        if token:
            self._tokens[token] = sweep
            if len(self._tokens) > TOKENS_MAX:
                del self._tokens[next(iter(self._tokens))]
        return sweep

    def catch_up(self, missed: Iterable[JournalEntry] | None, mark: Mark) -> None:
        """What the manager says was missed, up to its mark; None: nobody knows what, so everything is stale. Nothing of it echoes:
        whoever is behind shows it by the mark."""
        if missed is None:
            if self.has_entries:
                self.begin(EVERYTHING, echoes=False)
            else:
                self._tell(EVERYTHING, False)
        for entry in missed or ():
            self.begin(entry.purge, entry.token, echoes=False)
        self.is_unsure = False
        self._set_mark(mark)

    def follow(self, before: Mark, mark: Mark) -> None:
        """A purge of the journal was begun here; whoever had the one before it now has this one."""
        if self.mark == before:
            self._set_mark(mark)

    def _set_mark(self, mark: Mark) -> None:
        self.mark = mark
        if self.on_marked is not None:
            self.on_marked()

    def check(self, entry: Entry) -> Entry | None:
        """The entry as sweeps under way leave it; None where it is gone. To be asked for each entry that is about to be used while
        there are any."""
        for sweep in (*self._running, *self._waiting):
            stored = entry.stored
            # What came after the purge began is news already. (At the same instant counts as before.)
            if stored is None or stored.response_at > sweep.began_at or not sweep.is_first_look(entry):
                continue
            if sweep.purge.matches(entry.key, stored.tags):
                self._apply(sweep, entry)
                if not sweep.purge.is_soft:
                    return None
        return entry

    def is_behind(self, asker: Mark | None) -> bool:
        """Whether a peer with that mark may know of purges that this node doesn't."""
        return asker is not None and asker.is_ahead_of(self.mark)

    async def wait_swept(self) -> None:
        """Returns when all purges begun before are carried out."""
        for sweep in (*self._running, *self._waiting):
            await sweep.wait()

    async def stop(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.wait({self._sweeping})
        for sweep in (*self._running, *self._waiting):
            sweep.end()

    # Inside

    def _add(self, purge: Purge, echoes: bool) -> Sweep:
        self._tell(purge, echoes)
        sweep = Sweep(purge, self._clock.wall())
        for key in purge.paths:
            for entry in list(self._stored_for(key)):
                self._apply(sweep, entry)
        if not purge.needs_sweep:
            sweep.end()
            return sweep
        if len(self._waiting) >= SWEEPS_MAX:
            sweep = self._waiting[-1]
            sweep.widen(purge, self._clock.wall())
        else:
            self._waiting.append(sweep)
        if self._sweeping is None or self._sweeping.done():
            self._sweeping = asyncio.get_running_loop().create_task(self._sweep_all())
        return sweep

    def _apply(self, sweep: Sweep, entry: Entry) -> None:
        if entry.stored is None:
            return
        sweep.count += 1
        self._counters.add("purged_entries_count")
        if not sweep.purge.is_soft:
            self._shelf.remove(entry)
            return
        stale = expire(entry.stored, self._clock.wall())
        if stale is not entry.stored:
            self._shelf.restate(entry, stale)

    async def _sweep_all(self) -> None:
        while self._waiting:
            self._running, self._waiting = self._waiting, []
            try:
                await self._sweep(self._running)
            finally:
                over, self._running = self._running, []
                for sweep in over:
                    sweep.end()

    async def _sweep(self, sweeps: list[Sweep]) -> None:
        loop = asyncio.get_running_loop()
        rest_at = loop.time() + SLICE_SECONDS
        for number, key in enumerate(self._shelf.keys()):
            if number % LOOK_EVERY_COUNT == 0 and loop.time() >= rest_at:
                await asyncio.sleep(0)
                rest_at = loop.time() + SLICE_SECONDS
            for sweep in sweeps:
                self._sweep_key(sweep, key)

    def _sweep_key(self, sweep: Sweep, key: str) -> None:
        purge = sweep.purge
        if not purge.tags and not key.startswith(purge.prefixes):
            return
        for entry in list(self._shelf.find(key)):
            stored = entry.stored
            is_named = key in purge.paths  # marked when it began
            if stored is not None and not is_named and not sweep.has_seen(entry) and purge.matches(key, stored.tags):
                self._apply(sweep, entry)
