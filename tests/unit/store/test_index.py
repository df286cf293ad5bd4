"""What a restart finds: everything that was whole, in order of use, and nothing else, whatever lies in the folder."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path

import msgpack
import pytest

from minicdn.store.index import RECORD_BYTES_MAX, VERSION, Record, body_path, delete_record, meta_path, read_record, recover, write_record
from tests.unit.store.making import MIB, files_in, make_shelf, make_stored, on_loop, open_files, put, random_bytes, read_all, recorded


@pytest.fixture
def objects(tmp_path: Path) -> Path:
    folder = tmp_path / "objects"
    folder.mkdir()
    return folder


def lay(objects: Path, key: str, body: bytes = b"hello", *, unique: str = "0123456789abcdef", used_at: float | None = None) -> Path:
    """A whole body with its record, as a run leaves them."""
    path = body_path(objects, key, unique)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(body)
    write_record(path, Record(key, {"some": [b"thing", 1, None]}, len(body)))
    if used_at is not None:
        os.utime(meta_path(path), (used_at, used_at))
    return path


def all_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())


# Records


@pytest.mark.parametrize("key", ["/", "/a?b=c", "/" + "x" * 2000, "/\udcff", "/ü"])
def test_a_record_comes_back(objects, key):
    path = lay(objects, key)
    assert recover(objects) == [(path, Record(key, {"some": [b"thing", 1, None]}, 5))]
    assert all_files(objects) == sorted([path, meta_path(path)])


def test_keys_have_files_of_their_own():
    names = {body_path(Path("x"), f"/{number}", "00000000") for number in range(1000)}
    assert len(names) == 1000
    assert len({body_path(Path("x"), "/same", f"{number:08x}") for number in range(1000)}) == 1000


@pytest.mark.parametrize("call", ["open", "write", "fsync", "replace"])
def test_a_record_that_can_not_be_written_leaves_the_old_one_and_no_rest(objects, disk, call):
    path = lay(objects, "/x")
    disk.fail(call, errno.ENOSPC)
    with pytest.raises(OSError):
        write_record(path, Record("/x", "new", 5))
    disk.heal()
    assert recover(objects) == [(path, Record("/x", {"some": [b"thing", 1, None]}, 5))]
    assert len(all_files(objects)) == 2


@pytest.mark.parametrize("stored", [object(), {"x": 1 << 70}, b"x" * RECORD_BYTES_MAX], ids=["foreign", "number", "large"])
def test_what_can_not_be_read_again_is_not_written(objects, stored):
    path = lay(objects, "/x")
    with pytest.raises(ValueError):
        write_record(path, Record("/x", stored, 5))
    assert read_record(meta_path(path)).stored == {"some": [b"thing", 1, None]}


def test_a_record_is_deleted_even_if_it_is_not_there(objects):
    path = lay(objects, "/x")
    delete_record(path)
    delete_record(path)
    assert recover(objects) == [] and all_files(objects) == []


def _packed(**changes: object) -> bytes:
    return msgpack.packb({"version": VERSION, "key": "/x", "stored": None, "length": 5, **changes})


@pytest.mark.parametrize(
    "spoiled",
    [
        b"",
        b"\0",
        b"\xff" * 100,
        b"not msgpack at all",
        msgpack.packb([1, 2, 3]),
        msgpack.packb(7),
        msgpack.packb({}),
        msgpack.packb({b"version": VERSION}),
        _packed(version=VERSION + 1),
        _packed(version=None),
        _packed(key=b"/x"),
        _packed(key=None),
        _packed(key="/y"),
        _packed(length=-1),
        _packed(length=True),
        _packed(length=5.0),
        _packed(length="5"),
        _packed(length=4),
        _packed(length=6),
        _packed(length=1 << 63),
        _packed() + b"x",
        _packed()[:-1],
        b"\x81\x91\x01\x02",  # a list as a map's key
        b"\x91" * 5000,  # deeper than anybody may go
        b"\xdd\xff\xff\xff\xff",  # a list that says it is huge
        b"\xc7\x0c\xff" + b"\xff" * 12,  # an impossible instant
        b"\xa2\xed\xa0",  # half a letter
        bytes(RECORD_BYTES_MAX + 1),
    ],
)
def test_a_spoiled_record_is_no_record_and_goes_with_its_body(objects, spoiled):
    other = lay(objects, "/other")
    path = lay(objects, "/x")
    meta_path(path).write_bytes(spoiled)
    assert [found for found, _ in recover(objects)] == [other]
    assert all_files(objects) == sorted([other, meta_path(other)])


def test_no_bytes_whatever_make_recovery_fail(objects):
    rng = random.Random(7)
    right = meta_path(lay(objects, "/x")).read_bytes()
    for _ in range(500):
        path = lay(objects, "/x")
        spoiled = bytearray(right)
        for _ in range(rng.randrange(1, 6)):
            spoiled[rng.randrange(len(spoiled))] = rng.randrange(256)
        meta_path(path).write_bytes(spoiled[: rng.randrange(len(spoiled) + 1)])
        for _, record in recover(objects):
            assert (record.key, record.length) == ("/x", 5)


# What lies in the folder


@pytest.mark.parametrize("length", [0, 4, 6])
def test_a_body_of_another_length_is_not_whole(objects, length):
    path = lay(objects, "/x")
    os.truncate(path, length)
    assert recover(objects) == [] and all_files(objects) == []


def test_a_body_without_a_record_and_a_record_without_a_body_are_leftovers(objects):
    delete_record(lay(objects, "/half"))
    lay(objects, "/lost").unlink()
    path = lay(objects, "/whole")
    meta_path(path).with_suffix(".temporary").write_bytes(b"half")
    assert [found for found, _ in recover(objects)] == [path]
    assert len(all_files(objects)) == 2


def test_what_is_not_ours_is_left_alone(objects):
    """Somebody may give us a folder that has `objects/??/` of another program in it: git's, say."""
    foreign = [
        objects / "3f" / ("0" * 38),
        objects / "3f" / "notes.txt",
        objects / "pack" / ("0" * 32 + "-01234567.body"),
        objects / "3f" / "sub" / ("0" * 32 + "-01234567.body"),
        objects / "3F" / ("0" * 32 + "-01234567.body"),
        objects / "3f" / "important.body",
        objects / "3f" / "important.meta",
    ]
    for path in foreign:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"precious")
    assert recover(objects) == []
    assert all_files(objects) == sorted(foreign)


def test_links_are_not_followed(objects, tmp_path: Path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"hello")
    body, meta, both = lay(objects, "/body"), lay(objects, "/meta"), lay(objects, "/both")
    body.unlink()
    body.symlink_to(victim)
    kept_record = tmp_path / "record"
    os.rename(meta_path(meta), kept_record)
    meta_path(meta).symlink_to(kept_record)
    both.unlink()
    both.symlink_to(tmp_path / "nowhere")
    assert recover(objects) == []
    assert victim.read_bytes() == b"hello" and kept_record.exists()
    assert all_files(objects) == []


def test_a_folder_that_is_a_link_is_not_entered(objects, tmp_path: Path):
    path = lay(objects, "/x")
    elsewhere = tmp_path / "elsewhere"
    os.rename(path.parent, elsewhere)
    path.parent.symlink_to(elsewhere, target_is_directory=True)
    assert recover(objects) == []
    assert len(all_files(elsewhere)) == 2


def test_folders_and_devices_by_the_names_of_files_are_passed_over(objects):
    body, meta = lay(objects, "/body"), lay(objects, "/meta")
    body.unlink()
    body.mkdir()
    meta_path(meta).unlink()
    os.mkfifo(meta_path(meta))
    assert recover(objects) == []


@pytest.mark.parametrize("spoil", [lambda path: path, meta_path], ids=["body", "record"])
def test_what_may_not_be_read_is_not_offered(objects, monkeypatch, spoil):
    """Written by another user, say. (Faults are made here: the superuser may read everything.)"""
    path, other = lay(objects, "/x"), lay(objects, "/other")
    closed = str(spoil(path))
    real_open, real_access = open, os.access

    def refuse(target, *arguments, **named):
        if str(target) == closed:
            raise PermissionError(errno.EACCES, "no")
        return real_open(target, *arguments, **named)

    monkeypatch.setattr("builtins.open", refuse)
    monkeypatch.setattr(os, "access", lambda target, mode: str(target) != closed and real_access(target, mode))
    assert [found for found, _ in recover(objects)] == [other]


def test_leftovers_that_can_not_be_deleted_do_not_keep_a_node_from_starting(objects, disk):
    delete_record(lay(objects, "/half"))
    path = lay(objects, "/whole")
    disk.fail("unlink", errno.EPERM)
    assert [found for found, _ in recover(objects)] == [path]


def test_files_that_vanish_meanwhile_are_no_trouble(objects, monkeypatch):
    path, other = lay(objects, "/x"), lay(objects, "/other")
    real = os.scandir

    def scandir(folder):
        found = real(folder)
        if str(folder) == str(path.parent):
            entries = list(found)
            path.unlink(missing_ok=True)
            meta_path(path).unlink(missing_ok=True)

            class Gone(list):
                def __enter__(self):
                    return self

                def __exit__(self, *_):
                    return None

            return Gone(entries)
        return found

    monkeypatch.setattr(os, "scandir", scandir)
    assert [found for found, _ in recover(objects)] == [other]


def test_the_least_recently_used_comes_first(objects):
    order = random.Random(3).sample(range(100), 100)
    for place, number in enumerate(order):
        lay(objects, f"/{number}", used_at=1e9 + place * 0.001)
    assert [record.key for _, record in recover(objects)] == [f"/{number}" for number in order]


# A shelf that is opened again


@on_loop
async def test_a_restart_finds_everything_byte_for_byte(tmp_path: Path):
    shelf = make_shelf(tmp_path)
    await shelf.open()
    bodies = {f"/{number}?x=%20": random_bytes(70_000 + number * 999, number) for number in range(20)}
    for key, data in bodies.items():
        put(shelf, key, data)
    put(shelf, "/unknown length", b"short", is_announced=False)
    put(shelf, "/empty", b"", is_announced=False)
    put(shelf, "/in memory", b"gone with the process")
    await shelf.close()
    again = make_shelf(tmp_path)
    await again.open()
    assert sorted(again.keys()) == sorted([*bodies, "/unknown length", "/empty"])
    for key, data in bodies.items():
        (entry,) = again.find(key)
        assert entry.stored == make_stored() and entry.head == entry.stored.head
        assert await read_all(entry.body) == data
    assert await read_all(again.find("/unknown length")[0].body) == b"short"
    assert await read_all(again.find("/empty")[0].body) == b""
    assert again.statistics()["disk_used_bytes"] == shelf.statistics()["disk_used_bytes"]
    await again.close()
    assert not open_files(tmp_path)


@on_loop
async def test_the_order_of_use_outlives_a_restart(tmp_path: Path):
    shelf = make_shelf(tmp_path)
    await shelf.open()
    entries = [put(shelf, f"/{number}", bytes(100_000)) for number in range(5)]
    await recorded(shelf)
    for number, path in enumerate(files_in(tmp_path, ".meta")):
        os.utime(path, (number, number))
    for entry in (entries[3], entries[1]):
        shelf.touch(entry, 1e6)
    await shelf.close()
    again = make_shelf(tmp_path, disk=220_000)
    await again.open()
    assert len(list(again.keys())) == 2
    assert {"/1", "/3"} == set(again.keys())
    assert again.statistics()["disk_used_bytes"] <= 220_000
    await again.close()
    assert len(files_in(tmp_path)) == 4


@on_loop
async def test_facts_that_can_not_be_read_cost_the_entry_and_nothing_else(tmp_path: Path):
    objects = tmp_path / "objects"
    objects.mkdir()
    lay(objects, "/x")
    shelf = make_shelf(tmp_path)
    await shelf.open()
    assert list(shelf.keys()) == [] and shelf.statistics()["disk_used_bytes"] == 0
    await recorded(shelf)
    assert files_in(tmp_path) == []
    await shelf.close()


@on_loop
async def test_of_two_records_of_one_variant_the_later_stays(tmp_path: Path):
    """A crash between the new one's record and the old one's deletion leaves both."""
    for order in ((1000.0, 2000.0), (2000.0, 1000.0)):
        folder = tmp_path / str(order[0])
        for number, response_at in enumerate(order):
            shelf = make_shelf(folder / str(number))
            await shelf.open()
            put(shelf, "/x", str(response_at).encode() * 20_000, response_at=response_at)
            put(shelf, "/x", b"variant" * 20_000, response_at=response_at, selecting=((b"accept", str(number).encode()),))
            await shelf.close()
        for path in files_in(folder / "1"):
            target = folder / "0" / path.relative_to(folder / "1")
            target.parent.mkdir(exist_ok=True)
            path.rename(target)
        both = make_shelf(folder / "0")
        await both.open()
        plain = [entry for entry in both.find("/x") if not entry.stored.selecting]
        assert [await read_all(entry.body) for entry in plain] == [b"2000.0" * 20_000]
        assert len(both.find("/x")) == 3
        await both.close()
        assert len(files_in(folder / "0", ".body")) == 3


@on_loop
async def test_thousands_are_found_again(tmp_path: Path):
    shelf = make_shelf(tmp_path, memory=64 * MIB, small=0)
    await shelf.open()
    for number in range(2000):
        put(shelf, f"/{number}", b"%d" % number)
    await recorded(shelf)
    await shelf.close()
    again = make_shelf(tmp_path, memory=64 * MIB, small=0)
    await again.open()
    assert len(list(again.keys())) == 2000
    for number in range(0, 2000, 97):
        assert await read_all(again.find(f"/{number}")[0].body) == b"%d" % number
    await again.close()
    assert not open_files(tmp_path)
