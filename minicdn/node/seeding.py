"""What this node does for others' swarms: it loads the pieces it owns, two at a time and in file order, and remembers who took which.

A load is a fill of that part (fills.py), so the bytes lie in the same partial body that this node's own clients read, and are passed on
while they arrive. Loading two at a time keeps the upstream busy while a question travels; more would make each of them slower for all
who wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from heapq import heappop, heappush

from cachetools import LRUCache

from minicdn.core.conditional import strong_validator
from minicdn.core.decide import is_of_the_moment
from minicdn.core.headers import without
from minicdn.core.message import Head, Request
from minicdn.core.pieces import Pieces
from minicdn.core.tracker import Tracker
from minicdn.errors import BrokenBody, MinicdnError, UpstreamError
from minicdn.node.fill import Fill, again
from minicdn.node.supply import Part
from minicdn.node.wanted import range_value
from minicdn.store.entry import Entry

LOADS_MAX = 2
SEEDS_MAX = 1024
SEED_BYTES = 16 * 1024
"""Reckoned for each, beside the fields that it keeps: a peer may send long ones, and then fewer files are remembered."""
LOOK_SECONDS = 0.1
VIA = frozenset((b"via",))


class Changed(MinicdnError):
    """The upstream has another version of the file by now."""


class NoRoom(MinicdnError):
    """This node can't keep a piece just now: somebody else may."""


@dataclass(frozen=True, slots=True)
class FileId:
    """Which file: its key, and the strong validator and length of the version."""

    key: str
    validator: bytes
    length: int


Load = Callable[[Request, Part, str | None], Fill]
"""Starts a fill of a part. The text: the peer to be asked before the upstream."""
Find = Callable[[str], list[Entry]]


class Seed:
    """One file, as this node serves its pieces."""

    def __init__(self, file: FileId, request: Request, pieces: Pieces, load: Load, find: Find) -> None:
        """request: as the upstream is to be asked, by whoever asked first."""
        self.file = file
        self.request = request
        self.pieces = pieces
        self.tracker = Tracker()
        self.arriving: set[int] = set()
        """Pieces that this node itself gets from the upstream, or a hint, just now: good enough to be passed on."""
        self.relayed: set[int] = set()
        """Pieces that come from their owner. They are passed on as well, but not to who asks this node in the owner's place: nodes that
        do not agree on who that is would wait for each other in a ring."""
        self.is_partless = False
        """The upstream has sent the whole where a piece was asked for: it is taken as it comes, and that once at a time."""
        self.is_thin = False
        """This node's uplink (core/uplink.py), beside what it takes of this file."""
        self._whole: asyncio.Task[None] | None = None
        self._seen_head: Head | None = None
        self._masked: tuple[object, ...] | None = None
        self._mask = 0
        self._load = load
        self._find = find
        self._loading: dict[int, asyncio.Future[Entry]] = {}
        self._queue: list[tuple[int, str | None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._running: dict[int, asyncio.Task[None]] = {}

    def entry(self) -> Entry | None:
        """Where its bytes are, if any are here."""
        for entry in self._find(self.file.key):
            if entry.stored is not None and entry.body.length == self.file.length and self._is_of_file(entry.head):
                return entry
        return None

    def _is_of_file(self, head: Head) -> bool:
        """Asked several times for each piece, of the same head."""
        if head is not self._seen_head:
            if strong_validator(head) != self.file.validator:
                return False
            self._seen_head = head
        return True

    def has(self, entry: Entry, index: int) -> bool:
        return entry.body.have.covers(*self.pieces.span(index))

    def is_coming(self, index: int, *, is_owners: bool) -> bool:
        """Whether it can be passed on while it arrives. is_owners: to one who asks this node as its owner."""
        return index in self.arriving or (not is_owners and index in self.relayed)

    def have_mask(self) -> int:
        """One bit for each piece that is here whole."""
        entry = self.entry()
        ledger = entry.body.ledger if entry is not None else None
        state = None if ledger is None else (ledger, ledger.version, entry.body.is_whole)  # type: ignore[union-attr]
        if state is None or state != self._masked:
            mask = 0
            for start, end in entry.body.have if entry is not None else ():
                within = self.pieces.within(start, end)
                mask |= ((1 << len(within)) - 1) << within.start if len(within) else 0
            self._masked, self._mask = state, mask
        return self._mask

    async def load(self, index: int, hint: str | None = None) -> Entry:
        """Returns when the piece is on its way into the entry's body, or there. Raises Changed, NoRoom or UpstreamError."""
        entry = self.entry()
        future = self._loading.get(index)
        if entry is not None and (self.has(entry, index) or (future is None and index in self.arriving)):
            return entry
        if future is None:
            future = self._loading[index] = asyncio.get_running_loop().create_future()
            future.add_done_callback(lambda done: done.cancelled() or done.exception())
            heappush(self._queue, (index, hint))
            self._pump()
        try:
            return await asyncio.shield(future)
        except (Changed, NoRoom) as error:
            raise type(error)(str(error)) from None
        except UpstreamError as error:
            raise again(error) from None

    @asynccontextmanager
    async def load_whole(self, index: int, hint: str | None = None) -> AsyncIterator[Entry]:
        """All of the piece is there, and stays as long as this lasts. Raises as load(), or BrokenBody."""
        entry = await self.load(index, hint)
        entry.body.hold()
        try:
            while not self.has(entry, index):
                # Not for its bytes: who loads it for a swarm is himself one whom the body expects them from.
                if index not in self.arriving:
                    raise BrokenBody("a piece did not come whole")
                await self._wait_for_news(index)
            await entry.body.wait_reach(self.pieces.span(index)[0])
            yield entry
        finally:
            entry.body.let_go()

    async def _wait_for_news(self, index: int) -> None:
        """Until its load is over; a moment, where it arrives in another way."""
        task = self._running.get(index) or self._whole
        await (asyncio.wait((task,)) if task is not None else asyncio.sleep(LOOK_SECONDS))

    def stop(self) -> None:
        """Who waits learns so."""
        self._queue = []
        for future in self._loading.values():
            _tell(future, UpstreamError("the node is closing"))
        for task in self._tasks:
            task.cancel()

    @property
    def is_busy(self) -> bool:
        return bool(self._tasks)

    def _pump(self) -> None:
        while self._queue and len(self._tasks) < LOADS_MAX:
            index, hint = heappop(self._queue)
            task = asyncio.get_running_loop().create_task(self._run(index, hint), name=f"piece {index} of {self.file.key}")
            self._tasks.add(task)
            self._running[index] = task
            task.add_done_callback(self._loaded)

    def _loaded(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._pump()

    async def _run(self, index: int, hint: str | None) -> None:
        future = self._loading[index]
        try:
            fill = self._load(self.request, Part(range_value(*self.pieces.span(index), self.file.length), self.file.validator), hint)
            outcome = await fill.wait_outcome()
            fill.release()
            entry = outcome.entry
            if entry is None:
                raise outcome.error or UpstreamError("nothing came")
            if is_of_the_moment(entry.head.status):
                raise UpstreamError(f"the upstream answered {entry.head.status}")
            if entry.body.length != self.file.length or strong_validator(entry.head) != self.file.validator or fill.span is None:
                assert fill.task is not None
                fill.task.cancel()
                if entry.head.status == 206 and strong_validator(entry.head) == self.file.validator:
                    raise NoRoom("there is no room for a piece here")
                raise Changed("the upstream has another version of the file, or sends no parts of it")
            if fill.span == (0, self.file.length):
                await self._take_whole(fill, entry, future)
                return
            self.arriving.add(index)
            future.set_result(entry)
            assert fill.task is not None
            await asyncio.wait((fill.task,))
        except MinicdnError as error:
            _tell(future, error if isinstance(error, Changed | NoRoom | UpstreamError) else UpstreamError(str(error)))
        finally:
            # Not by cancelling it: that would look like the cancellation of each who waits.
            _tell(future, UpstreamError("the load of a piece was given up"))
            self.arriving.discard(index)
            del self._loading[index], self._running[index]

    async def _take_whole(self, fill: Fill, entry: Entry, future: asyncio.Future[Entry]) -> None:
        """All of the file comes where a piece was asked for: it is for whoever waits for any of it, and a second such stream for nobody."""
        assert fill.task is not None
        self.is_partless = True
        future.set_result(entry)
        if self._whole is not None:
            fill.task.cancel()
            await asyncio.wait((self._whole,))
            return
        arriving = set(range(self.pieces.count)) - self.arriving
        self._whole = fill.task
        self.arriving |= arriving
        queue, self._queue = self._queue, []
        for index, _ in queue:
            self._loading.pop(index).set_result(entry)
        try:
            await asyncio.wait((fill.task,))
        finally:
            self._whole = None
            self.arriving -= arriving


def _cost(seed: Seed) -> int:
    return SEED_BYTES + sum(len(name) + len(value) for name, value in seed.request.fields)


def _tell(future: asyncio.Future[Entry], error: MinicdnError) -> None:
    if not future.done():
        future.set_exception(error)


class Seeding:
    """All files that this node serves pieces of: the SEEDS_MAX used last, or fewer."""

    def __init__(self, load: Load, find: Find) -> None:
        self._load = load
        self._find = find
        self._seeds: LRUCache[FileId, Seed] = LRUCache(SEEDS_MAX * SEED_BYTES, _cost)

    def seed(self, file: FileId, request: Request, pieces: Pieces) -> Seed:
        """The one of this file; made where there is none."""
        seed = self._seeds.get(file)
        if seed is None:
            # Who asked first is no part of what is asked for all: asked as a hint, he would take it for a loop.
            request = replace(request, fields=without(request.fields, VIA))
            seed = self._seeds[file] = Seed(file, request, pieces, self._load, self._find)
        return seed

    def is_partless(self, file: FileId) -> bool:
        """Whether the upstream has turned out to send no parts of it, whatever it says."""
        seed = self._seeds.get(file)
        return seed is not None and seed.is_partless

    def peers_gone(self, urls: set[str]) -> None:
        for seed in self._seeds.values():
            for url in urls:
                seed.tracker.forget(url)

    def stop(self) -> None:
        for seed in self._seeds.values():
            seed.stop()
