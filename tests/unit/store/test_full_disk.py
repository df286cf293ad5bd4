"""A disk that is fuller than the budget thinks, or takes nothing at all: what leaves, what is not begun, and what goes on."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from minicdn.errors import BodyGone, DiskError
from minicdn.store import disk as disk_module
from minicdn.store import diskcache
from tests.unit.store.faults import FaultyDisk
from tests.unit.store.making import KIB, MIB, begin, make_shelf, on_loop, put, random_bytes, read_all, write

LARGE = 256 * KIB


@pytest.fixture(autouse=True)
def little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diskcache, "ROOM_BYTES", LARGE)


def _refuse_once(disk: FaultyDisk, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """The next write fails, and those after it do until a file is deleted."""
    disk.fail("pwrite", code)
    disk.after = lambda name: disk.heal() if name == "unlink" else None


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@on_loop
async def test_where_the_disk_is_full_entries_leave_for_what_comes(tmp_path: Path, disk: FaultyDisk, monkeypatch, code: int) -> None:
    shelf = make_shelf(tmp_path)
    await shelf.open()
    _, newer = (put(shelf, key, random_bytes(LARGE)) for key in ("/old", "/newer"))
    await shelf.wait_recorded()
    coming = begin(shelf, "/coming", LARGE)
    _refuse_once(disk, monkeypatch, code)
    write(shelf, coming, random_bytes(LARGE, 2))
    coming.body.finish()
    shelf.keep(coming)
    assert not shelf.find("/old") and shelf.find("/coming") == [coming]
    assert await read_all(coming.body) == random_bytes(LARGE, 2)
    assert shelf.find("/newer") == [newer], "no more than is needed"
    await shelf.close()


@on_loop
async def test_a_body_that_was_purged_while_more_came_is_no_fault_of_the_disk(tmp_path: Path) -> None:
    """Its writes were taken for refused ones: for some seconds nothing large was kept, and each client had a request of his own."""
    shelf = make_shelf(tmp_path)
    await shelf.open()
    entry = put(shelf, "/a", random_bytes(LARGE))
    shelf.remove(entry)
    with pytest.raises(BodyGone):
        entry.body.write(0, random_bytes(LARGE))  # by a second one who fills it
    assert shelf.new_body("/a", LARGE).is_kept
    await shelf.close()


@on_loop
async def test_a_disk_that_takes_nothing_is_left_alone_for_a_while(tmp_path: Path, disk: FaultyDisk, monkeypatch) -> None:
    shelf = make_shelf(tmp_path)
    await shelf.open()
    entry = begin(shelf, "/a", LARGE)
    disk.fail("pwrite", errno.EACCES)
    with pytest.raises(DiskError):
        entry.body.write(0, b"a")
    assert not shelf.new_body("/b", LARGE).is_kept
    disk.heal()
    assert not shelf.new_body("/b", LARGE).is_kept
    monkeypatch.setattr(diskcache, "REFUSED_SECONDS", 0.0)
    disk.fail("pwrite", errno.EACCES)
    with pytest.raises(DiskError):
        entry.body.write(0, b"a")
    assert shelf.new_body("/b", LARGE).is_kept
    await shelf.close()


@on_loop
async def test_what_the_file_system_has_no_room_for_is_not_begun(tmp_path: Path, monkeypatch) -> None:
    shelf = make_shelf(tmp_path)
    await shelf.open()
    free = [LARGE + LARGE]
    monkeypatch.setattr(diskcache, "free_space", lambda folder: free[0])
    coming = begin(shelf, "/coming", LARGE)
    assert coming.body.is_kept
    assert not shelf.new_body("/beside", LARGE).is_kept, "what is coming has not taken its room yet"
    write(shelf, coming, random_bytes(LARGE))
    coming.body.finish()
    shelf.keep(coming)
    await shelf.wait_recorded()
    monkeypatch.setattr(diskcache, "ROOM_BYTES", KIB)
    free[0] = 0
    assert shelf.new_body("/later", LARGE // 2).is_kept and not shelf.find("/coming"), "it leaves for others"
    assert not shelf.new_body("/last", LARGE // 2).is_kept, "nothing is left that could leave"
    await shelf.close()


@on_loop
async def test_room_that_is_claimed_already_is_not_wanted_twice(tmp_path: Path, monkeypatch) -> None:
    shelf = make_shelf(tmp_path)
    await shelf.open()
    free = [LARGE + 2 * LARGE]

    def claim(fd: int, size: int, offset: int = 0) -> bool:
        free[0] -= size
        return True

    monkeypatch.setattr(disk_module, "claim_space", claim)
    monkeypatch.setattr(diskcache, "free_space", lambda folder: free[0])
    coming = begin(shelf, "/coming", LARGE)
    write(shelf, coming, random_bytes(LARGE)[: LARGE // 2])
    assert free[0] < 3 * LARGE - LARGE // 2, "more is claimed than was written"
    assert shelf.new_body("/beside", LARGE).is_kept
    assert not shelf.new_body("/besides", LARGE // 2).is_kept, "what is coming besides has not taken its room yet"
    await shelf.close()


@on_loop
async def test_a_body_in_pieces_has_its_room_before_it_is_begun_or_is_not_kept(tmp_path: Path, monkeypatch) -> None:
    shelf = make_shelf(tmp_path)
    await shelf.open()
    claimed = []

    def claim(fd: int, size: int, offset: int = 0) -> bool:
        claimed.append(size)
        if len(claimed) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return True

    monkeypatch.setattr(disk_module, "claim_space", claim)
    entries = [begin(shelf, f"/{number}", 4 * MIB) for number in range(2)]
    for entry in entries:
        shelf.withdraw(entry)
    assert [shelf.begin_partial(entry) for entry in entries] == [True, False]
    assert claimed[:2] == [4 * MIB, 4 * MIB]
    await shelf.close()


@pytest.mark.skipif(not hasattr(os, "statvfs"), reason="this system does not tell blocks")
@on_loop
async def test_the_room_is_real(tmp_path: Path) -> None:
    shelf = make_shelf(tmp_path)
    await shelf.open()
    entry = begin(shelf, "/file", 4 * MIB)
    shelf.withdraw(entry)
    assert shelf.begin_partial(entry)
    entry.body.write(0, random_bytes(KIB))
    (file,) = [path for path in (tmp_path / "objects").glob("??/*") if path.name.endswith(".body")]
    if file.stat().st_blocks * 512 < 4 * MIB:
        pytest.skip("this file system can't give room before bytes are written")
    assert file.stat().st_size == KIB
    await shelf.close()


@pytest.mark.skipif(not hasattr(os, "statvfs"), reason="this system does not tell blocks")
@pytest.mark.parametrize("length", [None, 4 * MIB])
@on_loop
async def test_what_is_claimed_for_a_body_that_grows_is_no_more_than_the_budget_counts(tmp_path: Path, length: int | None) -> None:
    shelf = make_shelf(tmp_path)
    await shelf.open()
    entry = begin(shelf, "/file", length)
    claimed = 0
    for end in range(100 * KIB, 4 * MIB, 100 * KIB):
        assert shelf.has_room_for(entry.body, end)
        entry.body.write(end - 100 * KIB, bytes(100 * KIB))
        (file,) = [path for path in (tmp_path / "objects").glob("??/*") if path.name.endswith(".body")]
        assert file.stat().st_size == end
        assert file.stat().st_blocks * 512 <= shelf.statistics()["disk_used_bytes"]
        claimed += file.stat().st_blocks * 512 > end + 64 * KIB
    if length is None:
        assert not claimed, "nobody knows where it ends"
    elif not claimed:
        pytest.skip("this file system can't give room before bytes are written")
    await shelf.close()


@on_loop
async def test_what_somebody_is_about_to_read_does_not_leave(tmp_path: Path) -> None:
    shelf = make_shelf(tmp_path, disk=2 * LARGE)
    await shelf.open()
    held = put(shelf, "/held", random_bytes(LARGE))
    held.body.hold()
    assert not shelf.has_room_for(begin(shelf, "/first", LARGE).body, LARGE)
    assert shelf.find("/held") == [held]
    shelf.remove(held)
    assert await read_all(held.body) == random_bytes(LARGE), "not even where it left the shelf"
    held.body.let_go()
    assert shelf.has_room_for(begin(shelf, "/second", LARGE).body, LARGE)
    await shelf.close()
