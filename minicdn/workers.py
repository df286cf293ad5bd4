"""Several processes behind one port: a core is a peer (docs/adr/0009-workers.md).

The supervisor makes every worker's sockets and keeps them open: one on the public port, one on a port of the worker's own. A worker is
this program, started again with the same words; what it is, it learns from an environment variable. Between the two is a socket: the
worker says when it is ready, and learns by its end that nobody supervises it any more.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from minicdn.core.nodeurl import node_url
from minicdn.errors import UsageError
from minicdn.listener import open_listener, open_shared

if TYPE_CHECKING:
    from minicdn.closing import Closing
    from minicdn.settings import Settings

WORKER_ENV = "MINICDN_WORKER_OF"
READY = b"r"
WORKERS_MAX = 256


@dataclass(frozen=True, slots=True)
class Place:
    """What one worker is given. sockets: its own, then the public one."""

    index: int
    count: int
    sockets: tuple[socket.socket, socket.socket]
    tie: socket.socket

    def tell_ready(self) -> None:
        """A supervisor that is gone has been noticed elsewhere."""
        with suppress(OSError):
            self.tie.send(READY)

    def to_text(self) -> str:
        return json.dumps([self.index, self.count, *(each.fileno() for each in (*self.sockets, self.tie))])


def worker_place() -> Place | None:
    """None where this process is no worker."""
    text = os.environ.pop(WORKER_ENV, None)
    if text is None:
        return None
    index, count, *descriptors = json.loads(text)
    own, public, tie = (socket.socket(fileno=descriptor) for descriptor in descriptors)
    for each in (own, public, tie):
        each.set_inheritable(False)
    return Place(index, count, (own, public), tie)


def count_workers(wanted: int) -> int:
    """0: as many as there are cores for this process."""
    if wanted > WORKERS_MAX:
        raise UsageError(f"--workers {wanted}: at most {WORKERS_MAX}")
    if wanted == 1:
        return 1
    if os.name != "posix" or not hasattr(socket, "SO_REUSEPORT"):
        raise UsageError("--workers: this system can't share a port between processes; start several peers instead, each with a --port")
    if wanted:
        return wanted
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def open_sockets(settings: Settings, count: int, *, may_take_next: bool) -> list[tuple[socket.socket, socket.socket]]:
    """Each worker's own and its share of the public port, all listening."""
    first = open_listener(settings.host, settings.port, may_take_next=may_take_next)
    port = first.getsockname()[1]
    first.close()  # nobody else listens there: now it may be shared
    public = [open_shared(settings.host, port) for _ in range(count)]
    own, following = [], port + 1
    for _ in range(count):
        own.append(open_listener(settings.host, following if following < 65536 else 0, may_take_next=True))
        following = own[-1].getsockname()[1] + 1
    return list(zip(own, public, strict=True))


def worker_settings(settings: Settings, place: Place) -> Settings:
    """This worker's share of everything. settings: of all; the cache folder is known."""
    assert settings.cache_dir is not None
    port, count = place.sockets[0].getsockname()[1], place.count
    return replace(
        settings,
        port=port,
        advertise=_own_address(settings.advertise, port),
        cache_dir=settings.cache_dir / f"worker-{place.index}",
        memory_bytes=max(1, settings.memory_bytes // count),
        disk_bytes=settings.disk_bytes // count,
        up_bytes_per_second=_part(settings.up_bytes_per_second, count),
        down_bytes_per_second=_part(settings.down_bytes_per_second, count),
        connections_max=_part(settings.connections_max, count),
        upstream_connections_max=max(1, settings.upstream_connections_max // count),
        peer_connections_max=max(1, settings.peer_connections_max // count),
        log_lines_buffered_max=max(1, settings.log_lines_buffered_max // count),
    )


def _part(rate: int, count: int) -> int:
    """0 is no cap, and stays so."""
    return max(1, rate // count) if rate else 0


def _own_address(advertise: str | None, port: int) -> str | None:
    """The advertised host, and the worker's own port."""
    if advertise is None:
        return None
    parts = urlsplit(advertise)
    return node_url(parts.scheme, parts.hostname or "", port)


def watch_supervisor(tie: socket.socket, closing: Closing) -> None:
    """When it is gone, this worker closes warm."""

    def watch() -> None:
        while tie.recv(1):
            pass
        closing.take(signal.SIGHUP)  # which never means cold

    threading.Thread(target=watch, name="supervisor", daemon=True).start()


def command() -> list[str]:
    """This program once more."""
    return [sys.executable, *sys.argv[1:]] if getattr(sys, "frozen", False) else [sys.executable, "-P", "-m", "minicdn", *sys.argv[1:]]
