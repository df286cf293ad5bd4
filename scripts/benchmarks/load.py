"""Load on a server: wrk where many alike requests do, and plain sockets where wrk can't (HEAD, a list of targets, whole streams).

What the load costs is of no interest, only what it makes the server spend; so bodies are thrown away unread where the kernel can do that.
"""

from __future__ import annotations

import re
import select
import socket
import subprocess
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

from scripts.benchmarks.asking import RunFailed
from scripts.benchmarks.loopback import HOST
from scripts.benchmarks.refusal import found_program

CONNECTIONS = 32
_BLOCK = 1 << 18
_DISCARD = getattr(socket, "MSG_TRUNC", 0)
"""TCP throws away what is received so (Linux)."""


def run_wrk(
    port: int, target: str, seconds: float, *, connections: int = CONNECTIONS, lua: str = "", folder: Path | None = None
) -> dict[str, float]:
    """requests_count, and latencies p50 and p99 in seconds. RunFailed where there were errors."""
    words = [found_program("wrk"), "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency"]
    if lua:
        assert folder is not None
        (folder / "load.lua").write_text(lua)
        words += ["-s", str(folder / "load.lua")]
    said = subprocess.run([*words, f"http://{HOST}:{port}{target}"], capture_output=True, text=True, check=True).stdout
    for sign in ("Socket errors", "Non-2xx"):
        if sign in said:
            raise RunFailed(next(line.strip() for line in said.splitlines() if sign in line))
    found = re.search(r"(\d+) requests in", said)
    assert found is not None
    return {"requests_count": float(found[1]), "p50": _latency(said, 50), "p99": _latency(said, 99)}


def _latency(said: str, percentile: int) -> float:
    found = re.search(rf"^ +{percentile}% +([0-9.]+)(us|ms|s)$", said, re.MULTILINE)
    assert found is not None
    return float(found[1]) * {"us": 1e-6, "ms": 1e-3, "s": 1.0}[found[2]]


def request(target: str, method: str = "GET", *fields: str) -> bytes:
    """As wrk writes it."""
    return "".join(f"{line}\r\n" for line in (f"{method} {target} HTTP/1.1", f"Host: {HOST}", *fields, "")).encode()


def ask_all(port: int, requests: Iterable[bytes], *, connections: int = CONNECTIONS, is_bodiless: bool = False) -> int:
    """Each request once, on kept connections, so many at a time; how many there were. RunFailed where an answer is no success."""
    sockets = connected(port, connections)
    count, left = 0, iter(requests)
    try:
        while batch := list(islice(left, connections)):
            for sock, text in zip(sockets, batch, strict=False):
                sock.sendall(text)
            for sock in sockets[: len(batch)]:
                read_answer(sock, is_bodiless=is_bodiless)
            count += len(batch)
    finally:
        close_all(sockets)
    return count


def read_answer(sock: socket.socket, *, is_bodiless: bool = False) -> bytes:
    """The head of one answer; its body is thrown away."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = sock.recv(_BLOCK)
        if not chunk:
            raise RunFailed("the connection ended before an answer's head")
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    if head[9:12] not in (b"200", b"206", b"304"):
        raise RunFailed(head.partition(b"\r\n")[0].decode("latin-1"))
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    if not is_bodiless and head[9:12] != b"304":
        if length is None:
            raise RunFailed("an answer without a length")
        _discard(sock, int(length[1]) - len(body))
    return head


def _discard(sock: socket.socket, left: int) -> None:
    buffer = bytearray(min(left, _BLOCK))
    while left > 0:
        size = sock.recv_into(buffer, min(left, len(buffer)))
        if not size:
            raise RunFailed("the connection ended before an answer's end")
        left -= size


def stream_all(port: int, target: str, streams: int, bytes_max: int) -> int:
    """So many downloads at once, until that many bytes have come, or all there are; returns the bytes."""
    sockets = connected(port, streams)
    received, buffer = 0, bytearray(1 << 22)
    try:
        for sock in sockets:
            sock.sendall(request(target, "GET", "Connection: close"))
        running = {sock.fileno(): sock for sock in sockets}
        poll = select.poll()
        for descriptor in running:
            poll.register(descriptor, select.POLLIN)
        while running and received < bytes_max:
            for descriptor, _ in poll.poll(30_000) or _stuck():
                size = running[descriptor].recv_into(buffer, len(buffer), _DISCARD)
                received += size
                if not size:
                    poll.unregister(descriptor)
                    del running[descriptor]
    finally:
        close_all(sockets)
    return received


def _stuck() -> Sequence[tuple[int, int]]:
    raise RunFailed("no byte came for 30 s")


def connected(port: int, count: int) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    try:
        for _ in range(count):
            sockets.append(socket.create_connection((HOST, port), timeout=60))
    except OSError:
        close_all(sockets)
        raise
    return sockets


def close_all(sockets: Iterable[socket.socket]) -> None:
    for sock in sockets:
        sock.close()
