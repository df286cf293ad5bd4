"""Peers that can't be talked to, and are left alone for a while (core/circuit.py); and peers that say nothing: are they still there?

A peer may take as long for an answer as its upstream does, so silence on a question tells nothing. Who is silent for SILENCE_SECONDS is
therefore looked for: whoever is alive answers a look at once. Where it does not, all who wait for that peer are let go, to ask others,
and nobody comes to wait for it until it is back. A laptop that was closed costs the first who asks it some seconds, and the rest nothing.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Set

from minicdn.core.circuit import Circuit, Step
from minicdn.core.counters import Counters
from minicdn.node.clock import Clock
from minicdn.node.leash import Leash

BASE_SECONDS = 0.5
SILENCE_SECONDS = 1.0
LOOK_SECONDS = 3.0
"""For a look's answer. A node that takes longer to say that it is there is of no use at the moment."""
ASLEEP_SECONDS = 1.0
"""A look that ends so much later than it should shows that it was this node that slept."""
LOOKS_MAX = 64
SAID_FAILURES_COUNT = 2

Look = Callable[[str], Awaitable[bool]]
"""Whether anything answers at a peer's URL."""


class Circuits:
    """max_seconds: the longest rest."""

    def __init__(
        self,
        look: Look,
        leash: Leash,
        clock: Clock,
        counters: Counters,
        *,
        rng: random.Random,
        say: Callable[[str], None],
        max_seconds: float,
    ) -> None:
        self._look = look
        self._leash = leash
        self._clock = clock
        self._counters = counters
        self._rng = rng
        self._say = say
        self._max_seconds = max_seconds
        self._circuits: dict[str, Circuit] = {}
        self._looks: dict[str, asyncio.Task[None]] = {}
        self._waits: dict[str, frozenset[object]] = {}
        self._timer: asyncio.TimerHandle | None = None
        leash.on_hold = self._watch

    def may_ask(self, url: str) -> bool:
        """False: others are to be asked in its place."""
        circuit = self._circuits.get(url)
        return circuit is None or circuit.step(self._clock.monotonic()) in (Step.FREE, Step.TRIAL)

    def take(self, url: str) -> bool:
        """The same, by who asks it then."""
        circuit = self._circuits.get(url)
        if circuit is None:
            return True
        step = circuit.take(self._clock.monotonic())
        if step is Step.LOOK:
            self._look_for(url)
        if step in (Step.FREE, Step.TRIAL):
            return True
        self._counters.add("peers_spared_count")
        return False

    def reached(self, url: str) -> None:
        """It has answered a question."""
        circuit = self._circuits.pop(url, None) if self._circuits else None
        if circuit is not None and circuit.failures_count >= SAID_FAILURES_COUNT:
            self._say(f"{url} answers again")

    def failed(self, url: str, reason: str) -> None:
        """It could not be asked, or broke off."""
        self._note(url, reason, is_look=False)

    def forget(self, urls: Set[str]) -> None:
        """They are off the list."""
        for url in urls:
            self._circuits.pop(url, None)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for task in self._looks.values():
            task.cancel()

    def _note(self, url: str, reason: str, *, is_look: bool) -> None:
        if not self._max_seconds:
            return
        circuit = self._circuits.get(url)
        if circuit is None:
            circuit = self._circuits[url] = Circuit(min(BASE_SECONDS, self._max_seconds), self._max_seconds)
        now = self._clock.monotonic()
        if is_look:
            circuit.look_failed(now, self._rng)
        elif not circuit.fail(now, self._rng):
            return
        if circuit.failures_count == SAID_FAILURES_COUNT:
            self._say(f"{url} can't be talked to ({reason}): others are asked in its place until it is back")

    # Silence

    def _watch(self) -> None:
        """Somebody waits for a peer."""
        if self._timer is None:
            self._waits = {}
            self._timer = asyncio.get_running_loop().call_later(SILENCE_SECONDS, self._see_who_is_silent)

    def _see_who_is_silent(self) -> None:
        """Of the waits that were there the last time as well."""
        self._timer = None
        before, now = self._waits, {url: frozenset(self._leash.waits(url)) for url in self._leash.urls()}
        if not now:
            return
        self._watch()
        self._waits = now
        for url, waits in now.items():
            if waits & before.get(url, frozenset()):
                self._look_for(url)

    def _look_for(self, url: str) -> None:
        if url in self._looks or len(self._looks) >= LOOKS_MAX:
            return
        task = self._looks[url] = asyncio.get_running_loop().create_task(self._look_at(url), name=f"look for {url}")
        task.add_done_callback(lambda _: self._looks.pop(url, None))

    async def _look_at(self, url: str) -> None:
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + LOOK_SECONDS
        try:
            async with asyncio.timeout_at(ends_at):
                is_there = await self._look(url)
        except TimeoutError:
            is_there = loop.time() > ends_at + ASLEEP_SECONDS
        circuit = self._circuits.get(url)
        if is_there:
            if circuit is not None:
                circuit.answered(self._clock.monotonic())
            return
        self._note(url, "it does not answer", is_look=True)
        self._leash.let_go({url})
