"""One seed, from start to end: a cluster comes up, clients ask while things go wrong, all is healed, all must work, nothing is left."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minicdn.testing.simloop import Process, Stuck
from minicdn.testing.world import World
from tests.simulation import checks
from tests.simulation.chaos import CLIENT, Chaos
from tests.simulation.client import Answer, get
from tests.simulation.files import File
from tests.simulation.leftovers import left_behind, left_over
from tests.simulation.origin import Origin
from tests.simulation.plan import STREAMED_BYTES_MAX, Plan, plan_of
from tests.simulation.watching import Watch

JOIN_SECONDS = 30.0
SETTLE_SECONDS = 90.0
"""After healing all nodes agree on one list within this time: a window, a manager's start, back-offs and jitter."""
PAUSE_SECONDS = 25.0
"""Then what was begun during the faults ends: reads time out, the upstream's and peers' rests end."""
ANSWER_SECONDS = 40.0
"""Each GET succeeds within this time when all is healed: the slowest link takes 4 s for the largest file."""
TRIES_MAX = 3
AGAIN_SECONDS = 2.0
QUIET_SECONDS = 45.0
"""Every wait of a node that nobody asks has ended after this time."""
STEP_SECONDS = 0.25


@dataclass
class Report:
    seed: int
    wrong: list[str] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    virtual_seconds: float = 0.0
    trace: int = 0
    plan: Plan | None = None


def run_seed(seed: int, *, folder: str | None = None) -> Report:
    with tempfile.TemporaryDirectory(prefix="minicdn-sim-", dir=folder) as made:
        return Story(plan_of(seed), Path(made)).run()


class Story:
    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self.folder = folder
        self.report = Report(plan.seed, plan=plan)
        self.rng = random.Random(f"story {plan.seed}")
        self.world = World(plan.seed, folder, plan.settings, **plan.network)
        self.origin = Origin(self.world, random.Random(f"origin {plan.seed}"))
        self.chaos = Chaos(self.world, self.origin, plan)
        self.clients = Process("clients", CLIENT)
        self.watch = Watch(self.world)

    def run(self) -> Report:
        report = self.report
        try:
            self.world.run(self._tell())
        except (Stuck, TimeoutError, AssertionError) as error:
            report.wrong.append(f"{type(error).__name__}: {error}")
        report.wrong += self.watch.found
        report.wrong += [f"unforeseen: {text}" for text in self.world.mistakes.found]
        report.events = self.chaos.events
        report.said = [f"{line.split(' ')[0]} {node.name}: {line.partition(' ')[2]}" for node in self.world.nodes for line in node.said]
        report.virtual_seconds = self.world.loop.time()
        report.trace = self.world.loop.trace
        return report

    async def _tell(self) -> None:
        watching = self.world.loop.create_task(self.watch.run())
        await self._begin()
        await self._go_wrong()
        await self.chaos.heal()
        await self._agree()
        await self._all_works()
        watching.cancel()
        await self._nothing_is_left()

    def _wrong(self, text: str) -> None:
        self.report.wrong.append(f"{self.world.loop.time():.3f} {text}")

    # The parts of it

    async def _begin(self) -> None:
        for file in self.plan.files:
            file.change(self.world.loop.time())
            self.origin.files[file.path] = file
        await self.origin.start()
        for number in range(self.plan.peers_count + 1):
            node = self.world.add_node(skew_seconds=self.plan.skew_seconds[number])
            node.on_started = self._prepare
            node.wrap = self.watch.wrapped
            if "liar" in self.plan.faults and number == self.plan.peers_count:
                node.wrap = lying(random.Random(f"liar {self.plan.seed}"), self.watch.wrapped)
            await node.start()
        await self._until(self._is_one, JOIN_SECONDS, "the cluster never came together")

    def _prepare(self, node: Any) -> None:
        node.role.node.swarms.streamed_bytes_max = STREAMED_BYTES_MAX

    async def _go_wrong(self) -> None:
        chaos = self._spawn(self.chaos.run())
        changing = self._spawn(self._change_files())
        asking = self._crowd()
        for _ in range(self.plan.requests_count):
            asking.append(self._spawn(self._ask()))
            await asyncio.sleep(self.rng.expovariate(1 / self.plan.gap_seconds))
        await asyncio.wait(asking, timeout=60)
        for task in (chaos, changing, *asking):
            task.cancel()
        await asyncio.gather(chaos, changing, *asking, return_exceptions=True)
        for detour in self.origin.detours:
            self._wrong(f"passed on twice: {detour}")
        # Where there is no room, each client's answer is its own.
        for file in self.plan.files if self.plan.is_calm and self.plan.is_roomy else ():
            twice = checks.twice_at_a_time(self.origin.fetches, file) if file.is_stored else None
            if twice:
                self._wrong(f"{file}: asked twice at a time: {twice}")

    def _crowd(self) -> list[asyncio.Task[Any]]:
        """One file, from several nodes at once."""
        if not self.plan.crowd_count:
            return []
        file = self.rng.choice(self.plan.files)
        return [self._spawn(self._ask(file)) for _ in range(self.plan.crowd_count)]

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        return self.world.loop.create_task(work, context=self.clients.context)

    async def _change_files(self) -> None:
        while True:
            await asyncio.sleep(self.rng.expovariate(1 / self.plan.change_seconds))
            file = self.rng.choice(self.plan.files)
            length = None if self.rng.random() < 0.6 else max(0, file.length + self.rng.choice((-1, 1, -5000, 70000)))
            file.change(self.world.loop.time(), length)

    async def _ask(self, wanted: File | None = None) -> None:
        file, node = wanted or self.rng.choice(self.plan.files), self.rng.choice(self.world.nodes)
        span = self._span(file) if file.has_ranges and self.rng.random() < 0.25 else None
        pause = self.rng.choice((0.0, 0.0, 0.0, 0.2))
        patience = self.rng.uniform(0.001, 3.0) if "cancel" in self.plan.faults and self.rng.random() < 0.3 else None
        try:
            async with asyncio.timeout(patience):
                answer = await get(node.url + file.path, span=span, pause_seconds=pause)
        except TimeoutError:
            return
        self._check(answer, file)
        is_changed = file.version > 0  # a part of the old version may be on its way to a client when that is found out
        if self.plan.is_calm and not answer.is_good and answer.status != 416 and not is_changed:
            self._wrong(f"without any fault: {answer}")

    def _span(self, file: File) -> tuple[int, int] | None:
        start = self.rng.randrange(file.length + 1)
        return (start, self.rng.randint(start + 1, file.length + 2)) if start < file.length else None

    def _check(self, answer: Answer, file: File) -> None:
        self.report.answers.append(answer)
        grace = 0.0 if self.plan.is_calm else self.plan.settings.grace_seconds
        for found in (checks.bytes_of_one_version(answer, file), checks.is_not_too_old(answer, file, grace)):
            if found:
                self._wrong(f"{found}: {answer}")

    async def _agree(self) -> None:
        await self._until(self._is_one, SETTLE_SECONDS, "healed, and no one list everywhere")
        await asyncio.sleep(PAUSE_SECONDS)

    def _is_one(self) -> bool:
        lists = {(node.role.node.peers.epoch, len(node.role.node.peers.members)) for node in self.world.nodes if node.role is not None}
        return len(lists) == 1 and self.plan.peers_count - next(iter(lists))[1] in self._missing_counts

    @property
    def _missing_counts(self) -> tuple[int, ...]:
        """A liar that was found is off the list."""
        return (0, 1) if "liar" in self.plan.faults else (0,)

    async def _all_works(self) -> None:
        for file in self.plan.files:
            asking = [self._spawn(self._ask_healed(file, node)) for node in self.rng.sample(self.world.nodes, 2)]
            await asyncio.gather(*asking)

    async def _ask_healed(self, file: File, node: Any) -> None:
        """Again where the answer was of a version that the upstream has no more: that is found out on the way, and told."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                for _ in range(TRIES_MAX):
                    answer = await get(node.url + file.path)
                    if answer.is_good or answer.fields.get("x-version") == str(file.version):
                        break
                    self._check(answer, file)
                    await asyncio.sleep(AGAIN_SECONDS)
        except TimeoutError:
            self._wrong(f"healed, and {node.name} does not answer {file.path} within {ANSWER_SECONDS:g} s")
            return
        self._check(answer, file)
        if not answer.is_good:
            self._wrong(f"healed, and yet: {answer}")
        late = checks.is_not_too_old(answer, file, 0.0)
        if late:
            self._wrong(f"healed, and {late}: {answer}")

    async def _nothing_is_left(self) -> None:
        await asyncio.sleep(QUIET_SECONDS)
        for node in self.world.nodes:
            for found in left_over(node, may_have_leases=not self.plan.is_heard):
                self._wrong(f"quiet, and left over at {found}")
        for node in reversed(self.world.nodes):
            await node.stop()
        await asyncio.sleep(1)
        for node in self.world.nodes:
            for found in left_behind(node, self.world):
                self._wrong(f"stopped, and {found}")

    async def _until(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        until = self.world.loop.time() + seconds
        while not condition():
            if self.world.loop.time() > until:
                raise AssertionError(what)
            await asyncio.sleep(STEP_SECONDS)


def lying(rng: random.Random, wrap: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """An app that sometimes sends other bytes of pieces that it holds but does not own: what a digest is there for."""
    from tests.simulation.liar import Liar

    return lambda app: Liar(wrap(app), rng)
