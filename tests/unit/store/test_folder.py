"""One node to a folder; what is wrong with a folder is said at the start, in one line with what to do."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from minicdn.errors import CacheFolderUnusable
from minicdn.store.folder import CacheFolder
from tests.unit.store.making import make_shelf, on_loop, open_files, put, read_all, recorded


def test_a_folder_is_made_with_its_parents(tmp_path: Path):
    folder = CacheFolder(tmp_path / "a" / "b")
    assert folder.objects.is_dir()
    folder.release()
    folder.release()


@on_loop
async def test_two_nodes_do_not_share_a_folder(tmp_path: Path):
    first, second = make_shelf(tmp_path), make_shelf(tmp_path)
    await first.open()
    put(first, "/x", bytes(100_000))
    await recorded(first)
    with pytest.raises(CacheFolderUnusable, match=r"in use by another minicdn.*--cache-dir"):
        await second.open()
    assert first.find("/x")
    await first.close()
    await second.open()
    assert second.find("/x")
    await second.close()


def test_nor_do_two_processes_and_a_killed_one_leaves_it_free(tmp_path: Path):
    program = (
        "import sys, pathlib; from minicdn.store.folder import CacheFolder;"
        "folder = CacheFolder(pathlib.Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    root = Path(__file__).parents[3]
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(root)},
    ) as other:
        assert other.stdout is not None and other.stdout.readline().strip() == b"held"
        with pytest.raises(CacheFolderUnusable):
            CacheFolder(tmp_path)
        other.kill()
    CacheFolder(tmp_path).release()


@pytest.mark.parametrize("part", ["", "objects", "lock/x", "objects/x"])
def test_a_file_in_the_way(tmp_path: Path, part: str):
    """The folder, or one in it, is a file; or the lock file is a folder."""
    folder = tmp_path / "cache"
    spoiled = folder / part if part else folder
    if part.endswith("/x"):
        spoiled = folder / part.split("/")[0]
        if part.startswith("lock"):
            spoiled.mkdir(parents=True)
        else:
            folder.mkdir()
            spoiled.write_text("")
    else:
        spoiled.parent.mkdir(parents=True, exist_ok=True)
        spoiled.write_text("")
    with pytest.raises(CacheFolderUnusable, match=r"can't be written \(.+\): choose another with --cache-dir") as found:
        CacheFolder(folder)
    assert "\n" not in str(found.value)


def test_a_parent_that_is_a_file(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CacheFolderUnusable, match="can't be written"):
        CacheFolder(tmp_path / "file" / "cache")


@pytest.mark.parametrize("call, on", [("mkdir", ""), ("open", "lock"), ("mkdir", "objects"), ("open", "trial")])
@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_a_folder_that_can_not_be_written(tmp_path: Path, disk, call, on, code):
    disk.fail(call, code, on=on)
    with pytest.raises(CacheFolderUnusable, match="can't be written"):
        CacheFolder(tmp_path / "cache")
    disk.heal()
    CacheFolder(tmp_path / "cache").release()


@pytest.mark.skipif(sys.platform == "win32", reason="no flock")
def test_a_file_system_without_locks_is_not_taken_for_another_node(tmp_path: Path, monkeypatch):
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(CacheFolderUnusable, match="can't be locked"):
        CacheFolder(tmp_path)


@on_loop
async def test_a_folder_that_can_not_be_read_is_let_go_of(tmp_path: Path, monkeypatch):
    def scandir(_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    shelf = make_shelf(tmp_path)
    with monkeypatch.context() as broken:
        broken.setattr(os, "scandir", scandir)
        with pytest.raises(CacheFolderUnusable, match="can't be read"):
            await shelf.open()
    again = make_shelf(tmp_path)
    await again.open()
    await again.close()


@on_loop
async def test_a_shelf_without_a_folder_needs_none():
    shelf = make_shelf(None)
    await shelf.open()
    entry = put(shelf, "/small", b"hello")
    assert await read_all(entry.body) == b"hello"
    large = shelf.new_body("/large", 1_000_000)
    assert not large.is_kept
    shelf.drop(large)
    await shelf.close()


@on_loop
async def test_a_closed_shelf_holds_nothing_open(tmp_path: Path):
    shelf = make_shelf(tmp_path)
    await shelf.open()
    body = shelf.new_body("/half", 500_000)
    body.write(0, bytes(100_000))
    entry = put(shelf, "/whole", bytes(200_000))
    entry.body.open()
    await entry.body.storage.read_waiting(0, 10)
    bodies = [path for path in open_files(tmp_path) if not path.endswith(".temporary")]  # metadata on its way is written in a thread
    assert len(bodies) == 2
    await shelf.close()
    await shelf.close()
    assert not open_files(tmp_path)
