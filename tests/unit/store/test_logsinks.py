from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from minicdn.errors import OperatorError
from minicdn.store import logsinks
from minicdn.store.logsinks import RotatingFile, Stream, open_sink

posix_only = pytest.mark.skipif(os.name == "nt", reason="POSIX files and pipes")


def lines(*numbers: int) -> list[bytes]:
    return [b"line %d\n" % number for number in numbers]


def sink_of(path: Path, *, file_bytes: int = 1 << 20, files_kept: int = 3) -> RotatingFile:
    return RotatingFile(path, file_bytes=file_bytes, files_kept=files_kept)


def tail(sink: RotatingFile | Stream, count: int) -> list[bytes]:
    found = sink.tail(count)
    data = b"".join(found)
    found.close()
    return data.splitlines(keepends=True)


def test_lines_are_appended_to_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"before\n")
    sink = sink_of(path)
    assert sink.write(lines(1, 2)) == 2
    assert path.read_bytes() == b"before\nline 1\nline 2\n"


def test_a_half_line_left_by_a_crash_is_ended(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b'{"data": {"act')
    sink_of(path).write(lines(1))
    assert path.read_bytes() == b'{"data": {"act\nline 1\n'


def test_the_file_is_rotated_by_size_and_the_oldest_goes(tmp_path: Path) -> None:
    sink = sink_of(tmp_path / "log", file_bytes=14, files_kept=2)
    for number in range(1, 10):
        sink.write(lines(number))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.1", "log.2"]
    assert (tmp_path / "log").read_bytes() == b"line 9\n"
    assert (tmp_path / "log.1").read_bytes() == b"line 7\nline 8\n"
    assert (tmp_path / "log.2").read_bytes() == b"line 5\nline 6\n"


def test_without_old_files_to_keep_the_space_is_given_back(tmp_path: Path) -> None:
    sink = sink_of(tmp_path / "log", file_bytes=14, files_kept=0)
    for number in range(1, 6):
        sink.write(lines(number))
    assert [path.name for path in tmp_path.iterdir()] == ["log"]
    assert (tmp_path / "log").read_bytes() == b"line 5\n"


def test_a_large_batch_is_rotated_in_its_middle(tmp_path: Path) -> None:
    sink = sink_of(tmp_path / "log", file_bytes=100_000, files_kept=9)
    batch = [b"x" * 999 + b"\n"] * 500
    assert sink.write(batch) == 500
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert max(sizes) < 100_000 + logsinks.BLOCK_BYTES + 1000
    assert sum(sizes) == 500_000


@pytest.mark.parametrize("count", [0, 1, 3, 7, 8, 9, 20, 21, 1000])
def test_the_tail_looks_into_rotated_files_as_far_as_needed(tmp_path: Path, count: int) -> None:
    sink = sink_of(tmp_path / "log", file_bytes=49, files_kept=3)
    sink.write([])
    for number in range(1, 22):
        sink.write(lines(number))
    written = lines(*range(1, 22))
    assert tail(sink, count) == written[max(0, len(written) - count) :]


def test_the_tail_of_a_large_file_is_exact_across_blocks_and_never_all_in_memory(tmp_path: Path) -> None:
    written = [b"%06d" % number + b"x" * (number % 300) + b"\n" for number in range(5000)]
    sink = sink_of(tmp_path / "log", file_bytes=1 << 30)
    sink.write(written)
    for count in (1, 399, 400, 401, 4999, 5000):
        assert tail(sink, count) == written[-count:]
    found = sink.tail(5000)
    assert max(len(block) for block in found) <= logsinks.BLOCK_BYTES


def test_a_tail_stands_still_while_lines_come_and_files_rotate(tmp_path: Path) -> None:
    sink = sink_of(tmp_path / "log", file_bytes=20, files_kept=1)
    sink.write(lines(1, 2))
    found = sink.tail(10)
    if os.name == "posix":
        for number in range(3, 30):
            sink.write(lines(number))
    assert b"".join(found) == b"line 1\nline 2\n"
    found.close()


def test_a_tail_that_nobody_read_gives_its_files_back(tmp_path: Path) -> None:
    sink = sink_of(tmp_path / "log")
    sink.write(lines(1))
    found = sink.tail(1)
    fds = list(found._fds)
    found.close()
    found.close()
    for fd in fds:
        with pytest.raises(OSError):
            os.fstat(fd)


@posix_only
@pytest.mark.parametrize("take_away", [lambda path: path.unlink(), lambda path: path.rename(path.with_name("moved"))])
def test_a_file_taken_away_by_somebody_else_is_opened_anew(tmp_path: Path, take_away) -> None:
    sink = sink_of(tmp_path / "log")
    sink.write(lines(1))
    take_away(tmp_path / "log")
    sink.write(lines(2))
    assert (tmp_path / "log").read_bytes() == b"line 2\n"


def test_a_full_disk_leaves_whole_lines_and_is_survived(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "log"
    sink = sink_of(path)
    sink.write(lines(1))
    write = os.write
    room = [4]

    def writes_some(fd: int, data) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        done = write(fd, data[: room[0]])
        room[0] -= done
        return done

    monkeypatch.setattr(logsinks.os, "write", writes_some)
    assert sink.write(lines(2)) == 0
    assert sink.error is not None and sink.error.errno == errno.ENOSPC
    assert path.read_bytes() == b"line 1\n"
    monkeypatch.undo()
    assert sink.write(lines(3)) == 1
    assert sink.error is None
    assert path.read_bytes() == b"line 1\nline 3\n"


@pytest.mark.parametrize("name", ["", "missing/log"])
def test_a_file_that_cannot_be_opened_is_for_the_operator(tmp_path: Path, name: str) -> None:
    with pytest.raises(OperatorError) as caught:
        open_sink(str(tmp_path / name), file_bytes=1, files_kept=1)
    assert "--log" in str(caught.value)
    assert "\n" not in str(caught.value)


@posix_only
def test_a_named_pipe_without_a_reader_is_for_the_operator(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OperatorError):
        open_sink(str(tmp_path / "pipe"), file_bytes=1, files_kept=1)


@posix_only
def test_a_device_is_never_renamed(tmp_path: Path) -> None:
    sink = open_sink("/dev/null", file_bytes=1, files_kept=3)
    assert isinstance(sink, Stream)
    sink.write(lines(1, 2))
    sink.write_through()
    assert tail(sink, 1) == lines(2)
    sink.close()


@posix_only
def test_a_stream_passes_lines_on_and_keeps_the_latest_for_those_who_ask() -> None:
    reader, writer = os.pipe()
    sink = Stream(writer)
    sink.write(lines(1, 2, 3))
    sink.write_through()
    assert os.read(reader, 1000) == b"line 1\nline 2\nline 3\n"
    assert tail(sink, 2) == lines(2, 3)
    assert tail(sink, 0) == []
    assert tail(sink, 9) == lines(1, 2, 3)
    os.close(reader)


@posix_only
def test_a_broken_pipe_ends_the_stream_and_nothing_else() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    sink = Stream(writer)
    sink.write(lines(1))
    sink.write_through()
    assert isinstance(sink.error, BrokenPipeError)
    sink.write(lines(2))
    sink.write_through()
    assert tail(sink, 5) == lines(1, 2)


def test_the_ring_of_a_stream_is_bounded_in_lines_and_bytes(monkeypatch) -> None:
    monkeypatch.setattr(logsinks, "RING_LINES_MAX", 3)
    sink = Stream(sys.stdout.fileno() if os.name == "nt" else os.open(os.devnull, os.O_WRONLY))
    sink.write(lines(1, 2, 3, 4, 5))
    assert tail(sink, 9) == lines(3, 4, 5)
    monkeypatch.setattr(logsinks, "RING_BYTES_MAX", 14)
    sink.write(lines(6))
    assert tail(sink, 9) == lines(5, 6)
