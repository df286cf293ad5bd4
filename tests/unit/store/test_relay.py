"""A body that is not kept: bounded memory, a writer that waits for its readers, and never a gap."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from minicdn.errors import BrokenBody, DiskError
from minicdn.store import body as body_module
from minicdn.store.body import Body
from minicdn.store.disk import DiskStorage
from minicdn.store.relay import RELAY_WINDOW_BYTES
from tests.unit.store.making import KIB, MIB, on_loop, open_files, random_bytes, read_all, turns

CHUNK = 64 * KIB


async def fill(body: Body, data: bytes, start: int = 0) -> int:
    """As a fill does. Returns the largest window seen."""
    largest = 0
    for offset in range(start, len(data), CHUNK):
        await body.wait_room()
        body.write(offset, data[offset : offset + CHUNK])
        largest = max(largest, body.storage.window_bytes)
        await asyncio.sleep(0)
    body.finish()
    return largest


@on_loop
async def test_a_slow_reader_slows_the_writer_and_the_window_is_bounded():
    data = random_bytes(4 * MIB)
    body = Body(None, len(data))
    slow, quick = body.open(), body.open()
    filling = asyncio.create_task(fill(body, data))
    reading = asyncio.create_task(_take(quick))
    await turns(500)
    assert not filling.done() and quick.position <= RELAY_WINDOW_BYTES + CHUNK
    assert await _take(slow) == data == await reading
    assert RELAY_WINDOW_BYTES <= await filling <= RELAY_WINDOW_BYTES + CHUNK


async def _take(reader) -> bytes:
    collected = b""
    while chunk := await reader.next():
        collected += chunk
    reader.close()
    return collected


@on_loop
async def test_a_reader_that_leaves_makes_room():
    body = Body(None)
    slow, quick = body.open(), body.open()
    filling = asyncio.create_task(fill(body, bytes(3 * MIB)))
    reading = asyncio.create_task(_take(quick))
    await turns(500)
    slow.close()
    assert len(await reading) == 3 * MIB
    await filling


@on_loop
async def test_a_reader_that_starts_far_on_gets_there():
    """The window holds nothing for a reader of a later range, so the writer must not wait for it."""
    data = random_bytes(3 * MIB)
    body = Body(None, len(data))
    reading = asyncio.create_task(read_all(body, 2 * MIB + 5, 2 * MIB + 10))
    await turns()
    await fill(body, data)
    assert await reading == data[2 * MIB + 5 : 2 * MIB + 10]


@on_loop
async def test_what_nobody_reads_yet_waits_for_its_reader():
    data = random_bytes(2 * MIB)
    body = Body(None, len(data))
    filling = asyncio.create_task(fill(body, data))
    await turns(200)
    assert not filling.done()
    assert await read_all(body) == data
    await filling


@on_loop
async def test_a_small_body_that_is_over_before_its_reader_comes_is_still_there():
    body = Body(None)
    body.write(0, b"no such thing")
    body.finish()
    body.discard()
    assert await read_all(body) == b"no such thing"


@on_loop
async def test_who_comes_too_late_is_cut_off_and_gets_no_gap():
    data = random_bytes(3 * MIB)
    body = Body(None, len(data))
    first = asyncio.create_task(read_all(body))
    await turns()
    await fill(body, data)
    assert await first == data
    with pytest.raises(BrokenBody, match="passed"):
        await read_all(body)


@on_loop
async def test_byte_by_byte_the_window_costs_little():
    body = Body(None)
    body.open()
    for offset in range(1000):
        body.write(offset, b"x")
    assert body.storage.window_bytes == 1000
    assert body.storage._window.__sizeof__() < 4000


@on_loop
async def test_a_reader_that_takes_nothing_for_ever_ends_the_fill(monkeypatch):
    monkeypatch.setattr(body_module, "RELAY_STALL_SECONDS", 0.01)
    body = Body(None)
    body.open()
    with pytest.raises(BrokenBody, match="took nothing"):
        await fill(body, bytes(2 * MIB))


@on_loop
async def test_a_writer_that_is_cancelled_while_it_waits_leaves_the_body_usable():
    body = Body(None)
    reader = body.open()
    filling = asyncio.create_task(fill(body, bytes(2 * MIB)))
    await turns(200)
    filling.cancel()
    await asyncio.wait([filling])
    assert len(await reader.next()) > 0
    body.fail("given up")
    with pytest.raises(BrokenBody):
        await _take(reader)


@on_loop
async def test_the_saved_part_stays_readable_when_the_disk_refuses(tmp_path: Path):
    data = random_bytes(3 * MIB)
    body = Body(DiskStorage(tmp_path / "1.body"), len(data))
    slow, quick = body.open(), body.open()
    for offset in range(0, MIB, CHUNK):
        body.write(offset, data[offset : offset + CHUNK])
    body.relay_from_here()
    assert not body.is_kept and body.medium == "none"
    filling = asyncio.create_task(fill(body, data, MIB))
    taking = asyncio.create_task(_take(quick))
    await turns(200)
    body.discard()
    late = asyncio.create_task(read_all(body, 0, MIB))
    assert await _take(slow) == data == await taking
    assert await late == data[:MIB]
    await filling
    assert not (tmp_path / "1.body").exists() and not open_files(tmp_path)


@on_loop
async def test_a_disk_that_refuses_the_very_first_byte_costs_nobody_anything(tmp_path: Path):
    body = Body(DiskStorage(tmp_path / "no such folder" / "1.body"), 5)
    with pytest.raises(DiskError):
        body.write(0, b"hello")
    body.relay_from_here()
    body.write(0, b"hello")
    body.finish()
    body.discard()
    assert await read_all(body) == b"hello"


@on_loop
async def test_a_disk_that_refuses_the_empty_file_costs_nobody_anything(tmp_path: Path):
    body = Body(DiskStorage(tmp_path / "no such folder" / "1.body"))
    body.finish()
    assert body.is_whole and not body.is_kept
    assert await read_all(body) == b""


@on_loop
async def test_nothing_passes_while_one_who_knows_of_it_is_on_his_way(tmp_path: Path):
    data, is_awaited = random_bytes(3 * CHUNK), [True]
    body = Body(DiskStorage(tmp_path / "x"), len(data))
    body.relay_from_here(lambda: is_awaited[0])
    quick = body.open()
    body.write(0, data[:CHUNK])
    assert await quick.next() == data[:CHUNK]
    late = body.open()
    is_awaited[0] = False
    body.write(CHUNK, data[CHUNK:])
    body.finish()
    assert await _take(late) == data
    assert body.storage.window_bytes == 2 * CHUNK, "what both have passed is gone"
    assert await _take(quick) == data[CHUNK:]
