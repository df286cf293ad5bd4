from __future__ import annotations

import asyncio
import errno
import json
import threading
from pathlib import Path

import pytest

from minicdn.core.logline import LogLine
from minicdn.errors import ClientError
from minicdn.store import logfile as module
from minicdn.store.logfile import Follower, LogFile

PEER = "http://10.0.0.5:11001"


def line(number: int, **more: object) -> LogLine:
    found = dict(key=f"/{number}", remote_addr="10.0.0.9:5", user_agent="curl", success=True, header_data=None, method="GET",
                 status=200, bytes=5, source="memory", duration_seconds=0.1, timestamp=1436945573)  # fmt: skip
    return LogLine(**{**found, **more})


class Log:
    """A log in a folder of its own, and what it says to the operator."""

    def __init__(self, folder: Path, *, lines_max: int = 1000) -> None:
        self.path = folder / "log"
        self.said: list[str] = []
        self.file = LogFile(
            str(self.path), file_bytes=1 << 20, files_kept=1, lines_max=lines_max, wall=lambda: 1436945600.9, say=self.said.append
        )
        self.file.url = "http://manager:11000"

    def written(self) -> list[dict]:
        assert self.file.close(10)
        return [json.loads(row) for row in self.path.read_bytes().splitlines()]


def what(rows: list[dict]) -> list[object]:
    """Keys of lines, counts of losses."""
    return [row["data"]["key"] if row["data"]["action"] == "LOG" else row["data"]["count"] for row in rows]


def test_lines_are_written_in_order_with_the_url_of_their_peer(tmp_path: Path) -> None:
    log = Log(tmp_path, lines_max=2000)
    for number in range(1200):
        log.file.put(line(number), PEER)
    rows = log.written()
    assert what(rows) == [f"/{number}" for number in range(1200)]
    assert {row["peer"] for row in rows} == {PEER}


def test_what_a_peer_lost_stands_in_its_place(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.file.put(line(1), PEER)
    log.file.put_dropped(7, PEER)
    log.file.put(line(2), PEER)
    rows = log.written()
    assert what(rows) == ["/1", 7, "/2"]
    assert rows[1] == {"data": {"action": "DROPPED", "count": 7}, "peer": PEER, "timestamp": 1436945600}


def test_a_queue_that_is_full_loses_the_oldest_and_the_log_says_how_many(tmp_path: Path) -> None:
    log = Log(tmp_path, lines_max=10)
    with log.file._lock:
        log.file.put(line(0), PEER)
        wait_until(lambda: not log.file._queue)  # the thread has taken it and waits for the lock
        for number in range(1, 26):
            log.file.put(line(number), PEER)
            assert len(log.file._queue) <= 10
    rows = log.written()
    assert what(rows) == ["/0", 15, *(f"/{number}" for number in range(16, 26))]
    assert log.file.dropped_count == 15
    assert rows[1]["peer"] == "http://manager:11000"


def test_what_comes_while_lines_are_written_waits_to_be_many(tmp_path: Path) -> None:
    """A thread that took each line as it came would take the interpreter's lock as often as requests come."""
    log, sizes = Log(tmp_path), []
    write = log.file._write

    def write_and_put(lines: list[bytes]) -> None:
        write(lines)
        sizes.append(len(lines))
        if len(sizes) < 3:
            log.file.put(line(len(sizes)), PEER)  # as a request does while this one waits for the disk
            log.file.put(line(len(sizes) + 10), PEER)
            assert len(log.file._queue) == 2

    waits, wait = [], log.file._closing.wait
    log.file._write = write_and_put  # type: ignore[method-assign]
    log.file._closing.wait = lambda seconds=None: waits.append(len(sizes)) or wait(seconds)  # type: ignore[method-assign, assignment]
    log.file.put(line(0), PEER)
    wait_until(lambda: len(sizes) == 3)
    assert what(log.written()) == ["/0", "/1", "/11", "/2", "/12"]
    assert sizes == [1, 2, 2]
    assert {0, 1, 2} <= set(waits)  # before each of them


def wait_until(is_so) -> None:
    pause = threading.Event()
    for _ in range(2000):
        if is_so():
            return
        pause.wait(0.005)
    raise AssertionError("it did not come to that")


def test_a_disk_that_refuses_loses_lines_says_so_once_and_is_tried_again(tmp_path: Path) -> None:
    log = Log(tmp_path)
    sink = log.file._sink
    append = sink._append
    refused = []

    def refuse(data: bytes) -> None:
        refused.append(data)
        raise OSError(errno.ENOSPC, "No space left on device")

    sink._append = refuse
    for number in range(3):
        log.file.put(line(number), PEER)
        wait_until(lambda number=number: len(refused) > number)
    wait_until(lambda: log.file.dropped_count == 3)
    assert len(log.said) == 1 and "No space left on device" in log.said[0]
    sink._append = append
    log.file.put(line(3), PEER)
    rows = log.written()
    assert what(rows) == [3, "/3"]
    assert log.file.dropped_count == 3
    assert len(log.said) == 2 and "written again" in log.said[1]


def test_a_line_that_can_be_no_json_is_lost_alone(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.file.put(line(1, header_data=float("nan")), PEER)
    log.file.put(line(2, header_data=object()), PEER)
    log.file.put(line(3), PEER)
    assert what(log.written()) == [2, "/3"]


async def rows_of(follower: Follower, count: int) -> list[object]:
    """What a follower gets, until it has `count` items or the end."""
    found: list[object] = []
    async with asyncio.timeout(10):
        while len(found) < count:
            lines, missed = await follower.wait_lines()
            found += [missed] if missed else []
            found += what([json.loads(row) for row in lines])
            if not lines:
                break
    return found


def test_a_follower_gets_exactly_what_comes_after_the_tail(tmp_path: Path) -> None:
    async def run() -> tuple[list[object], list[object]]:
        log = Log(tmp_path)
        for number in range(50):
            log.file.put(line(number), PEER)
        follower = Follower()
        tail = await asyncio.to_thread(log.file.tail, 1000, follower)
        for number in range(50, 100):
            log.file.put(line(number), PEER)
        first = what([json.loads(row) for row in b"".join(tail).splitlines()])
        tail.close()
        rest = await rows_of(follower, 100 - len(first))
        await asyncio.to_thread(log.file.close, 10)
        assert await rows_of(follower, 1) == [], "a closed log ends its followers"
        return first, rest

    first, rest = asyncio.run(run())
    assert first + rest == [f"/{number}" for number in range(100)]


def test_a_slow_follower_loses_the_oldest_and_is_told(tmp_path: Path) -> None:
    async def run() -> list[object]:
        follower = Follower(lines_max=3)
        for number in range(10):
            follower.feed([b'{"data": {"action": "LOG", "key": "/%d"}}' % number])
        await asyncio.sleep(0)
        return await rows_of(follower, 4)

    assert asyncio.run(run()) == [7, "/7", "/8", "/9"]


def test_followers_are_bounded_and_one_that_left_makes_room(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(module, "FOLLOWERS_MAX", 1)

    async def run() -> None:
        log = Log(tmp_path)
        first, second = Follower(), Follower()
        log.file.tail(0, first)
        with pytest.raises(ClientError) as caught:
            log.file.tail(0, second)
        assert caught.value.status == 503
        log.file.unfollow(first)
        log.file.tail(0, second)
        log.file.end_follows()
        assert await rows_of(second, 1) == []
        late = Follower()
        log.file.tail(0, late)
        assert await rows_of(late, 1) == [], "after the end there is nothing to wait for"
        log.file.close(10)

    asyncio.run(run())


def test_ending_and_leaving_never_wait_for_the_disk(tmp_path: Path) -> None:
    async def run() -> None:
        log = Log(tmp_path)
        follower = Follower()
        log.file.tail(0, follower)
        with log.file._lock:  # as if a write took for ever
            log.file.put(line(1), PEER)
            log.file.unfollow(follower)
            log.file.end_follows()
        log.file.close(10)

    asyncio.run(run())


def test_closing_has_a_deadline(tmp_path: Path) -> None:
    log = Log(tmp_path)
    with log.file._lock:
        log.file.put(line(1), PEER)
        assert not log.file.close(0.1)
    assert what(log.written()) == ["/1"]
