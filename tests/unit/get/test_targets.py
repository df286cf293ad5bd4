"""Where downloads go: the part file and its state, and the pipe."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from minicdn.errors import SourcesFailed, TargetUnwritable
from minicdn.get.partfile import PartFile
from minicdn.get.streamed import Streamed
from tests.kit.files import bytes_of

BODY = bytes_of("body", 10_000)
ETAG = b'"one"'


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, 30))


async def half(path: Path, identity: str = "site/file") -> None:
    """A download that ended with two spans of it there."""
    part = PartFile(path, identity)
    assert part.load() == 0
    part.begin(len(BODY), ETAG)
    part.write(0, BODY[:3000])
    part.write(5000, BODY[5000:8000])
    await part.close()


def test_written_in_any_order_it_is_whole_at_the_end(tmp_path: Path) -> None:
    async def work() -> None:
        part = PartFile(tmp_path / "file", "site/file")
        part.load()
        part.begin(len(BODY), ETAG)
        for start in (7000, 0, 3000):
            part.write(start, BODY[start : start + (4000 if start else 3000)])
        assert await part.sha256(len(BODY)) == hashlib.sha256(BODY).digest()
        assert not (tmp_path / "file").exists()
        await part.commit(len(BODY))

    run(work())
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", BODY)]


def test_what_was_there_is_gone_on_with(tmp_path: Path) -> None:
    async def work() -> None:
        await half(tmp_path / "file")
        part = PartFile(tmp_path / "file", "site/file")
        assert part.load() == 6000
        assert (part.length, part.validator, list(part.held)) == (len(BODY), ETAG, [(0, 3000), (5000, 8000)])
        part.write(3000, BODY[3000:5000])
        part.write(8000, BODY[8000:])
        assert await part.sha256(len(BODY)) == hashlib.sha256(BODY).digest()
        await part.close()

    run(work())


@pytest.mark.parametrize("end", ["commit", "discard", "begin"])
def test_a_state_that_is_late_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    """It would lie beside the whole file for ever, or be taken for that of another."""
    is_synced, is_syncing = threading.Event(), threading.Event()
    savers: list[threading.Thread] = []
    sync = os.fdatasync

    def late(fd: int) -> None:
        sync(fd)
        savers.append(threading.current_thread())
        is_syncing.set()
        assert is_synced.wait(20)

    async def work() -> None:
        part = PartFile(tmp_path / "file", "site/file")
        part.load()
        part.begin(len(BODY), ETAG)
        part.write(0, BODY)
        monkeypatch.setattr(os, "fdatasync", late)
        saving = asyncio.ensure_future(part._save())
        await asyncio.to_thread(is_syncing.wait, 20)
        saving.cancel()
        if end == "commit":
            await part.commit(len(BODY))
        elif end == "discard":
            part.discard()
        else:
            part.begin(len(BODY), b'"two"')
        is_synced.set()
        await asyncio.to_thread(savers[0].join)
        left = sorted(os.listdir(tmp_path))
        part.discard()
        assert left == {"commit": ["file"], "discard": [], "begin": ["file.part"]}[end]

    run(work())


def test_of_two_saves_at_once_the_later_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their syncs end in any order."""
    syncs: list[tuple[threading.Thread, threading.Event]] = []
    is_there = threading.Semaphore(0)

    def late(fd: int) -> None:
        may_end = threading.Event()
        syncs.append((threading.current_thread(), may_end))
        is_there.release()
        assert may_end.wait(20)

    async def work() -> int:
        part = PartFile(tmp_path / "file", "site/file")
        part.begin(len(BODY), ETAG)
        monkeypatch.setattr(os, "fdatasync", late)
        saves = []
        for start in (0, 1000):
            part.write(start, BODY[start : start + 1000])
            saves.append(asyncio.ensure_future(part._save()))
            assert await asyncio.to_thread(is_there.acquire, timeout=20)
        for saver, may_end in reversed(syncs):
            may_end.set()
            await asyncio.to_thread(saver.join)
        await asyncio.gather(*saves)
        monkeypatch.undo()
        found = json.loads((tmp_path / "file.part.state").read_text())["spans"]
        assert found == [[0, 2000]]
        await part.close()
        return part.held.total_bytes

    assert run(work()) == 2000


@pytest.mark.parametrize("is_known", [True, False], ids=["some", "none"])
def test_held_at_the_end_is_what_could_be_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_known: bool) -> None:
    """Bytes that no state names are not gone on from, so nobody may be told that they are kept."""
    may_end = threading.Event()

    def never(fd: int) -> None:
        assert may_end.wait(20)

    async def work() -> tuple[list[tuple[int, int]], int]:
        part = PartFile(tmp_path / "file", "site/file")
        part.begin(len(BODY), ETAG)
        part.write(0, BODY[:1000])
        if is_known:
            await part._save()
        part.write(1000, BODY[1000:3000])
        monkeypatch.setattr(os, "fdatasync", never)
        monkeypatch.setattr("minicdn.get.partfile.LAST_SAVE_SECONDS", 0.01)
        await part.close()
        held = list(part.held)
        may_end.set()
        return held, PartFile(tmp_path / "file", "site/file").load()

    assert run(work()) == (([(0, 1000)], 1000) if is_known else ([], 0))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "file.part.state").unlink(),
        lambda folder: (folder / "file.part").unlink(),
        lambda folder: os.truncate(folder / "file.part", 7999),
        lambda folder: (folder / "file.part.state").write_text("{"),
        lambda folder: (folder / "file.part.state").write_text(json.dumps({"format": 0})),
    ],
)
def test_a_part_that_is_not_sure_is_begun_anew(tmp_path: Path, spoil: Any) -> None:
    async def work() -> int:
        await half(tmp_path / "file")
        spoil(tmp_path)
        return PartFile(tmp_path / "file", "site/file").load()

    assert run(work()) == 0


def test_a_part_of_another_site_is_begun_anew(tmp_path: Path) -> None:
    async def work() -> int:
        await half(tmp_path / "file", "site/file")
        return PartFile(tmp_path / "file", "other/file").load()

    assert run(work()) == 0


def test_a_whole_part_asks_for_one_byte_again(tmp_path: Path) -> None:
    async def work() -> int:
        part = PartFile(tmp_path / "file", "site/file")
        part.load()
        part.begin(len(BODY), ETAG)
        part.write(0, BODY)
        await part.close()
        return PartFile(tmp_path / "file", "site/file").load()

    assert run(work()) == len(BODY) - 1


def test_without_a_validator_nothing_is_kept(tmp_path: Path) -> None:
    async def work() -> None:
        part = PartFile(tmp_path / "file", "site/file")
        part.load()
        part.begin(len(BODY), None)
        part.write(0, BODY[:10])
        await part.close()

    run(work())
    assert list(tmp_path.iterdir()) == []


def test_two_downloads_of_one_file_are_kept_apart(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")

    async def work() -> None:
        first, second = PartFile(tmp_path / "file", "site/file"), PartFile(tmp_path / "file", "site/file")
        first.begin(len(BODY), ETAG)
        first.write(0, BODY)
        with pytest.raises(TargetUnwritable, match="another download"):
            second.begin(len(BODY), ETAG)
        assert await first.sha256(len(BODY)) == hashlib.sha256(BODY).digest()
        await first.close()

    run(work())


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TargetUnwritable, match="no such folder"):
        PartFile(tmp_path / "none" / "file", "x").load()


def test_the_pipe_gets_all_in_order(tmp_path: Path) -> None:
    async def work(fd: int) -> bytes:
        pipe = Streamed(fd)
        pipe.begin(len(BODY), ETAG)
        for start, end in ((4000, 9000), (0, 3000), (2000, 5000), (8500, 10_000)):
            await pipe.room()
            pipe.write(start, BODY[start:end])
        return await pipe.sha256(len(BODY))

    with (tmp_path / "out").open("wb") as out:
        assert run(work(out.fileno())) == hashlib.sha256(BODY).digest()
    assert (tmp_path / "out").read_bytes() == BODY


def test_what_is_out_of_the_pipe_can_not_be_begun_anew(tmp_path: Path) -> None:
    async def work(fd: int) -> None:
        pipe = Streamed(fd)
        pipe.begin(len(BODY), ETAG)
        pipe.write(5000, BODY[5000:])
        pipe.begin(len(BODY), b'"two"')
        pipe.write(0, b"x")
        with pytest.raises(SourcesFailed):
            pipe.begin(len(BODY), ETAG)

    with (tmp_path / "out").open("wb") as out:
        run(work(out.fileno()))


def test_a_reader_that_is_gone() -> None:
    async def work(fd: int) -> None:
        pipe = Streamed(fd)
        pipe.begin(None, None)
        pipe.write(0, BODY)
        await pipe.sha256(len(BODY))

    reading, writing = os.pipe()
    os.close(reading)
    with pytest.raises(BrokenPipeError):
        run(work(writing))
    os.close(writing)


def test_a_name_that_can_not_be_taken_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows refuses it while a program has the file open. What is held then is what the state names."""
    path, replace = tmp_path / "file", os.replace

    def held_open(source: Path, target: Path) -> None:
        if target == path:
            raise PermissionError(13, "Permission denied", str(target))
        replace(source, target)

    async def work() -> None:
        part = PartFile(path, "site/file")
        part.load()
        part.begin(len(BODY), ETAG)
        part.write(0, BODY)
        monkeypatch.setattr(os, "replace", held_open)
        with pytest.raises(TargetUnwritable):
            await part.commit(len(BODY))
        await part.close()
        assert part.held.total_bytes == len(BODY)
        assert PartFile(path, "site/file").load() == len(BODY) - 1, "the last byte is asked for, to see that it is the same file"

    run(work())
