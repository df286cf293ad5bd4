"""One writer, many readers: everybody gets the same bytes, waits only for its own, and leaves nothing behind."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from minicdn.errors import BrokenBody
from minicdn.store.body import Body
from minicdn.store.disk import DiskStorage
from minicdn.store.memory import MemoryStorage
from minicdn.store.reader import READ_BYTES_MAX
from tests.unit.store.making import KIB, on_loop, random_bytes, read_all, turns


@pytest.fixture(params=["memory", "disk"])
def filling(request, tmp_path: Path):
    """Makes a body that is to be filled."""
    made = iter(range(100))

    def make(length: int | None = None) -> Body:
        if request.param == "memory":
            return Body(MemoryStorage(length), length)
        return Body(DiskStorage(tmp_path / f"{next(made)}.body"), length)

    return make


@on_loop
async def test_readers_at_different_paces_all_get_everything(filling):
    data = random_bytes(300 * KIB)
    body = filling(len(data))

    async def read_slowly(pause: int) -> bytes:
        reader, collected = body.open(), b""
        while chunk := await reader.next():
            collected += chunk
            await turns(pause)
        reader.close()
        return collected

    readers = [asyncio.create_task(read_slowly(pause)) for pause in (0, 1, 3, 20)]
    for offset in range(0, len(data), 10_000):
        body.write(offset, data[offset : offset + 10_000])
        await turns(2)
    body.finish()
    assert [await reader for reader in readers] == [data] * 4
    assert await read_all(body) == data
    assert body.reader_count == 0


@on_loop
async def test_a_reader_waits_only_for_its_own_span(filling):
    body = filling(100)
    late = asyncio.create_task(read_all(body, 60, 80))
    early = asyncio.create_task(read_all(body, 0, 20))
    await turns()
    body.write(60, b"x" * 20)
    assert await late == b"x" * 20
    assert not early.done()
    body.write(0, b"y" * 20)
    assert await early == b"y" * 20


@on_loop
async def test_a_range_ends_without_a_look_at_what_comes_behind_it(filling):
    body = filling(None)
    body.write(0, b"0123456789")
    assert await read_all(body, 2, 10) == b"23456789"
    assert body.is_filling


@on_loop
async def test_a_span_that_others_wait_for_does_not_wake_those_who_wait_for_another(filling):
    body = filling(100)
    waiting = asyncio.create_task(body.wait_reach(50))
    await turns()
    (waiter,) = body._waiters._positions
    body.write(0, b"x" * 50)
    assert not waiter.done()
    body.write(50, b"x")
    assert await waiting == 51


@on_loop
async def test_filled_out_of_order_it_reads_in_order(filling):
    data = random_bytes(50_000)
    body = filling(len(data))
    reading = asyncio.create_task(read_all(body))
    for start in (40_000, 10_000, 30_000, 0, 20_000):
        body.write(start, data[start : start + 10_000])
        await turns()
    body.finish()
    assert await reading == data


@on_loop
async def test_a_broken_body_gives_what_is_there_and_then_breaks(filling):
    body = filling(100)
    body.write(0, b"x" * 40)
    reader, waiting = body.open(), asyncio.create_task(read_all(body, 70))
    assert await reader.next() == b"x" * 40
    await turns()
    body.fail("the upstream broke off")
    for broken in (reader.next(), waiting, body.wait_end()):
        with pytest.raises(BrokenBody, match="broke off"):
            await broken
    reader.close()


@on_loop
async def test_who_comes_to_a_broken_body_late_is_told_so(filling):
    body = filling(100)
    body.write(0, b"x" * 40)
    body.fail("gone")
    with pytest.raises(BrokenBody):
        await read_all(body)


@pytest.mark.parametrize("length", [None, 100])
@on_loop
async def test_a_body_with_a_gap_is_not_whole(filling, length):
    body = filling(length)
    body.write(0, b"x" * 40)
    body.write(60, b"x" * 40)
    with pytest.raises(BrokenBody):
        body.finish()
    assert body.is_filling


@on_loop
async def test_a_short_body_is_not_whole(filling):
    body = filling(100)
    body.write(0, b"x" * 99)
    with pytest.raises(BrokenBody, match="early"):
        body.finish()


@on_loop
async def test_more_than_was_announced_is_not_taken(filling):
    body = filling(10)
    body.write(0, b"x" * 9)
    with pytest.raises(BrokenBody, match="more"):
        body.write(9, b"yz")
    assert body.have.reach(0) == 9


@on_loop
async def test_an_empty_body_is_whole_and_empty(filling):
    body = filling(None)
    reading = asyncio.create_task(read_all(body))
    await turns()
    body.finish()
    assert await reading == b"" == await read_all(body)
    assert body.length == 0


@on_loop
async def test_a_cancelled_reader_leaves_nothing_behind(filling):
    body = filling(None)
    for _ in range(50):
        readers = [asyncio.create_task(read_all(body)) for _ in range(20)]
        await turns(3)
        assert body.reader_count == len(body._waiters) == 20
        for reader in readers:
            reader.cancel()
        await asyncio.wait(readers)
        assert body.reader_count == len(body._waiters) == 0


@on_loop
async def test_cancelled_while_it_is_woken_it_leaves_nothing_behind(filling):
    body = filling(10)
    waiting = asyncio.create_task(body.wait_reach(0))
    await turns()
    body.write(0, b"x")
    waiting.cancel()
    await asyncio.wait([waiting])
    body.write(1, b"y")
    assert len(body._waiters) == 0


@on_loop
async def test_the_end_is_waited_for(filling):
    body = filling(None)
    waiting = asyncio.create_task(body.wait_end())
    body.write(0, b"x")
    await turns()
    assert not waiting.done()
    body.finish()
    await waiting


@on_loop
async def test_one_read_takes_a_bounded_amount(filling):
    data = random_bytes(3 * READ_BYTES_MAX)
    body = filling(len(data))
    body.write(0, data)
    body.finish()
    reader = body.open()
    assert 0 < len(await reader.next()) <= READ_BYTES_MAX
    reader.close()


@on_loop
async def test_what_is_written_later_does_not_change_what_was_read():
    body = Body(MemoryStorage(6), 6)
    body.write(0, b"ab")
    reader = body.open()
    first = await reader.next()
    body.write(2, b"cd")
    second = await reader.next()
    body.write(4, b"ef")
    body.finish()
    assert (first, second, await reader.next()) == (b"ab", b"cd", b"ef")


def test_small_bodies_are_read_without_a_copy():
    data = random_bytes(1000)
    body = Body(MemoryStorage(1000), 1000)
    body.write(0, data)
    assert body.read_whole() is None
    body.finish()
    assert body.read_whole() is data
