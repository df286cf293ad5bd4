"""A body's file: what is done when the disk refuses, and when its handle is open."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from pathlib import Path

import pytest

from minicdn.errors import BrokenBody, DiskError
from minicdn.store import disk as disk_module
from minicdn.store.body import Body
from minicdn.store.disk import DiskStorage
from tests.unit.store.making import KIB, on_loop, open_files, random_bytes, read_all, turns, until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "1.body"


@pytest.fixture
def waiting_reads(monkeypatch):
    """As on a system that can't tell what is cached: every read goes through a thread."""
    monkeypatch.setattr(disk_module, "HAS_CACHED_READS", False)


def whole(path: Path, data: bytes) -> Body:
    body = Body(DiskStorage(path), len(data))
    body.write(0, data)
    body.finish()
    return body


@on_loop
async def test_it_reads_back_what_was_written_either_way(path, monkeypatch):
    data = random_bytes(600 * KIB)
    body = whole(path, data)
    assert await read_all(body) == data
    monkeypatch.setattr(disk_module, "HAS_CACHED_READS", False)
    found = Body.found(DiskStorage(path, is_found=True), len(data))
    assert await read_all(found) == data
    assert await read_all(found, 1000, 300_000) == data[1000:300_000]


@on_loop
async def test_a_cached_file_is_read_without_a_thread(path, disk):
    body = whole(path, b"hello")
    await read_all(body)
    assert "pread" not in disk.names()
    assert {thread for _, thread in disk.threads} == {threading.get_ident()}


@pytest.mark.skipif(not disk_module.HAS_CACHED_READS, reason="this system has no reads that don't wait")
@on_loop
async def test_what_leaves_from_a_file_is_looked_for_in_each_mib_of_it(path, monkeypatch):
    storage = whole(path, random_bytes(4096 * KIB)).storage
    real, gone = disk_module.read_cached, []
    monkeypatch.setattr(disk_module, "read_cached", lambda fd, size, offset: None if offset in gone else real(fd, size, offset))
    assert storage.cached_file(100, 3000 * KIB) is not None
    gone.append(100 + 2048 * KIB)
    assert storage.cached_file(100, 3000 * KIB) is None
    assert storage.cached_file(100, 1000 * KIB) is not None
    gone.append(99 + 1000 * KIB)
    assert storage.cached_file(100, 1000 * KIB) is None


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EINVAL, errno.EAGAIN, errno.EIO])
@on_loop
async def test_where_cached_reads_do_not_work_a_thread_reads(path, disk, code):
    data = random_bytes(500 * KIB)
    body = whole(path, data)
    disk.fail("preadv", code)
    assert await read_all(body) == data
    assert not body.storage.is_damaged


@on_loop
async def test_a_file_system_without_cached_reads_is_asked_once(path, disk):
    body = whole(path, bytes(600 * KIB))
    disk.fail("preadv", errno.EOPNOTSUPP)
    await read_all(body)
    assert disk.names().count("preadv") == 1


@on_loop
async def test_a_read_in_pieces_is_put_together(path, monkeypatch, waiting_reads):
    data = random_bytes(10_000)
    body = whole(path, data)
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, size, offset: real(fd, min(size, 777), offset))
    assert await read_all(body) == data


@on_loop
async def test_a_write_in_pieces_is_put_together(path, monkeypatch):
    data = random_bytes(10_000)
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: real(fd, data[:777], offset))
    assert await read_all(whole(path, data)) == data


# Faults


@pytest.mark.parametrize("call", ["open", "pwrite"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS])
@on_loop
async def test_a_disk_that_refuses_a_write_says_so_and_nothing_has_changed(path, disk, call, code):
    body = Body(DiskStorage(path), 100)
    disk.fail(call, code)
    with pytest.raises(DiskError, match=os.strerror(code)):
        body.write(0, b"x" * 100)
    assert body.have.total_bytes == 0
    disk.heal()
    body.write(0, b"y" * 100)
    body.finish()
    assert await read_all(body) == b"y" * 100


@on_loop
async def test_a_disk_that_fills_up_in_the_middle_keeps_what_is_there(path, disk):
    body = Body(DiskStorage(path), 200)
    body.write(0, b"x" * 100)
    disk.fail("pwrite", errno.ENOSPC)
    with pytest.raises(DiskError):
        body.write(100, b"y" * 100)
    body.relay_from_here()
    reading = asyncio.create_task(read_all(body))
    await turns()
    body.write(100, b"y" * 100)
    body.finish()
    assert await reading == b"x" * 100 + b"y" * 100


@pytest.mark.parametrize("call, code, is_damage", [("pread", errno.EIO, True), ("open", errno.EIO, True), ("open", errno.EMFILE, False)])
@on_loop
async def test_a_read_that_fails_breaks_the_body_and_blames_the_right_one(path, disk, waiting_reads, call, code, is_damage):
    body = whole(path, b"hello")
    told = []
    body.storage.on_damaged = lambda: told.append("damaged")
    disk.fail(call, code)
    with pytest.raises(BrokenBody, match="can't be read"):
        await read_all(body)
    assert body.storage.is_damaged is is_damage and told == ["damaged"] * is_damage
    assert not open_files(path.parent)


@pytest.mark.parametrize(
    "spoil", [lambda path: os.truncate(path, 2), lambda path: os.truncate(path, 0), os.unlink], ids=["short", "empty", "gone"]
)
@on_loop
async def test_a_file_that_was_tampered_with_breaks_and_does_not_end_early(path, spoil):
    body = whole(path, b"hello")
    spoil(path)
    with pytest.raises(BrokenBody):
        await read_all(body)
    assert body.storage.is_damaged and not open_files(path.parent)


@on_loop
async def test_a_sync_that_fails_says_so(path, disk):
    body = whole(path, b"hello")
    disk.fail("fsync", errno.EIO)
    with pytest.raises(DiskError):
        await body.storage.sync()
    assert not open_files(path.parent)
    disk.heal()
    await body.storage.sync()
    await body.storage.sync()
    assert disk.names().count("fsync") == 2


@on_loop
async def test_a_close_that_fails_is_a_close(path, disk, monkeypatch):
    real = os.close

    def close(fd: int) -> None:
        real(fd)
        raise OSError(errno.EIO, "late")

    body = Body(DiskStorage(path), 5)
    body.write(0, b"hello")
    monkeypatch.setattr(os, "close", close)
    body.finish()
    monkeypatch.setattr(os, "close", real)
    assert await read_all(body) == b"hello"


@on_loop
async def test_a_file_that_can_not_be_deleted_is_nobodys_trouble(path, disk):
    body = whole(path, b"hello")
    disk.fail("unlink", errno.EPERM)
    body.discard()
    body.discard()
    assert path.exists() and disk.names().count("unlink") == 1


@on_loop
async def test_a_name_that_is_taken_is_not_written_to(path):
    path.write_bytes(b"somebody's")
    with pytest.raises(DiskError):
        DiskStorage(path).write(0, b"mine")
    assert path.read_bytes() == b"somebody's"


@on_loop
async def test_a_link_that_lies_in_wait_is_not_followed(path):
    victim = path.parent / "victim"
    path.symlink_to(victim)
    with pytest.raises(DiskError):
        DiskStorage(path).write(0, b"mine")
    assert not victim.exists()


# Handles


@on_loop
async def test_the_handle_is_open_only_while_somebody_writes_or_reads(path):
    body = Body(DiskStorage(path), 10)
    assert not open_files(path.parent)
    body.write(0, b"hello")
    assert len(open_files(path.parent)) == 1
    reader = body.open()
    body.write(5, b"world")
    body.finish()
    assert len(open_files(path.parent)) == 1
    while await reader.next():
        pass
    reader.close()
    assert not open_files(path.parent)
    await body.storage.sync()
    assert not open_files(path.parent)


@on_loop
async def test_an_empty_body_has_a_file_and_no_handle(path):
    body = Body(DiskStorage(path))
    body.finish()
    assert path.read_bytes() == b"" and not open_files(path.parent)


@on_loop
async def test_many_bodies_leak_no_handles(path):
    bodies = []
    for number in range(50):
        bodies.append(whole(path.with_suffix(f".{number}"), bytes([number]) * 1000))
        assert await read_all(bodies[-1], 10, 20) == bytes([number]) * 10
        reader = bodies[-1].open()
        reader.close()
        reader.close()
    broken = Body(DiskStorage(path), 10)
    broken.write(0, b"x")
    broken.fail("broke off")
    assert not open_files(path.parent) and not path.exists()


async def _hang_in(disk, call: str, task: asyncio.Task) -> None:
    await until(lambda: disk.hung.is_set() or task.done())
    assert disk.names()[-1] == call


@on_loop
async def test_the_handle_is_not_closed_under_a_thread_that_reads(path, disk, waiting_reads):
    """A handle's number may be another file's a moment after it is closed: the thread would read that one."""
    body = whole(path, b"hello")
    disk.hang("pread")
    reading = asyncio.create_task(read_all(body))
    await _hang_in(disk, "pread", reading)
    reading.cancel()
    await asyncio.wait([reading])
    assert body.reader_count == 0
    assert len(open_files(path.parent)) == 1
    body.discard()
    assert path.exists() and len(open_files(path.parent)) == 1
    disk.heal()
    await until(lambda: not body.storage.is_pinned)
    assert not path.exists() and not open_files(path.parent)


@on_loop
async def test_a_handle_that_is_wanted_again_while_a_thread_reads_stays(path, disk, waiting_reads):
    body = whole(path, b"hello")
    disk.hang("pread")
    reading = asyncio.create_task(read_all(body))
    await _hang_in(disk, "pread", reading)
    reading.cancel()
    await asyncio.wait([reading])
    again = asyncio.create_task(read_all(body))
    await turns()
    disk.heal()
    assert await again == b"hello"
    await until(lambda: not body.storage.is_pinned)
    assert not open_files(path.parent)


@on_loop
async def test_a_sync_is_not_left_with_an_open_file(path, disk):
    body = whole(path, b"hello")
    disk.hang("fsync")
    syncing = asyncio.create_task(body.storage.sync())
    await _hang_in(disk, "fsync", syncing)
    assert await read_all(body) == b"hello"
    assert len(open_files(path.parent)) == 1
    disk.heal()
    await syncing
    assert not open_files(path.parent)


@on_loop
async def test_discarded_while_it_is_read_it_reads_to_its_end(path):
    data = random_bytes(1000 * KIB)
    body = whole(path, data)
    reader = body.open()
    first = await reader.next()
    body.discard()
    assert path.exists()
    rest = b""
    while chunk := await reader.next():
        rest += chunk
    assert first + rest == data
    reader.close()
    assert not path.exists() and not open_files(path.parent)


@on_loop
async def test_discarded_while_it_is_written_it_is_deleted_at_the_end(path):
    body = Body(DiskStorage(path), 10)
    body.write(0, b"hello")
    body.discard()
    body.write(5, b"world")
    assert path.exists()
    body.finish()
    assert not path.exists() and not open_files(path.parent)


@on_loop
async def test_a_file_is_never_deleted_while_it_is_open(path, monkeypatch):
    """Windows refuses that."""
    real = os.unlink

    def unlink(target, **named) -> None:
        if str(target) in open_files(path.parent):
            raise PermissionError(errno.EACCES, "it is open")
        real(target, **named)

    monkeypatch.setattr(os, "unlink", unlink)
    body = whole(path, bytes(1000))
    reader = body.open()
    await reader.next()
    body.discard()
    reader.close()
    assert not path.exists()


@on_loop
async def test_a_deleted_body_is_not_opened_again(path, disk):
    body = whole(path, b"hello")
    body.discard()
    opened = disk.names().count("open")
    path.write_bytes(b"other")
    with pytest.raises(BrokenBody):
        await read_all(body)
    assert disk.names().count("open") == opened and not body.storage.on_damaged


LENGTH = 300 * KIB + 7


@pytest.mark.parametrize("block", [10 * KIB + 1, 100 * KIB, LENGTH])
def test_room_that_is_given_is_claimed_before_it_is_written_and_once(path, monkeypatch, block):
    claimed, written = [], []
    monkeypatch.setattr(disk_module, "claim_space", lambda fd, size, offset=0: claimed.append((offset, offset + size)))
    monkeypatch.setattr(disk_module, "write_at", lambda fd, view, offset: written.append((offset, claimed[-1][1])) or len(view))
    storage = DiskStorage(path)
    for offset in range(0, LENGTH, block):
        end = min(offset + block, LENGTH)
        if end > storage.room_bytes:
            storage.room_bytes = min(2 * end, LENGTH)
        storage.write(offset, bytes(end - offset))
        assert claimed[-1][1] == storage.room_bytes and end <= written[-1][1]
    assert [start for start, _ in claimed] == [0, *(end for _, end in claimed[:-1])]
    storage.discard()


def test_nothing_is_claimed_without_room_or_beyond_it(path, monkeypatch):
    monkeypatch.setattr(disk_module, "claim_space", lambda *_: pytest.fail("claimed"))
    storage = DiskStorage(path)
    storage.write(0, bytes(11))
    storage.room_bytes = 11
    storage.write(11, bytes(11))
    assert path.stat().st_size == 22
    storage.discard()


def test_room_that_is_refused_is_the_affair_of_the_write(path, monkeypatch):
    refused = []

    def refuse(fd: int, size: int, offset: int = 0) -> None:
        refused.append(offset)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(disk_module, "claim_space", refuse)
    storage = DiskStorage(path)
    storage.on_refused = lambda error, size: pytest.fail("nothing was refused but the claim")
    storage.room_bytes = LENGTH
    for offset in range(0, LENGTH, 10 * KIB):
        storage.write(offset, bytes(min(10 * KIB, LENGTH - offset)))
    assert refused == [0] and path.stat().st_size == LENGTH
    storage.discard()
