"""A worker's share, and what is refused."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from minicdn import workers
from minicdn.errors import UsageError
from minicdn.settings import Settings
from minicdn.workers import Place, count_workers, worker_place, worker_settings


def _place(count: int = 4) -> Place:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    tie, _ = socket.socketpair()
    return Place(2, count, (listeners[0], listeners[1]), tie)


def test_a_share_of_everything_that_has_a_bound() -> None:
    place = _place()
    all_of_it = Settings(role="peer", cache_dir=Path("/cache"), memory_bytes=400, disk_bytes=40, up_bytes_per_second=8,
                         upstream_connections_max=2, advertise="https://cdn.example:443")  # fmt: skip
    mine = worker_settings(all_of_it, place)
    assert (mine.memory_bytes, mine.disk_bytes, mine.up_bytes_per_second, mine.down_bytes_per_second) == (100, 10, 2, 0)
    assert mine.upstream_connections_max == 1 and mine.cache_dir == Path("/cache/worker-2")
    assert mine.port == place.sockets[0].getsockname()[1] and mine.advertise == f"https://cdn.example:{mine.port}"


def test_what_it_is_given_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    place = _place()
    copies = [socket.socket(fileno=os.dup(each.fileno())) for each in (*place.sockets, place.tie)]
    given = Place(2, 4, (copies[0], copies[1]), copies[2])
    monkeypatch.setenv(workers.WORKER_ENV, given.to_text())
    for each in copies:
        each.detach()
    found = worker_place()
    assert found is not None and (found.index, found.count) == (2, 4)
    assert [each.getsockname() for each in found.sockets] == [each.getsockname() for each in place.sockets]
    assert worker_place() is None, "those that it starts itself are no workers"


def test_how_many() -> None:
    assert count_workers(1) == 1 and count_workers(3) == 3 and count_workers(0) >= 1
    with pytest.raises(UsageError):
        count_workers(10_000)


def test_a_system_that_can_not_share_a_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "SO_REUSEPORT")
    assert count_workers(1) == 1
    with pytest.raises(UsageError, match="can't share a port"):
        count_workers(2)
