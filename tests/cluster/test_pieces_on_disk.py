"""Pieces outlast the process: what was on disk is not fetched again, and what the disk has changed is."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import pytest

from minicdn.core.pieces import Pieces
from minicdn.store.index import read_record
from tests.kit.asking import ask_all, open_answer
from tests.kit.files import MIB, bytes_of, folder_bytes
from tests.kit.nginx import Nginx
from tests.kit.stage import Stage
from tests.kit.waiting import eventually

LENGTH = 40 * MIB + 777
BODY = bytes_of("pieces", LENGTH)
PIECES = Pieces.of(LENGTH)
RATE_BYTES = 5 * MIB
KEPT = 'add_header Cache-Control "max-age=3600";'


def recorded_bytes(folder: Path) -> int:
    """What a restart would find."""
    found = 0
    for path in folder.rglob("*.meta"):
        record = read_record(path)
        assert record is not None
        found += sum(any(record.digests[index * 32 : index * 32 + 32]) * PIECES.size for index in range(PIECES.count))
    return min(found, LENGTH)


def spoil(folder: Path, offset: int) -> None:
    (path,) = folder.rglob("*.body")
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(bytes([BODY[offset] ^ 0x10]))


def wait_recording(folder: Path, there: int) -> None:
    """Until more than that is recorded, or just about to be."""
    eventually(lambda: any(folder.rglob("*.temporary")) or recorded_bytes(folder) > there, "a record being written")


def is_hashed(url: str, path: str) -> bool:
    with open_answer(url, path, method="HEAD") as answer:
        return any(name.lower() == "repr-digest" for name, _ in answer.fields)


@pytest.fixture
def nginx(stage: Stage) -> Nginx:
    nginx = stage.nginx(extra=KEPT)
    nginx.put("x.bin", BODY)
    return nginx


@pytest.mark.parametrize("asked", ["the whole", "a part"])
def test_after_a_kill_half_way_only_the_rest_is_fetched(stage: Stage, asked: str) -> None:
    nginx = stage.nginx(extra=KEPT, rate_bytes=RATE_BYTES)
    path = nginx.put("x.bin", BODY)
    manager = stage.manager(nginx.url)
    fields = [("Range", f"bytes=0-{LENGTH - 2}")] if asked == "a part" else []
    with open_answer(manager.url, path, fields=fields):
        there = eventually(lambda: recorded_bytes(manager.cache_dir), "a record of what has come")
        manager.kill()
    assert 0 < there < LENGTH
    nginx.forget()
    again = stage.manager(nginx.url, cache_dir=manager.cache_dir)
    assert again.ask(path).body == BODY
    assert nginx.bytes_sent() == LENGTH - there
    assert {row.status for row in nginx.log()} == {206}
    assert again.stats()["damaged_pieces_count"] == 0
    assert again.ask(path).body == BODY
    assert nginx.bytes_sent() == LENGTH - there


def test_a_part_that_came_before_a_close_is_not_fetched_again(stage: Stage, nginx: Nginx) -> None:
    manager = stage.manager(nginx.url)
    half = PIECES.size * (PIECES.count // 2)
    assert manager.ask("/x.bin", fields=[("Range", f"bytes=0-{half - 1}")]).body == BODY[:half]
    manager.interrupt()
    assert manager.wait() == 0
    nginx.forget()
    again = stage.manager(nginx.url, cache_dir=manager.cache_dir)
    assert again.ask("/x.bin", fields=[("Range", "bytes=1000-1999")]).body == BODY[1000:2000]
    assert nginx.bytes_sent() == 0
    assert again.ask("/x.bin").body == BODY
    assert nginx.bytes_sent() == LENGTH - half


def test_a_damaged_piece_is_noticed_and_it_alone_is_fetched_again(stage: Stage, nginx: Nginx) -> None:
    manager = stage.manager(nginx.url)
    assert manager.ask("/x.bin").body == BODY
    eventually(lambda: recorded_bytes(manager.cache_dir) == LENGTH, "the file kept")
    manager.kill()
    nginx.forget()
    spoil(manager.cache_dir, 3 * PIECES.size + 5)
    again = stage.manager(nginx.url, cache_dir=manager.cache_dir)
    before = again.ask("/x.bin", fields=[("Range", f"bytes=0-{3 * PIECES.size - 1}")])
    assert before.body == BODY[: 3 * PIECES.size] and again.stats()["damaged_pieces_count"] == 0
    answers = ask_all([again.url + "/x.bin"] * 3, at_once=3)
    assert [answer.body == BODY for answer in answers] == [True] * 3, "they waited"
    assert again.stats()["damaged_pieces_count"] == 1
    assert nginx.bytes_sent() == PIECES.size
    eventually(lambda: is_hashed(again.url, "/x.bin"), "the whole to be hashed anew")
    answer = again.ask("/x.bin", fields=[("Range", "bytes=5-9")])
    assert answer["Repr-Digest"] == f"sha-256=:{b64encode(sha256(BODY).digest()).decode()}:"


def test_kills_in_the_middle_of_recording_leave_nothing_broken(stage: Stage) -> None:
    nginx = stage.nginx(extra=KEPT, rate_bytes=RATE_BYTES)
    path = nginx.put("x.bin", BODY)
    folder = stage.folder / "cache"
    for _ in range(3):
        manager = stage.manager(nginx.url, cache_dir=folder)
        with open_answer(manager.url, path):
            wait_recording(folder, recorded_bytes(folder))
            manager.kill()
        if recorded_bytes(folder) == LENGTH:
            break
    last = stage.manager(nginx.url, cache_dir=folder)
    assert last.ask(path).body == BODY
    assert last.stats()["damaged_pieces_count"] == 0
    assert nginx.bytes_sent() < 3 * LENGTH
    assert folder_bytes(folder) <= LENGTH + MIB
