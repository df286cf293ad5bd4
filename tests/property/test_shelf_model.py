"""The shelf against a plain model, through any order of fills, reads, purges, restatements and restarts.

Held at every step: budgets are never exceeded, the index and the caches agree, nothing is held for a body that is gone, and every
byte that can be read is the right one.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from minicdn.errors import BrokenBody
from minicdn.store.budget import disk_cost
from minicdn.store.entry import Entry
from minicdn.store.index import meta_path
from minicdn.store.reader import Reader
from minicdn.store.shelf import Shelf
from tests.unit.store.making import KIB, MIB, begin, files_in, make_shelf, make_stored, open_files, read_all, recorded, turns

MEMORY, DISK, SMALL = MIB, 640 * KIB, 16 * KIB
CONTENT = random.Random(5).randbytes(2 * MIB)
KEYS = ("/a", "/b", "/c", "/d")
VARIANTS: tuple = ((), ((b"accept", b"x"),), ((b"accept", b"y"),))
sizes = st.sampled_from((0, 1, 100, 9 * KIB, SMALL, SMALL + 1, 60 * KIB, 100 * KIB, 150 * KIB, 300 * KIB, DISK - 8 * KIB, DISK, 2 * DISK))


def content_of(number: int, size: int) -> bytes:
    return CONTENT[number % MIB : number % MIB + size]


@dataclass(eq=False)
class Flight:
    entry: Entry
    data: bytes
    is_withdrawn: bool = False


@dataclass(eq=False)
class Reading:
    reader: Reader
    data: bytes
    collected: bytearray = field(default_factory=bytearray)


class ThreadlessLoop(asyncio.SelectorEventLoop):
    """Threads' work is done on the spot; that of the recorder's own threads, where it is `held`, when it is released. So a step always
    ends the same way."""

    def __init__(self) -> None:
        super().__init__()
        self.is_holding = False
        self.held: list = []

    def run_in_executor(self, executor, func, *args):
        future = self.create_future()
        if self.is_holding and executor is not None:
            self.held.append((future, func, args))
        else:
            self._do(future, func, args)
        return future

    def release(self) -> None:
        self.is_holding = False
        for work in self.held:
            self._do(*work)
        self.held.clear()

    def _do(self, future, func, args) -> None:
        if not future.done():
            try:
                future.set_result(func(*args))
            except OSError as error:
                future.set_exception(error)


class ShelfModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="minicdn-model-"))
        self.loop = ThreadlessLoop()
        self.shelf: Shelf = make_shelf(self.folder, memory=MEMORY, disk=DISK, small=SMALL)
        self.flights: list[Flight] = []
        self.readings: list[Reading] = []
        self.data: dict[Entry, bytes] = {}
        self.numbers = iter(range(10**9))
        self.now = 0.0

    def run(self, work):
        async def bounded():
            async with asyncio.timeout(20):
                return await work

        return self.loop.run_until_complete(bounded())

    @initialize()
    def start(self) -> None:
        self.run(self.shelf.open())

    # Fills

    @rule(
        key=st.sampled_from(KEYS),
        size=sizes,
        is_announced=st.booleans(),
        is_hot=st.booleans(),
        selecting=st.sampled_from(VARIANTS),
    )
    def begin(self, key, size, is_announced, is_hot, selecting) -> None:
        data = content_of(next(self.numbers) * 7919, size)

        async def begun() -> Entry:
            return begin(self.shelf, key, len(data) if is_announced else None, is_hot=is_hot, selecting=selecting)

        self.flights.append(Flight(self.run(begun()), data))
        self.data[self.flights[-1].entry] = data

    @precondition(lambda self: self.flights)
    @rule(which=st.randoms(use_true_random=False), size=st.integers(1, 200 * KIB))
    def grow(self, which, size) -> None:
        flight = which.choice(self.flights)
        body, position = flight.entry.body, flight.entry.body.have.reach(0)
        if body.is_kept or not body.storage.is_full:
            self.write(flight, flight.data[position : position + size])

    def write(self, flight: Flight, chunk: bytes) -> None:
        body, position = flight.entry.body, flight.entry.body.have.reach(0)

        async def written() -> None:
            if not self.shelf.has_room_for(body, position + len(chunk)):
                self.shelf.withdraw(flight.entry)
                body.relay_from_here()
            if chunk:
                body.write(position, chunk)
            await turns()

        self.run(written())

    @precondition(lambda self: self.flights)
    @rule(which=st.randoms(use_true_random=False))
    def end(self, which) -> None:
        """It is kept where all of it is there, and breaks off where not."""
        self.land(which.choice(self.flights))

    def land(self, flight: Flight) -> None:
        self.flights.remove(flight)

        async def ended() -> None:
            body = flight.entry.body
            if body.have.reach(0) == len(flight.data):
                body.finish()
                self.shelf.keep(flight.entry)
            else:
                self.shelf.withdraw(flight.entry)
                body.fail("broke off")
                self.shelf.drop(body)
            await turns()

        self.run(ended())

    @rule(
        count=st.integers(1, 12),
        key=st.sampled_from(KEYS),
        size=sizes,
        is_hot=st.booleans(),
        number=st.integers(0, 20),
        is_announced=st.booleans(),
    )
    def put_several(self, count, key, size, is_hot, number, is_announced) -> None:
        """Whole ones, one after the other, each under a key of its own."""
        for turn in range(count):
            self.begin(f"{key}{number + turn}", size, is_announced, is_hot, ())
            self.fly_home(self.flights[-1])

    @precondition(lambda self: self.flights)
    @rule(which=st.randoms(use_true_random=False))
    def complete(self, which) -> None:
        self.fly_home(which.choice(self.flights))

    def fly_home(self, flight: Flight) -> None:
        while (position := flight.entry.body.have.reach(0)) < len(flight.data):
            if not flight.entry.body.is_kept and flight.entry.body.storage.is_full:
                break
            self.write(flight, flight.data[position : position + 64 * KIB])
        self.land(flight)

    # What others do meanwhile

    def _entries(self) -> list[Entry]:
        return [entry for key in list(self.shelf.keys()) for entry in self.shelf.find(key)]

    @precondition(lambda self: self._entries())
    @rule(which=st.randoms(use_true_random=False), what=st.sampled_from(["remove", "withdraw", "restate", "grow head", "touch"]))
    def do_to_an_entry(self, which, what) -> None:
        entry = which.choice(self._entries())
        if what == "withdraw" and not entry.body.is_filling:
            return

        async def done() -> None:
            self.now += 40
            match what:
                case "remove":
                    self.shelf.remove(entry)
                case "withdraw":
                    self.shelf.withdraw(entry)
                case "restate":
                    self.shelf.restate(entry, make_stored(selecting=entry.stored.selecting, response_at=2000.0 + self.now))
                case "grow head":
                    lines = [(b"X", b"y" * 20_000)]
                    self.shelf.restate(entry, make_stored(*lines, selecting=entry.stored.selecting, response_at=2000.0 + self.now))
                case "touch":
                    self.shelf.touch(entry, self.now)
            await turns()

        self.run(done())

    @precondition(lambda self: self._entries())
    @rule(which=st.randoms(use_true_random=False))
    def open_reader(self, which) -> None:
        entry = which.choice(self._entries())
        self.readings.append(Reading(entry.body.open(), self.data[entry]))

    @precondition(lambda self: self.readings)
    @rule(which=st.randoms(use_true_random=False), times=st.integers(1, 5), is_closed=st.booleans())
    def read_on(self, which, times, is_closed) -> None:
        """As far as there is something to read; one that would wait is cancelled."""
        reading = which.choice(self.readings)

        async def read() -> None:
            for _ in range(times):
                task = asyncio.ensure_future(reading.reader.next())
                await turns()
                if not task.done() and reading.reader.position == reading.reader._body.have.reach(reading.reader.position):
                    task.cancel()
                await asyncio.wait([task])
                if task.cancelled() or isinstance(task.exception(), BrokenBody):
                    return
                reading.collected += task.result()

        self.run(read())
        assert bytes(reading.collected) == reading.data[: len(reading.collected)]
        if is_closed:
            self.close_reader(reading)

    def close_reader(self, reading: Reading) -> None:
        self.readings.remove(reading)

        async def closed() -> None:
            reading.reader.close()

        self.run(closed())

    @rule()
    def hold_the_disk(self) -> None:
        self.loop.is_holding = True

    @rule()
    def release_the_disk(self) -> None:
        self.loop.release()
        self.run(recorded(self.shelf))

    @rule()
    def read_everything(self) -> None:
        for entry in self._entries():
            if entry.body.is_whole:
                assert self.run(read_all(entry.body)) == self.data[entry]

    @rule(chance=st.integers(0, 5))
    def restart_now_and_then(self, chance) -> None:
        if chance == 5:
            self.restart()

    def restart(self) -> None:
        while self.flights:
            self.land(self.flights[0])
        while self.readings:
            self.close_reader(self.readings[0])
        self.release_the_disk()
        on_disk = {(entry.key, entry.stored): self.data[entry] for entry in self._entries() if entry.body.medium == "disk"}
        for place, storage in enumerate(self.shelf._disk._budget.storages()):
            os.utime(meta_path(storage.path), (place, place))  # clocks tick too slowly to tell them apart
        order = [entry.stored for entry in self.shelf._disk._budget._kept]
        self.run(self.shelf.close())
        assert not open_files(self.folder)
        self.shelf = make_shelf(self.folder, memory=MEMORY, disk=DISK, small=SMALL)
        self.run(self.shelf.open())
        self.data = {entry: on_disk[entry.key, entry.stored] for entry in self._entries()}
        assert len(self.data) == len(on_disk)
        assert [entry.stored for entry in self.shelf._disk._budget._kept] == order
        self.read_everything()

    # What always holds

    @invariant()
    def budgets_hold(self) -> None:
        held = self.shelf.statistics()
        assert held["memory_main_bytes"] + held["memory_hot_bytes"] + held["memory_filling_bytes"] <= MEMORY
        assert held["memory_hot_bytes"] <= MEMORY // 8
        assert held["disk_used_bytes"] <= DISK

    @invariant()
    def accounts_agree(self) -> None:
        memory, budget = self.shelf._memory, self.shelf._disk._budget
        for entry in [*memory.main, *memory.hot]:
            assert entry.memory_cost_bytes > len(self.data[entry])
        assert memory.filling_bytes == sum(memory._filling.values())
        assert budget.used_bytes == sum(budget._costs.values())
        assert budget._kept_bytes == sum(budget._costs[storage] for storage in budget._kept.values())
        for entry, storage in budget._kept.items():
            assert budget._costs[storage] == disk_cost(len(self.data[entry]))

    @invariant()
    def index_and_caches_agree(self) -> None:
        memory, disk = self.shelf._memory, self.shelf._disk
        indexed = self._entries()
        assert len(set(indexed)) == len(indexed)
        flying = {flight.entry for flight in self.flights}
        for entry in indexed:
            places = (entry in memory.main) + (entry in memory.hot) + (entry in disk)
            assert places == (0 if entry in flying else 1)
        assert {*memory.main, *memory.hot, *disk._budget._kept} <= set(indexed)
        whole = [(entry.key, entry.stored.selecting) for entry in indexed if entry.body.is_whole]
        assert len(set(whole)) == len(whole)

    @invariant()
    def nothing_is_left_over(self) -> None:
        flying = {flight.entry.body for flight in self.flights}
        read = {reading.reader._body for reading in self.readings}
        assert set(self.shelf._memory._filling) | set(self.shelf._disk._filling) <= flying
        assert set(self.shelf._disk._budget._promises) == set(self.shelf._disk._filling.values())
        if not self.shelf._disk._recorder._recording and not read and not flying:
            assert set(self.shelf._disk._budget._costs) == set(self.shelf._disk._budget._kept.values())
        if not flying and not read:
            busy = sum(storage.is_pinned for storage in self.shelf._disk._budget._costs)
            assert len([path for path in open_files(self.folder) if path.endswith(".body")]) <= busy

    def teardown(self) -> None:
        try:
            self.restart()
            for entry in self._entries():
                self.shelf.remove(entry)
            self.run(recorded(self.shelf))
            assert not files_in(self.folder)
            assert not any(self.shelf.statistics().values())
            self.run(self.shelf.close())
        finally:
            self.loop.close()
            shutil.rmtree(self.folder)


ShelfModel.TestCase.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
test_any_life_of_a_shelf = ShelfModel.TestCase
