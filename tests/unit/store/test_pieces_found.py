"""What a restart finds of pieces: those that were recorded and no others, each checked once before it is served."""

from __future__ import annotations

import asyncio
import os
import shutil
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import msgpack
import pytest

from minicdn.core.digests import digest_value
from minicdn.errors import BrokenBody
from minicdn.store import growing, summing
from minicdn.store.entry import Entry
from minicdn.store.index import meta_path, read_record
from minicdn.store.shelf import Shelf
from tests.unit.store.making import (
    KIB,
    begin,
    files_in,
    make_shelf,
    make_stored,
    on_loop,
    put,
    random_bytes,
    read_all,
    recorded,
    turns,
    until,
    write,
)
from tests.unit.store.test_crashes import Snapshots, node, tear  # noqa: F401

PIECE = 256 * KIB
DATA = random_bytes(3 * PIECE + 1000)
DIGESTS = [sha256(DATA[start : start + PIECE]).digest() for start in range(0, len(DATA), PIECE)]


def begin_part(shelf: Shelf, *spans: tuple[int, int]) -> Entry:
    """A partial entry that has these spans, and rests."""
    stored = make_stored()
    entry = Entry("/x", stored.head, stored, shelf.new_body("/x", len(DATA)))
    assert shelf.begin_partial(entry)
    for span in spans:
        add(entry, *span)
    return entry


def add(entry: Entry, start: int, end: int) -> None:
    entry.body.expect(start, end)
    entry.body.write(start, DATA[start:end])
    if entry.body.have.covers(0, len(DATA)):
        entry.body.finish()
    entry.body.ended(start, end)


async def closed(shelf: Shelf) -> None:
    await recorded(shelf)
    await shelf.close()


async def reopened(folder: Path) -> tuple[Shelf, Entry | None]:
    shelf = make_shelf(folder)
    await shelf.open()
    return shelf, next(iter(shelf.find("/x")), None)


def spoil(folder: Path, offset: int) -> None:
    (path,) = files_in(folder, ".body")
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(bytes([DATA[offset] ^ 1]))


@pytest.fixture
def checks(monkeypatch) -> list[tuple[int, int]]:
    """The spans that are read back."""
    from minicdn.store.disk import DiskStorage

    spans: list[tuple[int, int]] = []
    feed = DiskStorage.feed

    async def noted(self, take, start, end, executor=None):
        spans.append((start, end))
        await feed(self, take, start, end, executor)

    monkeypatch.setattr(DiskStorage, "feed", noted)
    return spans


@pytest.mark.parametrize("is_recorded_between", [False, True])
@on_loop
async def test_a_piece_that_came_with_holes_is_found(tmp_path: Path, is_recorded_between: bool):
    """It was hashed up to the hole only, so nobody knew that there was something to record."""
    shelf, _ = await reopened(tmp_path)
    entry = begin_part(shelf, (1, PIECE - 10), (PIECE - 5, PIECE))
    if is_recorded_between:
        shelf._disk._growing.record_all()
        await recorded(shelf)
    add(entry, PIECE - 10, PIECE - 5)
    add(entry, 0, 1)
    await closed(shelf)
    shelf, found = await reopened(tmp_path)
    assert found is not None
    assert await read_all(found.body, 0, PIECE) == DATA[:PIECE]
    await shelf.close()


@on_loop
async def test_of_a_partial_body_the_whole_pieces_are_found(tmp_path: Path):
    shelf, _ = await reopened(tmp_path)
    begin_part(shelf, (0, PIECE + 10), (2 * PIECE, len(DATA)))
    await shelf.close()
    shelf, entry = await reopened(tmp_path)
    assert entry is not None and entry.body.is_partial
    assert list(entry.body.have) == [(0, PIECE), (2 * PIECE, len(DATA))]
    assert entry.body.missing(0, len(DATA)) == [(PIECE, 2 * PIECE)]
    assert await read_all(entry.body, 100, PIECE) == DATA[100:PIECE]
    with pytest.raises(BrokenBody):
        await read_all(entry.body)
    add(entry, PIECE, 2 * PIECE)
    shelf.completed(entry)
    await closed(shelf)
    shelf, entry = await reopened(tmp_path)
    assert entry is not None and entry.body.is_whole
    assert await read_all(entry.body) == DATA
    assert [entry.body.digest_of(index) for index in range(4)] == DIGESTS
    await shelf.close()


@on_loop
async def test_a_piece_that_came_with_holes_is_found_as_well(tmp_path: Path):
    shelf, _ = await reopened(tmp_path)
    begin_part(shelf, (0, 100), (200, PIECE), (100, 200), (PIECE, 2 * PIECE))
    await shelf.close()
    shelf, entry = await reopened(tmp_path)
    assert entry is not None and list(entry.body.have) == [(0, 2 * PIECE)]
    await shelf.close()


@on_loop
async def test_a_part_without_a_whole_piece_is_forgotten(tmp_path: Path):
    shelf, _ = await reopened(tmp_path)
    begin_part(shelf, (10, PIECE + 10))
    await shelf.close()
    shelf, entry = await reopened(tmp_path)
    assert entry is None
    await closed(shelf)
    assert files_in(tmp_path) == []


@on_loop
async def test_each_piece_is_checked_once_by_whoever_comes_first(tmp_path: Path, checks):
    shelf, _ = await reopened(tmp_path)
    put(shelf, "/x", DATA)
    await closed(shelf)
    assert checks == [], "what this run has written needs no check"
    shelf, entry = await reopened(tmp_path)
    assert entry is not None
    readers = await asyncio.gather(*(read_all(entry.body, PIECE, PIECE + 100) for _ in range(5)))
    assert readers == [DATA[PIECE : PIECE + 100]] * 5
    assert checks == [(PIECE, 2 * PIECE)]
    assert await read_all(entry.body) == await read_all(entry.body) == DATA
    assert len(checks) == 4 and not entry.body.is_unchecked
    await closed(shelf)


@on_loop
async def test_a_damaged_piece_is_noticed_dropped_and_counted(tmp_path: Path):
    shelf, _ = await reopened(tmp_path)
    put(shelf, "/x", DATA)
    await closed(shelf)
    spoil(tmp_path, PIECE + 7)
    shelf, entry = await reopened(tmp_path)
    assert entry is not None
    reader, collected = entry.body.open(), b""
    with pytest.raises(BrokenBody):
        while chunk := await reader.next():
            collected += chunk
    reader.close()
    assert collected == DATA[:PIECE]
    assert entry.body.is_partial and entry.body.missing(0, len(DATA)) == [(PIECE, 2 * PIECE)]
    assert shelf._counters.get("damaged_pieces_count") == 1
    await closed(shelf)
    shelf, entry = await reopened(tmp_path)
    assert entry is not None and entry.body.missing(0, len(DATA)) == [(PIECE, 2 * PIECE)], "it stays known"
    add(entry, PIECE, 2 * PIECE)
    shelf.completed(entry)
    assert await read_all(entry.body) == DATA
    await closed(shelf)


@on_loop
async def test_who_reads_a_damaged_piece_waits_where_somebody_fetches_it(tmp_path: Path):
    shelf, _ = await reopened(tmp_path)
    put(shelf, "/x", DATA)
    await closed(shelf)
    spoil(tmp_path, 2 * PIECE)
    shelf, entry = await reopened(tmp_path)
    damaged = []

    def expect(entry: Entry, start: int, end: int) -> None:
        damaged.append((start, end))
        entry.body.expect(start, end)

    shelf.on_damaged_piece(expect)
    assert entry is not None
    readings = [asyncio.create_task(read_all(entry.body)) for _ in range(3)]
    await until(lambda: damaged == [(2 * PIECE, 3 * PIECE)])
    await turns()
    assert not any(reading.done() for reading in readings)
    entry.body.write(2 * PIECE, DATA[2 * PIECE : 3 * PIECE])
    entry.body.finish()
    entry.body.ended(2 * PIECE, 3 * PIECE)
    assert [await reading for reading in readings] == [DATA] * 3
    assert damaged == [(2 * PIECE, 3 * PIECE)]
    await closed(shelf)


@on_loop
async def test_who_begins_in_the_middle_of_a_damaged_piece_has_read_nothing_of_it(tmp_path: Path):
    shelf, _ = await reopened(tmp_path)
    put(shelf, "/x", DATA)
    await closed(shelf)
    spoil(tmp_path, PIECE)
    shelf, entry = await reopened(tmp_path)
    shelf.on_damaged_piece(lambda entry, start, end: entry.body.expect(start, end))
    assert entry is not None
    reader = entry.body.open(PIECE + 1000, PIECE + 5000)
    reading = asyncio.create_task(reader.next())
    await until(lambda: entry.body.is_filling)
    entry.body.write(PIECE, DATA[PIECE : 2 * PIECE])
    entry.body.finish()
    entry.body.ended(PIECE, 2 * PIECE)
    assert await reading == DATA[PIECE + 1000 : PIECE + 5000]
    reader.close()
    await closed(shelf)


@on_loop
async def test_a_file_that_became_shorter_costs_its_last_pieces(tmp_path: Path):
    shelf, _ = await reopened(tmp_path)
    begin_part(shelf, (0, 2 * PIECE))
    await shelf.close()
    (path,) = files_in(tmp_path, ".body")
    os.truncate(path, PIECE + 5)
    shelf, entry = await reopened(tmp_path)
    assert entry is not None
    assert await read_all(entry.body, 0, PIECE) == DATA[:PIECE]
    with pytest.raises(BrokenBody):
        await read_all(entry.body, PIECE)
    assert list(entry.body.have) == [(0, PIECE)]
    await shelf.close()


@on_loop
async def test_records_of_the_version_before_are_served_as_they_were(tmp_path: Path):
    shelf, _ = await reopened(tmp_path)
    put(shelf, "/x", DATA)
    await closed(shelf)
    (path,) = files_in(tmp_path, ".meta")
    raw = msgpack.unpackb(path.read_bytes(), unicode_errors="surrogateescape")
    path.write_bytes(msgpack.packb({name: raw[name] for name in ("version", "key", "stored", "length")}, unicode_errors="surrogateescape"))
    assert raw["version"] == 1, "and an earlier program can read ours"
    shelf, entry = await reopened(tmp_path)
    assert entry is not None and not entry.body.is_unchecked
    assert await read_all(entry.body) == DATA
    await shelf.close()


@pytest.mark.parametrize("spoiled", [{"digests": b"x" * 31}, {"piece_bytes": 1}, {"digests": None}, {"sha256": b"x"}, {"piece_bytes": "x"}])
@on_loop
async def test_digests_that_do_not_fit_are_no_digests(tmp_path: Path, spoiled):
    shelf, _ = await reopened(tmp_path)
    put(shelf, "/x", DATA)
    await closed(shelf)
    (path,) = files_in(tmp_path, ".meta")
    raw = msgpack.unpackb(path.read_bytes(), unicode_errors="surrogateescape")
    path.write_bytes(msgpack.packb({**raw, **spoiled}, unicode_errors="surrogateescape"))
    shelf, entry = await reopened(tmp_path)
    assert entry is not None and entry.body.sha256 is None
    assert await read_all(entry.body) == DATA
    await shelf.close()


@pytest.mark.parametrize("fields", [((b"ETag", b'"1"'),), ((b"ETag", b'W/"1"'),)], ids=["strong", "weak"])
@on_loop
async def test_of_a_whole_body_still_filling_the_pieces_are_found_where_they_can_be_gone_on_with(tmp_path: Path, monkeypatch, fields):
    monkeypatch.setattr(growing, "RECORD_SECONDS", 0.01)
    shelf, _ = await reopened(tmp_path)
    stored = make_stored(*fields)
    entry = Entry("/x", stored.head, stored, shelf.new_body("/x", len(DATA)))
    shelf.begin(entry)
    write(shelf, entry, DATA[: PIECE + 5])
    if fields[0][1] == b'"1"':
        await until(lambda: len(files_in(tmp_path, ".meta")) == 1)
    else:
        await asyncio.sleep(0.05)
    await closed(shelf)
    shelf, found = await reopened(tmp_path)
    assert (found is not None) is (fields[0][1] == b'"1"')
    assert found is None or (found.body.is_partial and list(found.body.have) == [(0, PIECE)])
    await shelf.close()


@on_loop
async def test_a_fill_that_is_withdrawn_leaves_no_record(tmp_path: Path):
    shelf, _ = await reopened(tmp_path)
    entry = begin(shelf, "/x", len(DATA))
    write(shelf, entry, DATA[: 2 * PIECE])
    shelf._disk._growing.record_all()
    await until(lambda: len(files_in(tmp_path, ".meta")) == 1)
    await recorded(shelf)
    shelf.withdraw(entry)
    assert files_in(tmp_path, ".meta") == []
    entry.body.fail("gone")
    shelf.drop(entry.body)
    await closed(shelf)
    assert files_in(tmp_path) == []


@on_loop
async def test_withdrawn_while_it_is_recorded_it_leaves_none_either(tmp_path: Path, disk):
    shelf, _ = await reopened(tmp_path)
    entry = begin(shelf, "/x", len(DATA))
    write(shelf, entry, DATA[: 2 * PIECE])
    disk.hang("replace")
    shelf._disk._growing.record_all()
    await until(disk.hung.is_set)
    shelf.withdraw(entry)
    disk.heal()
    await recorded(shelf)
    assert files_in(tmp_path, ".meta") == []
    shelf.drop(entry.body)
    await closed(shelf)


@on_loop
async def test_a_purge_of_a_body_still_filling_is_recorded(tmp_path: Path):
    shelf, _ = await reopened(tmp_path)
    entry = begin(shelf, "/x", len(DATA))
    write(shelf, entry, DATA[:PIECE])
    shelf.restate(entry, make_stored((b"ETag", b'"1"'), response_at=7.0))
    await recorded(shelf)
    (path,) = files_in(tmp_path, ".meta")
    record = read_record(path)
    assert record is not None and not record.is_whole and record.stored["response_at"] == 7.0
    shelf.drop(entry.body)
    await closed(shelf)


@on_loop
async def test_bytes_that_come_during_the_sync_are_not_in_the_record(tmp_path: Path, disk):
    shelf, _ = await reopened(tmp_path)
    entry = begin_part(shelf, (0, PIECE))
    disk.hang("fsync")
    shelf._disk._growing.record_all()
    await until(disk.hung.is_set)
    add(entry, PIECE, 2 * PIECE)
    disk.heal()
    await recorded(shelf)
    record = read_record(meta_path(entry.body.storage.path))
    assert record is not None and record.digests == DIGESTS[0] + bytes(96)
    shelf._disk._growing.record_all()
    await recorded(shelf)
    record = read_record(meta_path(entry.body.storage.path))
    assert record is not None and record.digests == DIGESTS[0] + DIGESTS[1] + bytes(64)
    await shelf.close()


@on_loop
async def test_completed_during_the_sync_of_its_pieces_it_is_recorded_once_more(tmp_path: Path, disk):
    shelf, _ = await reopened(tmp_path)
    entry = begin_part(shelf, (0, PIECE))
    disk.hang("fsync")
    shelf._disk._growing.record_all()
    await until(disk.hung.is_set)
    add(entry, PIECE, len(DATA))
    shelf.completed(entry)
    disk.heal()
    await recorded(shelf)
    record = read_record(meta_path(entry.body.storage.path))
    assert record is not None and record.is_whole and record.digests == b"".join(DIGESTS)
    await shelf.close()


@on_loop
async def test_a_rejected_piece_is_in_no_record_from_then_on(tmp_path: Path):
    shelf, _ = await reopened(tmp_path)
    entry = begin_part(shelf, (0, 2 * PIECE))
    shelf._disk._growing.record_all()
    await recorded(shelf)
    for index, left in ((0, [(PIECE, 2 * PIECE)]), (1, None)):
        entry.body.reject(index)
        await recorded(shelf)
        copy = tmp_path.with_name(f"copy-{index}")
        shutil.copytree(tmp_path, copy)
        killed, found = await reopened(copy)
        assert (list(found.body.have) if found else None) == left
        await closed(killed)
    await shelf.close()


@on_loop
async def test_a_fill_that_ended_early_can_be_kept_as_a_part(tmp_path: Path):
    shelf, _ = await reopened(tmp_path)
    entry = begin(shelf, "/x", len(DATA))
    assert not shelf.keep_part(entry), "nothing is whole yet"
    write(shelf, entry, DATA[: PIECE + 5])
    reading = asyncio.create_task(read_all(entry.body))
    await turns()
    assert shelf.keep_part(entry)
    with pytest.raises(BrokenBody):
        await reading
    assert shelf.find("/x") == [entry] and entry.body.missing(0, len(DATA)) == [(PIECE + 5, len(DATA))]
    await shelf.close()
    shelf, found = await reopened(tmp_path)
    assert found is not None and list(found.body.have) == [(0, PIECE)]
    await shelf.close()


@on_loop
async def test_killed_at_any_step_while_pieces_are_recorded(node):  # noqa: F811
    folder, snapshots = node
    shelf = make_shelf(folder)
    await shelf.open()
    entry = begin_part(shelf)
    for start in range(0, len(DATA), PIECE):
        add(entry, start, min(start + PIECE, len(DATA)))
        if entry.body.is_whole:
            shelf.completed(entry)
        else:
            shelf._disk._growing.record_all()
        await recorded(shelf)
    await shelf.close()
    counts = []
    for _, copy in list(snapshots.taken):
        shelf, found = await reopened(copy)
        counts.append(found.body.have.total_bytes if found else 0)
        if found is not None:
            for span in found.body.have:
                assert await read_all(found.body, *span) == DATA[slice(*span)]
            assert shelf._counters.get("damaged_pieces_count") == 0
        await closed(shelf)
    assert counts == sorted(counts) and {*counts} == {0, PIECE, 2 * PIECE, 3 * PIECE, len(DATA)}


# The digest of the whole


@pytest.fixture
def soon(monkeypatch) -> None:
    monkeypatch.setattr(summing, "SUM_DELAY_SECONDS", 0.0)


@pytest.mark.parametrize("is_announced", [True, False])
@on_loop
async def test_the_whole_is_hashed_when_it_is_there(tmp_path: Path, soon, is_announced):
    shelf, _ = await reopened(tmp_path)
    entry = put(shelf, "/x", DATA, is_announced=is_announced)
    assert entry.body.sha256 is None
    await until(lambda: entry.body.sha256 is not None)
    assert entry.body.sha256 == sha256(DATA).digest()
    assert [entry.body.digest_of(index) for index in range(4)] == DIGESTS
    await closed(shelf)


@on_loop
async def test_the_wholes_digest_of_a_large_body_is_found_again(tmp_path: Path, soon, monkeypatch):
    monkeypatch.setattr("minicdn.store.diskcache.SUM_RECORD_BYTES", len(DATA))
    shelf, _ = await reopened(tmp_path)
    entry = put(shelf, "/x", DATA)
    await until(lambda: entry.body.sha256 is not None)
    await closed(shelf)
    shelf, found = await reopened(tmp_path)
    assert found is not None and found.body.sha256 == sha256(DATA).digest()
    spoil(tmp_path, 5)
    with pytest.raises(BrokenBody):
        await read_all(found.body)
    assert found.body.sha256 is None
    await closed(shelf)


@on_loop
async def test_a_body_without_digests_is_hashed_when_it_is_used(tmp_path: Path, soon):
    shelf, _ = await reopened(tmp_path)
    put(shelf, "/x", DATA)
    await closed(shelf)
    spoil(tmp_path, 3 * PIECE)
    shelf, found = await reopened(tmp_path)
    assert found is not None
    shelf.touch(found, 0.0)
    await until(lambda: not found.body.is_whole)
    assert found.body.missing(0, len(DATA)) == [(3 * PIECE, len(DATA))], "damage is found on the way"
    await closed(shelf)


@on_loop
async def test_what_has_left_is_not_hashed(tmp_path: Path, soon):
    shelf, _ = await reopened(tmp_path)
    entry = put(shelf, "/x", DATA)
    shelf.remove(entry)
    await asyncio.sleep(0.02)
    assert entry.body.sha256 is None
    await closed(shelf)
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("is_right", [True, False])
@on_loop
async def test_a_file_that_is_not_what_its_upstream_says_it_is_is_dropped(tmp_path: Path, soon, is_right):
    shelf, _ = await reopened(tmp_path)
    wrong: list[Entry] = []
    shelf.on_wrong_file(wrong.append)
    entry = put(shelf, "/x", DATA)
    named = sha256(DATA if is_right else DATA + b"x").digest()
    entry.head = replace(entry.head, fields=(*entry.head.fields, (b"repr-digest", digest_value({"sha-256": named}))))
    await until(lambda: entry.body.sha256 is not None)
    assert (wrong, shelf.find("/x")) == (([], [entry]) if is_right else ([entry], []))
    assert shelf._counters.get("wrong_files_count") == (not is_right)
    await closed(shelf)
