"""The log: one JSON line for each download, whoever served it."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.doors import KEPT
from tests.kit.asking import ask, open_answer
from tests.kit.cluster import Cluster
from tests.kit.files import MIB, bytes_of
from tests.kit.origin import whole
from tests.kit.program import Minicdn
from tests.kit.stage import Stage
from tests.kit.waiting import eventually


def lines_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def wait_line(file: Path, key: str, count: int = 1) -> list[dict[str, Any]]:
    def found() -> list[dict[str, Any]]:
        rows = [row for row in lines_of(file) if row["data"].get("key") == key]
        return rows if len(rows) >= count else []

    return eventually(found, f"{count} log line(s) of {key}")


@pytest.fixture
def cluster(stage: Stage) -> Cluster:
    origin = stage.origin()
    origin.on("/file", whole(b"content", [KEPT]))
    origin.on("/big", whole(bytes_of("big", 5 * MIB), [KEPT]))
    return stage.cluster(origin.url, peers=2)


@pytest.fixture
def log(cluster: Cluster) -> Path:
    return cluster.folder / "log.jsonl"


def test_a_line_has_the_shape_that_was_agreed(cluster: Cluster, log: Path) -> None:
    peer = cluster.peers[0]
    peer.ask("/file?a=%20", fields=[("User-Agent", "tester/1.0"), ("X-Minicdn-Data", "plain words")])
    [line] = wait_line(log, "/file?a=%20")
    assert set(line) == {"data", "peer", "timestamp"}
    assert line["peer"] == peer.url
    assert isinstance(line["timestamp"], int)
    assert abs(line["timestamp"] - time.time()) < 300
    data = line["data"]
    assert data["action"] == "LOG"
    assert data["header_data"] == "plain words"
    assert data["key"] == "/file?a=%20"
    assert data["success"] is True
    assert data["user_agent"] == "tester/1.0"
    host, port = data["remote_addr"].rsplit(":", 1)
    assert host == "127.0.0.1"
    assert int(port) > 0


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([], None),
        ([("X-Minicdn-Data", "words")], "words"),
        ([("X-Minicdn-Data", '{"build": [1, "é"]}'), ("X-Minicdn-Type", "json")], {"build": [1, "é"]}),
        ([("X-Minicdn-Data", "7"), ("X-Minicdn-Type", "json")], 7),
        ([("X-Minicdn-Data", "{broken"), ("X-Minicdn-Type", "json")], "{broken"),
        ([("X-Minicdn-Data", '{"not": "asked for"}')], '{"not": "asked for"}'),
        ([("X-Minicdn-Data", 'quotes " and \\ and é')], 'quotes " and \\ and é'),
    ],
)
def test_header_data_lands_in_the_line(stage: Stage, fields: list[tuple[str, str]], expected: object) -> None:
    origin = stage.origin()
    origin.on("/file", whole(b"content", [KEPT]))
    log = stage.folder / "log.jsonl"
    manager = stage.manager(origin.url, log=log)
    manager.ask("/file", fields=fields)
    [line] = wait_line(log, "/file")
    assert line["data"]["header_data"] == expected
    assert line["peer"] == manager.url


def test_lines_tell_status_bytes_and_source(cluster: Cluster, log: Path) -> None:
    peer = cluster.owner_of("/big")
    peer.ask("/big")
    peer.ask("/big")
    peer.ask("/big", fields=[("Range", "bytes=0-9")])
    peer.ask("/none")
    rows = [line["data"] for line in wait_line(log, "/big", 3)]
    assert [row["status"] for row in rows] == [200, 200, 206]
    assert [row["bytes"] for row in rows] == [5 * MIB, 5 * MIB, 10]
    assert [row["source"] for row in rows] == ["upstream", "disk", "disk"]
    assert all(row["duration_seconds"] >= 0 for row in rows)
    [missing] = wait_line(log, "/none")
    assert (missing["data"]["status"], missing["data"]["success"]) == (404, False)


def test_a_download_that_was_cut_is_no_success(stage: Stage) -> None:
    origin = stage.origin()
    origin.on("/big", whole(bytes_of("big", 30 * MIB), [KEPT]))
    log = stage.folder / "log.jsonl"
    manager = stage.manager(origin.url, log=log)
    with open_answer(manager.url, "/big", receive_buffer_bytes=4096) as answer:
        answer.read(10)
    [line] = wait_line(log, "/big")
    assert line["data"]["success"] is False
    assert line["data"]["bytes"] < 30 * MIB


def test_lines_wait_for_a_manager_that_is_away(cluster: Cluster, log: Path) -> None:
    peer = cluster.peers[0]
    cluster.manager.kill()
    for number in range(5):
        peer.ask(f"/away-{number}")
    cluster.restart_manager()
    for number in range(5):
        wait_line(log, f"/away-{number}")
    assert len([row for row in lines_of(log) if row["data"].get("key", "").startswith("/away-")]) == 5, "each once"


def test_a_bounded_buffer_says_how_many_it_dropped(stage: Stage) -> None:
    cluster = stage.cluster(stage.origin().url, peers=1, log_buffer="10")
    [peer] = cluster.peers
    cluster.manager.kill()
    for number in range(40):
        peer.ask(f"/dropped-{number}")
    eventually(lambda: peer.stats()["log_lines_dropped_count"] > 0, "dropped lines to be counted")
    cluster.restart_manager()
    log = cluster.folder / "log.jsonl"

    def lines_told() -> int:
        """Those that are there, and those that the log says are not."""
        return sum(row["data"]["count"] if row["data"]["action"] == "DROPPED" else 1 for row in lines_of(log))

    eventually(lambda: lines_told() == 40, "each line to be there or told as dropped", show=stage.show)
    assert any(row["data"]["action"] == "DROPPED" for row in lines_of(log))


def test_log_endpoint_streams_the_lines(cluster: Cluster, log: Path) -> None:
    for number in range(6):
        cluster.peers[number % 2].ask(f"/l{number}")
    for number in range(6):
        wait_line(log, f"/l{number}")
    answer = ask(cluster.url, "/_log")
    assert answer.status == 200
    assert [json.loads(line) for line in answer.body.splitlines()] == lines_of(log)
    limited = ask(cluster.url, "/_log?limit=2").body.splitlines()
    assert [json.loads(line) for line in limited] == lines_of(log)[-2:]
    assert ask(cluster.url, "/_log?limit=0").body == b""
    assert ask(cluster.url, "/_log?limit=many").status == 400


def read_line(connection: socket.socket, wanted: bytes) -> bytes:
    data = b""
    while wanted not in data:
        block = connection.recv(65536)
        assert block, data
        data += block
    return data


def test_follow_shows_lines_as_they_come(cluster: Cluster) -> None:
    with socket.create_connection(("127.0.0.1", cluster.manager.port), timeout=20) as following:
        following.sendall(b"GET /_log?follow=1&limit=0 HTTP/1.1\r\nHost: x\r\n\r\n")
        read_line(following, b"\r\n\r\n")
        cluster.peers[0].ask("/followed-1")
        read_line(following, b"/followed-1")
        cluster.peers[1].ask("/followed-2")
        read_line(following, b"/followed-2")


def test_a_follower_does_not_hold_the_close_up(cluster: Cluster) -> None:
    with socket.create_connection(("127.0.0.1", cluster.manager.port), timeout=20) as following:
        following.sendall(b"GET /_log?follow=1 HTTP/1.1\r\nHost: x\r\n\r\n")
        read_line(following, b"\r\n\r\n")
        cluster.manager.interrupt()
        assert cluster.manager.wait(deadline_seconds=15) == 0, cluster.manager.show()


def test_without_a_log_the_endpoint_is_404_with_a_reason(stage: Stage) -> None:
    manager = stage.manager(stage.origin().url)
    answer = manager.ask("/_log")
    assert answer.status == 404
    assert b"--log" in answer.body


def test_log_to_standard_output(stage: Stage) -> None:
    origin = stage.origin()
    origin.on("/file", whole(b"content", [KEPT]))
    manager: Minicdn = stage.manager(origin.url, log="-")
    manager.ask("/file")

    def is_there() -> bool:
        return any(json.loads(line)["data"]["key"] == "/file" for line in manager.stdout.splitlines() if line.startswith("{"))

    eventually(is_there, "the line on standard output", show=manager.show)


def test_the_file_is_rotated_by_size(stage: Stage) -> None:
    log = stage.folder / "rotated.jsonl"
    manager = stage.manager(stage.origin().url, log=log, log_size="32KiB", log_keep="2")
    for number in range(600):
        manager.ask(f"/r{number}")
    eventually(lambda: (log.parent / (log.name + ".2")).exists(), "two rotated files")
    assert not (log.parent / (log.name + ".3")).exists()
    for file in log.parent.glob(log.name + "*"):
        assert file.stat().st_size <= 64 * 1024
        lines_of(file)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_log_that_cant_be_written_delays_no_download(stage: Stage) -> None:
    origin = stage.origin()
    origin.on("/file", whole(b"content", [KEPT]))
    manager = stage.manager(origin.url, log="/dev/full")
    for _ in range(50):
        assert manager.ask("/file").body == b"content"
