"""The process is killed after any one step on the disk: what the next one finds was whole, or is not there."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import threading
from itertools import count
from pathlib import Path

import pytest

from minicdn.store.index import META_SUFFIX
from tests.unit.store.making import files_in, make_shelf, make_stored, on_loop, put, random_bytes, read_all, recorded


class Snapshots:
    """The folder as it was after each step, from the start on."""

    def __init__(self, folder: Path, into: Path, disk) -> None:
        self._folder, self._into = folder, into
        self._taking = threading.Lock()
        self._numbers = count()
        self.taken: list[tuple[str, Path]] = []
        disk.after = self.take

    def take(self, step: str) -> None:
        if step in ("pread", "preadv"):
            return
        with self._taking:
            copy = self._into / str(next(self._numbers))
            shutil.copytree(self._folder, copy, copy_function=_copied)
            self.taken.append((step, copy))


def _copied(source: str, target: str) -> None:
    try:
        shutil.copy2(source, target)
    except FileNotFoundError:
        pass  # deleted by another thread while we copied


async def found_after(folder: Path, expected: dict[str, set[bytes]]) -> set[str]:
    """Every entry that a new node finds is one of those expected, whole; nothing else is left in its folder."""
    shelf = make_shelf(folder)
    await shelf.open()
    keys = set(shelf.keys())
    for key in keys:
        (entry,) = shelf.find(key)
        assert await read_all(entry.body) in expected[key]
    await recorded(shelf)
    assert len(files_in(folder)) == 2 * len(keys)
    await shelf.close()
    return keys


def tear(folder: Path, seed: int) -> None:
    """The power fails: what was not synced may be of any length. A record has a name only after its sync, so it is whole."""
    rng = random.Random(seed)
    for path in files_in(folder):
        if not path.with_suffix(META_SUFFIX).exists() or path.suffix == ".temporary":
            os.truncate(path, rng.randrange(path.stat().st_size + 1))


@pytest.fixture
def node(tmp_path: Path, disk):
    folder = tmp_path / "cache"
    folder.mkdir()
    copies = Path(str(tmp_path) + "-copies")  # not below the folder whose calls are watched
    copies.mkdir()
    yield folder, Snapshots(folder, copies, disk)
    shutil.rmtree(copies)


@on_loop
async def test_killed_at_any_step_of_writing(node):
    folder, snapshots = node
    shelf = make_shelf(folder)
    await shelf.open()
    bodies = {"/a": random_bytes(100_000, 1), "/b": random_bytes(80_000, 2)}
    for key, data in bodies.items():
        put(shelf, key, data)
        await recorded(shelf)
    await shelf.close()
    expected = {key: {data} for key, data in bodies.items()}
    history = []
    for number, (step, copy) in enumerate(list(snapshots.taken)):
        torn = copy.with_name(f"{copy.name}-torn")
        shutil.copytree(copy, torn)
        tear(torn, number)
        history.append((step, await found_after(copy, expected)))
        assert await found_after(torn, expected) == history[-1][1]
    steps = [step for step, _ in history]
    assert steps.count("replace") == 2 and steps.count("fsync") == 4
    found = [keys for _, keys in history]
    assert found == sorted(found, key=len) and found[0] == set() and found[-1] == set(bodies)
    first_seen = next(index for index, keys in enumerate(found) if keys)
    assert steps[first_seen] == "replace" and "fsync" in steps[:first_seen]


@on_loop
async def test_killed_at_any_step_of_replacing(node):
    folder, snapshots = node
    shelf = make_shelf(folder)
    await shelf.open()
    old, new = random_bytes(100_000, 1), random_bytes(90_000, 2)
    put(shelf, "/x", old, response_at=1000.0)
    await recorded(shelf)
    snapshots.taken.clear()
    put(shelf, "/x", new, response_at=2000.0)
    await shelf.close()
    found = [await found_after(copy, {"/x": {old, new}}) for _, copy in list(snapshots.taken)]
    assert found[0] == found[-1] == {"/x"}


@on_loop
async def test_killed_at_any_step_of_restating(node):
    folder, snapshots = node
    shelf = make_shelf(folder)
    await shelf.open()
    data = random_bytes(100_000)
    entry = put(shelf, "/x", data)
    await recorded(shelf)
    snapshots.taken.clear()
    shelf.restate(entry, make_stored((b"ETag", b'"2"')))
    await recorded(shelf)
    await shelf.close()
    assert len(snapshots.taken) >= 4
    for _, copy in list(snapshots.taken):
        assert await found_after(copy, {"/x": {data}}) == {"/x"}


@on_loop
async def test_killed_at_any_step_of_removing(node):
    folder, snapshots = node
    shelf = make_shelf(folder)
    await shelf.open()
    data = random_bytes(100_000)
    entry = put(shelf, "/x", data)
    await recorded(shelf)
    snapshots.taken.clear()
    shelf.remove(entry)
    await recorded(shelf)
    await shelf.close()
    # The first step settles it: a purge that was told to be done stays done.
    assert [await found_after(copy, {}) for _, copy in list(snapshots.taken)] == [set()] * len(snapshots.taken)
    assert snapshots.taken[0][0] == "unlink"


@on_loop
async def test_killed_while_bodies_are_being_filled(tmp_path: Path):
    folder = tmp_path / "cache"
    shelf = make_shelf(folder)
    await shelf.open()
    bodies = [shelf.new_body(f"/{number}", 200_000) for number in range(5)]
    for offset in range(0, 200_000, 50_000):
        for body in bodies:
            body.write(offset, bytes(50_000))
        copy = tmp_path / f"copy-{offset}"
        shutil.copytree(folder, copy)
        assert await found_after(copy, {}) == set()
    for body in bodies:
        body.fail("killed")
        shelf.drop(body)
    await shelf.close()


@pytest.mark.parametrize("seed", range(3))
@on_loop
async def test_killed_at_any_step_of_a_busy_life(node, seed):
    """Bodies come, are restated, replaced, evicted and purged, several at once; each of the copies is recovered from."""
    folder, snapshots = node
    rng = random.Random(seed)
    shelf = make_shelf(folder, disk=500_000)
    await shelf.open()
    expected: dict[str, set[bytes]] = {f"/{number}": set() for number in range(4)}
    for turn in range(12):
        key = f"/{rng.randrange(4)}"
        data = random_bytes(70_000 + 4096 * rng.randrange(20), turn)
        expected[key].add(data)
        entry = put(shelf, key, data, response_at=1000.0 + turn)
        if rng.random() < 0.4:
            shelf.restate(entry, make_stored(response_at=1000.5 + turn))
        if rng.random() < 0.2:
            shelf.remove(entry)
        if rng.random() < 0.5:
            await asyncio.sleep(0.002)
    await shelf.close()
    for _, copy in list(snapshots.taken)[:: max(1, len(snapshots.taken) // 40)]:
        await found_after(copy, expected)
