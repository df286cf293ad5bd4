"""What is written in the background: in the right order, once more where it changed, and never for what has left."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from minicdn.store import diskcache
from minicdn.store.index import meta_path, read_record
from tests.unit.store.making import KIB, files_in, make_shelf, make_stored, on_loop, open_files, put, read_all, recorded, until

DATA = bytes(range(256)) * 400


@pytest.fixture
def shelf(tmp_path: Path):
    return make_shelf(tmp_path)


async def hung(disk) -> None:
    await until(disk.hung.is_set)


def tagged(number: int):
    return make_stored((b"ETag", b'"%d"' % number))


def tag_on_disk(folder: Path) -> bytes:
    (path,) = files_in(folder, ".meta")
    return read_record(path).stored["head"][1][0][1]


@on_loop
async def test_bytes_then_sync_then_record(shelf, disk):
    await shelf.open()
    disk.calls.clear()
    put(shelf, "/x", DATA)
    await recorded(shelf)
    steps = [(name, path.rsplit(".", 1)[-1]) for name, path in disk.calls if name in ("pwrite", "fsync", "write", "replace")]
    assert [step for step in steps if step != ("pwrite", "body")] == [
        ("fsync", "body"),
        ("write", "temporary"),
        ("fsync", "temporary"),
        ("replace", "temporary"),
    ]
    assert steps.index(("fsync", "body")) == steps.count(("pwrite", "body"))
    await shelf.close()


@on_loop
async def test_restated_during_the_first_sync_the_newest_is_written_after_it(shelf, tmp_path, disk):
    await shelf.open()
    disk.hang("fsync")
    entry = put(shelf, "/x", DATA)
    await hung(disk)
    for number in range(2, 50):
        shelf.restate(entry, tagged(number))
    assert len(shelf._disk._recorder._recording) == 1
    assert files_in(tmp_path, ".meta") == []
    disk.heal()
    await recorded(shelf)
    assert tag_on_disk(tmp_path) == b'"49"'
    assert disk.names().count("replace") == 1
    await shelf.close()


@on_loop
async def test_restated_while_its_record_is_written_it_is_written_once_more(shelf, tmp_path, disk):
    await shelf.open()
    disk.hang("replace")
    entry = put(shelf, "/x", DATA)
    await hung(disk)
    for number in range(2, 9):
        shelf.restate(entry, tagged(number))
    disk.heal()
    await recorded(shelf)
    assert tag_on_disk(tmp_path) == b'"8"' and disk.names().count("replace") == 2
    await shelf.close()


@pytest.mark.parametrize("step", ["fsync", "write", "replace"])
@on_loop
async def test_removed_while_it_is_recorded_nothing_stays(shelf, tmp_path, disk, step):
    await shelf.open()
    disk.hang(step)
    entry = put(shelf, "/x", DATA)
    await hung(disk)
    shelf.remove(entry)
    assert not shelf.find("/x")
    disk.heal()
    await recorded(shelf)
    assert files_in(tmp_path) == [] and not open_files(tmp_path)
    assert shelf.statistics()["disk_used_bytes"] == 0
    await shelf.close()


@pytest.mark.parametrize("step", ["fsync", "write", "replace"])
@on_loop
async def test_room_is_not_made_by_evicting_what_is_being_synced(tmp_path, disk, step):
    """Its file would still be there: the room would be counted twice."""
    shelf = make_shelf(tmp_path, disk=250 * KIB)
    await shelf.open()
    disk.hang(step)
    entry = put(shelf, "/x", DATA)
    await hung(disk)
    other = put(shelf, "/y", bytes(200 * KIB)) if step != "fsync" else None
    body = shelf.new_body("/z", 200 * KIB)
    if step == "fsync":
        assert not shelf.has_room_for(body, 200 * KIB)
        assert shelf.find("/x") == [entry]
    else:
        assert not shelf.find("/x") and other is not None
    shelf.drop(body)
    disk.heal()
    await recorded(shelf)
    assert shelf.statistics()["disk_used_bytes"] <= 250 * KIB
    assert len(files_in(tmp_path)) == 2
    await shelf.close()


@pytest.mark.parametrize(
    "call, part", [("fsync", ".body"), ("open", ".temporary"), ("write", ".temporary"), ("fsync", ".temporary"), ("replace", "")]
)
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@on_loop
async def test_what_can_not_be_recorded_is_not_kept(shelf, tmp_path, disk, call, part, code):
    await shelf.open()
    disk.fail(call, code, on=part)
    entry = put(shelf, "/x", DATA)
    reader = entry.body.open()
    await recorded(shelf)
    assert not shelf.find("/x") and shelf._counters.get("disk_errors_count") == 1
    reading = bytearray()
    while chunk := await reader.next():
        reading += chunk
    assert reading == DATA
    assert shelf.statistics()["disk_used_bytes"] > 0
    reader.close()
    await recorded(shelf)
    assert files_in(tmp_path) == [] and shelf.statistics()["disk_used_bytes"] == 0
    disk.heal()
    put(shelf, "/x", DATA)
    await recorded(shelf)
    assert len(files_in(tmp_path)) == 2
    await shelf.close()


@on_loop
async def test_facts_that_can_not_be_packed_cost_the_entry_only(shelf, tmp_path):
    await shelf.open()
    entry = put(shelf, "/x", DATA)
    await recorded(shelf)
    shelf.restate(entry, make_stored((b"X", 1 << 80)))  # type: ignore[arg-type]
    await recorded(shelf)
    assert not shelf.find("/x") and files_in(tmp_path) == []
    await shelf.close()


@on_loop
async def test_a_disk_that_hangs_does_not_keep_a_node_from_closing(shelf, tmp_path, disk, monkeypatch):
    monkeypatch.setattr(diskcache, "CLOSE_SECONDS", 0.05)
    await shelf.open()
    disk.hang("fsync")
    entries = [put(shelf, f"/{number}", DATA) for number in range(10)]
    await hung(disk)
    await shelf.close()
    shelf.restate(entries[0], tagged(2))
    assert shelf._disk._recorder._recording == {}
    disk.heal()
    again = make_shelf(tmp_path)
    await again.open()  # the folder is free
    await again.close()


@on_loop
async def test_a_close_waits_for_what_is_under_way(shelf, tmp_path):
    await shelf.open()
    for number in range(10):
        put(shelf, f"/{number}", DATA)
    await shelf.close()
    assert len(files_in(tmp_path, ".meta")) == 10 and not open_files(tmp_path)


@on_loop
async def test_a_slow_sync_does_not_take_the_threads_that_reads_wait_for(shelf, disk):
    await shelf.open()
    disk.hang("fsync")
    entries = [put(shelf, f"/{number}", DATA) for number in range(20)]
    await hung(disk)
    for entry in entries:
        assert await entry.body.storage.read_waiting(0, 10) == DATA[:10]
        entry.body.storage.park()
    disk.heal()
    await shelf.close()


@on_loop
async def test_a_file_that_could_not_be_deleted_is_tried_again(shelf, tmp_path, disk):
    """On Windows, a virus scanner may hold it for a moment."""
    await shelf.open()
    stuck, other = put(shelf, "/stuck", DATA), put(shelf, "/other", DATA)
    await recorded(shelf)
    disk.fail("unlink", errno.EACCES, on=".body")
    shelf.remove(stuck)
    await recorded(shelf)
    assert len(files_in(tmp_path, ".body")) == 2
    disk.heal()
    shelf.remove(other)
    await recorded(shelf)
    assert files_in(tmp_path) == []
    await shelf.close()


@on_loop
async def test_a_use_is_remembered_once_a_minute(shelf, tmp_path, disk):
    await shelf.open()
    entry = put(shelf, "/x", DATA)
    await recorded(shelf)
    for now in (1.0, 2.0, 50.0, 61.5, 62.0, 130.0):
        shelf.touch(entry, now)
    assert disk.names().count("utime") == 3
    disk.fail("utime", errno.EROFS)
    shelf.touch(entry, 1000.0)
    await shelf.close()


@on_loop
async def test_after_a_restart_a_restated_entry_is_written_without_a_sync_of_its_body(shelf, tmp_path, disk):
    await shelf.open()
    put(shelf, "/x", DATA)
    await shelf.close()
    again = make_shelf(tmp_path)
    await again.open()
    disk.calls.clear()
    (entry,) = again.find("/x")
    again.restate(entry, tagged(7))
    await recorded(again)
    assert tag_on_disk(tmp_path) == b'"7"' and disk.names().count("fsync") == 1
    assert await read_all(entry.body) == DATA
    assert meta_path(entry.body.storage.path).exists()
    await again.close()
