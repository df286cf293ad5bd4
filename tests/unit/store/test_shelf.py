"""The shelf: what is found, what stays, who leaves, and that nothing is left over."""

from __future__ import annotations

import asyncio
import errno
import gc
import tracemalloc
from pathlib import Path

import pytest

from minicdn.core.freshness import Policy, storable
from minicdn.core.message import Head, Request
from minicdn.errors import BrokenBody
from minicdn.store import budget as budget_module
from minicdn.store.budget import disk_cost
from minicdn.store.entry import DISK_ENTRY_BYTES, Entry
from minicdn.store.shelf import NOTHING, VARIANTS_MAX, Shelf
from tests.unit.store.making import (
    KIB,
    MIB,
    begin,
    files_in,
    make_shelf,
    make_stored,
    on_loop,
    open_files,
    put,
    random_bytes,
    read_all,
    recorded,
    turns,
    until,
    write,
)


@pytest.fixture
def opened(tmp_path: Path):
    async def make(**sizes: int) -> Shelf:
        shelf = make_shelf(tmp_path, **sizes)
        await shelf.open()
        return shelf

    return make


async def assert_empty(shelf: Shelf, folder: Path) -> None:
    """Nothing is held for anything."""
    await recorded(shelf)
    used = {name: value for name, value in shelf.statistics().items() if value}
    assert used == {} and list(shelf.keys()) == []
    assert shelf.find("/x") == NOTHING == []
    assert shelf._disk._filling == {} and shelf._memory._filling == {} and shelf._disk._budget._promises == {}
    assert files_in(folder) == [] and open_files(folder) == []


# Where bodies go


@pytest.mark.parametrize(
    "length, medium", [(0, "memory"), (64 * KIB, "memory"), (64 * KIB + 1, "disk"), (None, "disk"), (65 * MIB, "none")]
)
@on_loop
async def test_small_goes_to_memory_large_to_disk_and_too_large_nowhere(opened, tmp_path, length, medium):
    shelf = await opened()
    body = shelf.new_body("/x", length)
    assert body.medium == medium
    body.fail("given up")
    shelf.drop(body)
    shelf.drop(body)
    await assert_empty(shelf, tmp_path)
    await shelf.close()


@on_loop
async def test_what_may_not_be_kept_is_relayed(opened, tmp_path):
    shelf = await opened()
    body = shelf.new_body("/x", 10, is_kept=False)
    assert body.medium == "none"
    assert shelf.has_room_for(body, 1 << 50)
    body.write(0, bytes(10))
    body.finish()
    shelf.drop(body)
    await assert_empty(shelf, tmp_path)
    await shelf.close()


@on_loop
async def test_a_crowd_of_small_misses_stays_within_its_part_of_memory(opened):
    shelf = await opened()
    bodies = [shelf.new_body(f"/{number}", 60 * KIB) for number in range(100)]
    assert shelf.statistics()["memory_filling_bytes"] <= 8 * MIB // 4
    assert {body.medium for body in bodies} == {"memory", "disk"}
    for body in bodies:
        body.fail("given up")
        shelf.drop(body)
    assert shelf.statistics()["memory_filling_bytes"] == 0
    await shelf.close()


@pytest.mark.parametrize("call", ["mkdir", "open", "pwrite"])
@on_loop
async def test_a_disk_that_refuses_costs_no_download(opened, tmp_path, disk, call):
    shelf = await opened()
    disk.fail(call, errno.ENOSPC)
    body = shelf.new_body("/x", 200 * KIB)
    if body.is_kept:
        with pytest.raises(Exception, match="No space"):
            body.write(0, bytes(100))
        body.relay_from_here()
    body.write(0, bytes(200 * KIB))
    body.finish()
    shelf.drop(body)
    assert len(await read_all(body)) == 200 * KIB
    disk.heal()
    await assert_empty(shelf, tmp_path)
    await shelf.close()


@on_loop
async def test_a_folder_that_vanishes_is_made_again(opened, tmp_path):
    import shutil

    shelf = await opened()
    shutil.rmtree(tmp_path / "objects")
    entry = put(shelf, "/x", bytes(100 * KIB))
    assert await read_all(entry.body) == bytes(100 * KIB)
    await shelf.close()


# Filling


@on_loop
async def test_others_read_along_from_the_head_on(opened):
    shelf = await opened()
    entry = begin(shelf, "/x", 100 * KIB)
    assert shelf.find("/x") == [entry]
    reading = asyncio.create_task(read_all(entry.body))
    data = random_bytes(100 * KIB)
    write(shelf, entry, data)
    entry.body.finish()
    shelf.keep(entry)
    assert await reading == data
    await shelf.close()


@on_loop
async def test_the_earlier_variant_stays_until_the_new_one_is_whole(opened):
    shelf = await opened()
    old = put(shelf, "/x", b"old" * 50_000)
    new = begin(shelf, "/x", None)
    assert shelf.find("/x") == [old, new]
    write(shelf, new, b"new" * 50_000)
    new.body.finish()
    reader = old.body.open()
    shelf.keep(new)
    assert shelf.find("/x") == [new]
    assert (await reader.next())[:3] == b"old"
    reader.close()
    await recorded(shelf)
    assert len(files_in(shelf._disk._path)) == 2
    await shelf.close()


@on_loop
async def test_two_fills_of_one_variant_leave_one(opened, tmp_path):
    shelf = await opened()
    entries = [begin(shelf, "/x", 100 * KIB) for _ in range(3)]
    for entry in (entries[1], entries[2], entries[0]):
        write(shelf, entry, bytes(100 * KIB))
        entry.body.finish()
        shelf.keep(entry)
    assert shelf.find("/x") == [entries[0]]
    shelf.remove(entries[0])
    await assert_empty(shelf, tmp_path)
    await shelf.close()


@pytest.mark.parametrize("length", [10 * KIB, 100 * KIB, None])
@on_loop
async def test_removed_while_it_is_filled_it_is_read_to_its_end_and_then_gone(opened, tmp_path, length):
    """A purge comes in the middle: whoever reads reads on, the writer notices nothing, and nothing of it stays."""
    shelf = await opened()
    size = length or 50 * KIB
    data = random_bytes(size)
    entry = begin(shelf, "/x", length)
    write(shelf, entry, data[: size // 2])
    reading = asyncio.create_task(read_all(entry.body))
    await turns()
    shelf.remove(entry)
    assert not shelf.find("/x")
    write(shelf, entry, data[size // 2 :])
    entry.body.finish()
    shelf.keep(entry)
    assert await reading == data
    await assert_empty(shelf, tmp_path)
    await shelf.close()


@on_loop
async def test_removed_while_it_is_filled_and_unread_nothing_stays(opened, tmp_path):
    shelf = await opened()
    for ending in ("keep", "break"):
        entry = begin(shelf, "/x", 100 * KIB)
        write(shelf, entry, bytes(50 * KIB))
        shelf.remove(entry)
        shelf.remove(entry)
        if ending == "keep":
            write(shelf, entry, bytes(50 * KIB))
            entry.body.finish()
            shelf.keep(entry)
        else:
            shelf.withdraw(entry)
            entry.body.fail("broke off")
            shelf.drop(entry.body)
        await assert_empty(shelf, tmp_path)
    await shelf.close()


@on_loop
async def test_a_broken_fill_leaves_nothing(opened, tmp_path):
    shelf = await opened()
    for length in (10 * KIB, 100 * KIB, None):
        entry = begin(shelf, "/x", length)
        write(shelf, entry, bytes(5 * KIB))
        reading = asyncio.create_task(read_all(entry.body))
        await turns()
        shelf.withdraw(entry)
        entry.body.fail("broke off")
        shelf.drop(entry.body)
        with pytest.raises(BrokenBody):
            await reading
        await assert_empty(shelf, tmp_path)
    await shelf.close()


# Room


@on_loop
async def test_the_least_recently_used_leave_first(opened):
    shelf = await opened(disk=5 * disk_cost(100 * KIB))
    entries = [put(shelf, f"/{number}", bytes(100 * KIB)) for number in range(5)]
    await recorded(shelf)
    shelf.touch(entries[0], 1.0)
    put(shelf, "/new", bytes(100 * KIB))
    assert sorted(shelf.keys()) == ["/0", "/2", "/3", "/4", "/new"]
    assert shelf._counters.get("evictions_count") == 1
    await shelf.close()


@on_loop
async def test_memory_evicts_by_use_as_well_and_counts_it(opened):
    shelf = await opened(memory=2 * MIB)
    for number in range(100):
        put(shelf, f"/{number}", bytes(50 * KIB))
        shelf.touch(shelf.find("/0")[0], 1.0)
    kept = list(shelf.keys())
    assert kept[0] == "/0" and kept[-1] == "/99" and len(kept) + shelf._counters.get("evictions_count") == 100
    await shelf.close()


@on_loop
async def test_what_is_read_stays_and_its_room_is_not_given_twice(opened, tmp_path):
    shelf = await opened(disk=300 * KIB)
    entries = [put(shelf, f"/{number}", bytes(100 * KIB)) for number in range(2)]
    await recorded(shelf)
    readers = [entry.body.open() for entry in entries]
    body = shelf.new_body("/new", 200 * KIB)
    assert not shelf.has_room_for(body, 200 * KIB)
    shelf.remove(entries[0])
    assert not shelf.has_room_for(body, 200 * KIB), "its file is still there"
    assert shelf.statistics()["disk_used_bytes"] >= 200 * KIB
    for reader in readers:
        reader.close()
    assert shelf.has_room_for(body, 200 * KIB)
    body.fail("given up")
    shelf.drop(body)
    await assert_empty(shelf, tmp_path)
    await shelf.close()


@on_loop
async def test_nobody_leaves_in_vain(opened):
    shelf = await opened(disk=MIB)
    put(shelf, "/kept", bytes(200 * KIB))
    assert not shelf.new_body("/huge", 2 * MIB).is_kept
    unknown = begin(shelf, "/unknown", None)
    assert not shelf.has_room_for(unknown.body, 2 * MIB)
    assert shelf.find("/kept")
    await shelf.close()


@on_loop
async def test_a_large_download_that_is_given_up_at_once_has_not_emptied_the_cache(opened):
    shelf = await opened(disk=10 * MIB)
    for number in range(8):
        put(shelf, f"/{number}", bytes(MIB))
    await recorded(shelf)
    large = begin(shelf, "/large", 9 * MIB)
    write(shelf, large, bytes(64 * KIB))
    assert len(list(shelf.keys())) > 4
    shelf.withdraw(large)
    large.body.fail("given up")
    shelf.drop(large.body)
    await shelf.close()


@on_loop
async def test_two_that_do_not_fit_together_are_not_both_begun(opened):
    shelf = await opened(disk=10 * MIB)
    first, second = shelf.new_body("/1", 6 * MIB), shelf.new_body("/2", 6 * MIB)
    assert first.is_kept and not second.is_kept
    first.fail("given up")
    shelf.drop(first)
    assert shelf.new_body("/2", 6 * MIB).is_kept
    await shelf.close()


@on_loop
async def test_small_bodies_of_unknown_length_do_not_take_megabytes(opened):
    shelf = await opened(disk=10 * MIB)
    entries = [begin(shelf, f"/{number}", None) for number in range(50)]
    for entry in entries:
        write(shelf, entry, bytes(8 * KIB))
        assert entry.body.is_kept
    assert shelf.statistics()["disk_used_bytes"] < 50 * 128 * KIB
    await shelf.close()


@on_loop
async def test_a_relayed_body_takes_no_more_room(opened):
    """Its rest never comes to the disk, so it must not evict others as it passes."""
    shelf = await opened(disk=MIB)
    entry = begin(shelf, "/x", None)
    write(shelf, entry, bytes(300 * KIB))
    shelf.withdraw(entry)
    entry.body.relay_from_here()
    used = shelf.statistics()["disk_used_bytes"]
    assert shelf.has_room_for(entry.body, 900 * KIB) and shelf.statistics()["disk_used_bytes"] == used
    await shelf.close()


@on_loop
async def test_a_search_for_room_is_short_where_all_is_being_read(opened, monkeypatch):
    monkeypatch.setattr(budget_module, "PASSED_OVER_MAX", 10)
    shelf = await opened(disk=60 * disk_cost(70 * KIB))
    entries = [put(shelf, f"/{number}", bytes(70 * KIB)) for number in range(59)]
    await recorded(shelf)
    readers = [entry.body.open() for entry in entries[:50]]
    order = list(shelf._disk._budget._kept)
    body = shelf.new_body("/new", 130 * KIB)
    assert not shelf.has_room_for(body, 130 * KIB)
    moved = sum(one is not other for one, other in zip(order, shelf._disk._budget._kept, strict=True))
    assert moved and list(shelf._disk._budget._kept)[-10:] != order[-10:]
    tries = next(turn for turn in range(20) if shelf.has_room_for(body, 130 * KIB))
    assert 0 < tries <= 5, "each search goes on where the last one ended"
    for reader in readers:
        reader.close()
    await shelf.close()


@on_loop
async def test_the_number_of_entries_on_disk_is_bounded_by_the_memory_they_cost(opened):
    shelf = await opened(memory=2 * MIB, small=0)
    for number in range(1100):
        put(shelf, f"/{number}", b"x")
        if number % 100 == 99:
            await recorded(shelf)
    assert shelf.statistics()["disk_entries_count"] == 1000 == len(list(shelf.keys()))
    await shelf.close()


@on_loop
async def test_variants_of_a_key_are_bounded_and_the_oldest_goes(opened):
    shelf = await opened()
    filling = begin(shelf, "/x", 10, selecting=((b"accept", b"first"),))
    for number in range(VARIANTS_MAX + 9):
        put(shelf, "/x", b"hello", selecting=((b"accept", b"%d" % number),))
    variants = shelf.find("/x")
    assert len(variants) == VARIANTS_MAX and variants[0] is filling
    assert [entry.stored.selecting[0][1] for entry in variants[1:]] == [b"%d" % number for number in range(10, VARIANTS_MAX + 9)]
    assert shelf.statistics()["memory_entries_count"] == VARIANTS_MAX - 1
    await shelf.close()


@on_loop
async def test_copies_of_others_take_an_eighth_at_most(opened):
    shelf = await opened()
    for number in range(200):
        put(shelf, f"/{number}", bytes(50 * KIB), is_hot=True)
    assert 0 < shelf.statistics()["memory_hot_bytes"] <= MIB
    assert shelf.statistics()["memory_main_bytes"] == 0
    await shelf.close()


@on_loop
async def test_a_copy_larger_than_an_eighth_is_kept_all_the_same(opened):
    shelf = await opened(memory=2 * MIB, small=MIB)
    entry = put(shelf, "/x", bytes(300 * KIB), is_hot=True)
    assert shelf.find("/x") == [entry] and shelf.statistics()["memory_hot_bytes"] == 0
    await shelf.close()


# Afterwards


@on_loop
async def test_an_evicted_body_reads_to_its_end(opened):
    data = random_bytes(900 * KIB)
    shelf = await opened(disk=2 * MIB)
    entry = put(shelf, "/x", data)
    await recorded(shelf)
    reader = entry.body.open()
    collected = bytearray(await reader.next())
    shelf.remove(entry)
    while chunk := await reader.next():
        collected += chunk
    reader.close()
    assert collected == data
    await shelf.close()


@pytest.mark.parametrize("data", [b"small", bytes(100 * KIB)], ids=["memory", "disk"])
@on_loop
async def test_a_fresher_head_changes_the_entry_in_place(opened, data):
    shelf = await opened()
    entry = put(shelf, "/x", data)
    stored = make_stored((b"ETag", b'"2"'), (b"X", b"y" * 5000))
    before = entry.memory_cost_bytes
    assert shelf.restate(entry, stored) is entry
    assert entry.stored == stored and entry.head is entry.stored.head and shelf.find("/x") == [entry]
    if data == b"small":
        assert shelf.statistics()["memory_main_bytes"] == entry.memory_cost_bytes > before + 5000
    await shelf.close()


@on_loop
async def test_restating_what_is_no_longer_there_is_harmless(opened, tmp_path):
    shelf = await opened()
    for data in (b"small", bytes(100 * KIB)):
        entry = put(shelf, "/x", data)
        await recorded(shelf)
        shelf.remove(entry)
        shelf.restate(entry, make_stored((b"ETag", b'"2"')))
        shelf.touch(entry, 5.0)
        await assert_empty(shelf, tmp_path)
    await shelf.close()


@on_loop
async def test_a_head_that_outgrows_the_cache_takes_its_entry_along(opened, tmp_path):
    shelf = await opened(memory=MIB)
    entry = put(shelf, "/x", b"small")
    shelf.restate(entry, make_stored((b"X", b"y" * MIB)))
    await assert_empty(shelf, tmp_path)
    await shelf.close()


@pytest.mark.parametrize("when", ["whole", "filling"])
@on_loop
async def test_a_damaged_file_is_cut_off_once_and_then_fetched_again(opened, tmp_path, disk, when):
    shelf = await opened()
    entry = begin(shelf, "/x", 100 * KIB)
    write(shelf, entry, bytes(50 * KIB))
    disk.fail("preadv", errno.EIO)
    disk.fail("pread", errno.EIO)
    if when == "filling":
        with pytest.raises(BrokenBody):
            await read_all(entry.body)
    write(shelf, entry, bytes(50 * KIB))
    entry.body.finish()
    shelf.keep(entry)
    if when == "whole":
        with pytest.raises(BrokenBody):
            await read_all(entry.body)
        assert shelf._counters.get("disk_errors_count") == 1
    assert not shelf.find("/x")
    disk.heal()
    await assert_empty(shelf, tmp_path)
    again = put(shelf, "/x", b"y" * 100 * KIB)
    assert await read_all(again.body) == b"y" * 100 * KIB
    await shelf.close()


@on_loop
async def test_a_shortage_of_handles_costs_no_entry(opened, disk):
    shelf = await opened()
    entry = put(shelf, "/x", bytes(100 * KIB))
    await recorded(shelf)
    disk.fail("open", errno.EMFILE)
    with pytest.raises(BrokenBody):
        await read_all(entry.body)
    disk.heal()
    assert shelf.find("/x") == [entry] and len(await read_all(entry.body)) == 100 * KIB
    await shelf.close()


@on_loop
async def test_kept_bodies_hold_no_handles(opened, tmp_path):
    shelf = await opened()
    entries = [put(shelf, f"/{number}", bytes(70 * KIB)) for number in range(60)]
    await recorded(shelf)
    await asyncio.gather(*(read_all(entry.body) for entry in entries))
    await until(lambda: not open_files(tmp_path))
    await shelf.close()


# What memory costs


def _dialogue(number: int, fields_count: int) -> tuple[Request, Head]:
    fields = [
        (b"ETag", b'"%x-%d"' % (number, number)),
        (b"Cache-Control", b"max-age=%d" % (600 + number)),
        (b"Content-Type", b"text/plain; %d" % number),
        (b"Server", b"nginx/%d" % number),
        (b"Last-Modified", b"Tue, 21 Nov 2023 00:%02d:00 GMT" % (number % 60)),
        (b"Content-Length", b"100"),
        (b"Accept-Ranges", b"bytes%d" % number),
    ]
    key = f"/folder/file-{number:06}.txt"
    made = tuple((bytes(bytearray(name)), bytes(bytearray(value))) for name, value in fields[:fields_count])
    return Request("GET", key.encode(), key, ()), Head(200, made)


def _fill_with_small_ones(shelf: Shelf, count: int, fields_count: int, length: int | None) -> int:
    cost = 0
    for number in range(count):
        request, head = _dialogue(number, fields_count)
        stored = storable(request, head, 1e9 + number, 1e9 + number, Policy())
        entry = Entry(request.key, head, stored, shelf.new_body(request.key, length))
        shelf.begin(entry)
        assert shelf.has_room_for(entry.body, 100)
        entry.body.write(0, bytes(bytearray(100)))
        entry.body.finish()
        shelf.keep(entry)
        cost += entry.memory_cost_bytes
    return cost


@pytest.mark.parametrize("fields_count", [3, 7])
def test_what_a_small_entry_is_charged_is_what_it_costs(fields_count):
    shelf = make_shelf(None, memory=1 << 30)
    gc.collect()
    tracemalloc.start()
    try:
        charged = _fill_with_small_ones(shelf, 2000, fields_count, 100)
        gc.collect()
        real, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert shelf.statistics()["memory_entries_count"] == 2000
    assert 0.85 < charged / real < 1.2, f"charged {charged / 2000:.0f}, cost {real / 2000:.0f} bytes each"


@on_loop
async def test_what_an_entry_on_disk_costs_in_memory(opened):
    shelf = await opened(memory=1 << 30)
    gc.collect()
    tracemalloc.start()
    try:
        _fill_with_small_ones(shelf, 500, 7, None)
        await recorded(shelf)
        gc.collect()
        real, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.6 < 500 * DISK_ENTRY_BYTES / real < 1.5, f"{real / 500:.0f} bytes each"
    await shelf.close()
