"""What a purge does on one node: to what is stored, while it sweeps, and to the node's mark."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from minicdn.core.counters import Counters
from minicdn.core.freshness import is_fresh
from minicdn.core.journal import Entry as JournalEntry
from minicdn.core.journal import Mark
from minicdn.core.purging import EVERYTHING, Purge
from minicdn.node import purger as module
from minicdn.node.marks import MarkKeeper
from minicdn.node.purger import Purger
from minicdn.store.entry import Entry
from minicdn.store.statefile import StateFile
from tests.unit.node.fakes import FakeClock
from tests.unit.store.making import begin, make_shelf, on_loop, write

BODY = b"x" * 100


class Desk:
    """A shelf with entries that came one second ago."""

    def __init__(self, folder: Path | None = None) -> None:
        self.clock = FakeClock()
        self.counters = Counters()
        self.shelf = make_shelf(folder)
        self.told: list[tuple[Purge, bool]] = []
        self.purger = Purger(self.shelf, self.clock, self.counters, lambda *told: self.told.append(told))

    def put(self, key: str, *tags: str, later: float = -1.0, length: int = len(BODY)) -> Entry:
        entry = begin(self.shelf, key, length, response_at=self.clock.wall() + later)
        stored = entry.stored
        assert stored is not None
        entry.stored = type(stored)(**{name: getattr(stored, name) for name in stored.__slots__} | {"tags": frozenset(tags)})
        write(self.shelf, entry, b"x" * length)
        entry.body.finish()
        self.shelf.keep(entry)
        return entry

    def is_fresh(self, entry: Entry) -> bool:
        assert entry.stored is not None
        return is_fresh(entry.stored, self.clock.wall())


@on_loop
async def test_named_paths_are_marked_before_anything_is_awaited() -> None:
    desk = Desk()
    one, other = desk.put("/a"), desk.put("/b")
    sweep = desk.purger.begin(Purge(frozenset(("/a", "/nothing"))))
    assert not desk.is_fresh(one) and desk.is_fresh(other)
    assert sweep.is_over and await sweep.wait() == 1
    assert one in desk.shelf.find("/a") and one.body.read_whole() == BODY
    assert (desk.counters.get("purges_count"), desk.counters.get("purged_entries_count")) == (1, 1)


@pytest.mark.parametrize(
    ("purge", "stale"),
    [
        (Purge(prefixes=("/a",)), ["/a/1", "/a/2"]),
        (Purge(tags=frozenset(("t",))), ["/a/1", "/b"]),
        (Purge(frozenset(("/b",)), ("/a/2",), frozenset(("t",))), ["/a/1", "/a/2", "/b"]),
        (EVERYTHING, ["/a/1", "/a/2", "/b", "/c"]),
    ],
)
@pytest.mark.parametrize("is_soft", [True, False])
def test_what_a_sweep_marks(purge: Purge, stale: list[str], is_soft: bool) -> None:
    @on_loop
    async def run() -> None:
        desk = Desk()
        entries = [desk.put("/a/1", "t", "u"), desk.put("/a/2"), desk.put("/b", "t"), desk.put("/c", "T")]
        sweep = desk.purger.begin(Purge(purge.paths, purge.prefixes, purge.tags, is_soft))
        assert await sweep.wait() == len(stale)
        if is_soft:
            assert [entry.key for entry in entries if not desk.is_fresh(entry)] == stale
        else:
            assert sorted(desk.shelf.keys()) == [entry.key for entry in entries if entry.key not in stale]

    run()


@on_loop
async def test_a_sweep_leaves_time_for_others_and_is_in_force_meanwhile() -> None:
    desk = Desk()
    entries = [desk.put(f"/a/{number}", "t") for number in range(1000)]
    turns = 0
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "SLICE_SECONDS", 0.0)
        sweep = desk.purger.begin(Purge(tags=frozenset(("t",))))
        last = entries[-1]
        assert desk.purger.is_sweeping and desk.is_fresh(last)
        assert desk.purger.check(last) is last and not desk.is_fresh(last)
        while not sweep.is_over:
            await asyncio.sleep(0)
            turns += 1
    assert turns >= 5
    assert sweep.count == 1000, "the one that was checked meanwhile counts once"
    assert not desk.purger.is_sweeping


@on_loop
async def test_what_came_after_the_purge_is_left_alone_by_the_look_ahead() -> None:
    desk = Desk()
    old, new = desk.put("/old", "t"), desk.put("/new", "t", later=1.0)
    desk.purger.begin(Purge(tags=frozenset(("t",)), is_soft=False))
    assert desk.purger.check(new) is new and desk.is_fresh(new)
    assert desk.purger.check(old) is None and desk.shelf.find("/old") == []


@on_loop
async def test_who_reads_what_is_purged_hard_reads_to_the_end() -> None:
    desk = Desk()
    entry = desk.put("/a")
    reader = entry.body.open()
    await desk.purger.begin(Purge(frozenset(("/a",)), is_soft=False)).wait()
    assert desk.shelf.find("/a") == []
    assert await reader.next() == BODY
    reader.close()


@on_loop
async def test_a_token_is_carried_out_once() -> None:
    desk = Desk()
    desk.put("/a")
    purge = Purge(frozenset(("/a",)))
    assert await desk.purger.begin(purge, "t1").wait() == 1
    again = desk.put("/a", later=0.0)
    assert await desk.purger.begin(purge, "t1").wait() == 1
    assert desk.is_fresh(again)
    desk.purger.begin(purge, "t2")
    assert not desk.is_fresh(again)
    for number in range(module.TOKENS_MAX):
        desk.purger.begin(Purge(), f"many{number}")
    assert len(desk.purger._tokens) == module.TOKENS_MAX


@on_loop
async def test_sweeps_that_wait_are_bounded() -> None:
    desk = Desk()
    entries = [desk.put(f"/{number}", f"t{number}") for number in range(module.SWEEPS_MAX + 10)]
    sweeps = [desk.purger.begin(Purge(tags=frozenset((f"t{number}",)))) for number in range(len(entries))]
    assert len(desk.purger._waiting) == module.SWEEPS_MAX
    for sweep in sweeps:
        await sweep.wait()
    assert not any(desk.is_fresh(entry) for entry in entries)


@on_loop
async def test_a_count_is_not_waited_for_longer_than_allowed() -> None:
    desk = Desk()
    desk.put("/a", "t")
    desk.purger._sweeping = asyncio.ensure_future(asyncio.Event().wait())
    assert await desk.purger.begin(Purge(tags=frozenset(("t",)))).wait(0.01) == 0
    await desk.purger.stop()


@on_loop
async def test_catching_up_with_what_was_missed() -> None:
    desk = Desk()
    one, other = desk.put("/a"), desk.put("/b")
    desk.purger.is_unsure = True
    desk.purger.catch_up([JournalEntry(3, 2, "t3", Purge(frozenset(("/a",))))], Mark("j", 3))
    assert not desk.is_fresh(one) and desk.is_fresh(other)
    assert desk.purger.mark == Mark("j", 3) and not desk.purger.is_unsure
    desk.purger.catch_up(None, Mark("other", 7))
    await desk.purger.wait_swept()
    assert not desk.is_fresh(other) and desk.purger.mark == Mark("other", 7)


@on_loop
async def test_who_has_nothing_has_missed_nothing() -> None:
    desk = Desk()
    desk.purger.catch_up(None, Mark("j", 3))
    assert desk.counters.get("purges_count") == 0
    assert desk.told == [(EVERYTHING, False)], "but what is on its way is from before"


@on_loop
async def test_the_mark_follows_step_by_step_only() -> None:
    purger = Desk().purger
    purger.catch_up([], Mark("j", 1))
    purger.follow(Mark("j", 2), Mark("j", 3))
    assert purger.mark == Mark("j", 1), "one in between is missing"
    purger.follow(Mark("j", 1), Mark("j", 2))
    assert purger.mark == Mark("j", 2)
    assert purger.is_behind(Mark("j", 3)) and purger.is_behind(Mark("other", 0))
    assert not purger.is_behind(Mark("j", 2)) and not purger.is_behind(None)


@on_loop
async def test_the_mark_is_written_when_the_entries_are_and_not_before(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    await desk.shelf.open()
    large = desk.put("/large", "t", length=200_000)
    file = StateFile(tmp_path / "mark")
    keeper = MarkKeeper(file, desk.purger, desk.shelf, desk.counters)
    await keeper.load()
    desk.purger.catch_up([], Mark("j", 1))
    await keeper._task
    assert await file.load() == "j.1"
    recorded = asyncio.Event()
    wait_recorded, desk.shelf.wait_recorded = desk.shelf.wait_recorded, recorded.wait  # type: ignore[method-assign]
    desk.purger.begin(Purge(tags=frozenset(("t",))), "t2")
    desk.purger.follow(Mark("j", 1), Mark("j", 2))
    await desk.purger.wait_swept()
    await asyncio.sleep(0.01)
    assert await file.load() == "j.1", "the entries' metadata may not be on the disk yet"
    recorded.set()
    await keeper._task
    assert await file.load() == "j.2"
    desk.shelf.wait_recorded = wait_recorded  # type: ignore[method-assign]
    assert not desk.is_fresh(large)
    await keeper.close()
    await desk.shelf.close()
    again = make_shelf(tmp_path)
    await again.open()
    [found] = again.find("/large")
    assert not is_fresh(found.stored, desk.clock.wall())
    await again.close()
