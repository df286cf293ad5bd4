"""The origin: a real nginx with one file of random bytes, whose access log counts every byte that it sends."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.benchmarks.refusal import found_program

_BLOCK = 1 << 20

# sndbuf: what lies in the socket's buffer counts as sent in the log, though it never leaves when an answer is left unread.
_CONFIG = """
daemon off; worker_processes 1; {user}pid {folder}/nginx.pid; error_log {folder}/nginx-error.log warn;
events {{ worker_connections 4096; }}
http {{
    default_type application/octet-stream; sendfile on; tcp_nodelay on; keepalive_requests 1000000; etag on;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    log_format told escape=json '{{"at":$msec,"seconds":$request_time,"from":"$remote_addr","method":"$request_method",'
        '"uri":"$request_uri","status":$status,"sent":$bytes_sent,"body":$body_bytes_sent,"range":"$http_range"}}';
    server {{ listen {address}:{port} backlog=1024 sndbuf=400k; access_log {folder}/access.log told; root {root}; }}
}}
"""


@dataclass(frozen=True, slots=True)
class File:
    path: Path
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Sent:
    """What the origin sent, by its log."""

    requests: int
    bytes: int
    body_bytes: int


def make_file(folder: Path, size_bytes: int, name: str = "file.bin") -> File:
    """Random bytes, so that nothing can be saved by compressing them."""
    folder.mkdir(parents=True, exist_ok=True)
    digest, left = hashlib.sha256(), size_bytes
    with (folder / name).open("wb") as file:
        while left:
            block = os.urandom(min(_BLOCK, left))
            digest.update(block)
            left -= file.write(block)
    return File(folder / name, size_bytes, digest.hexdigest())


def digest_of(path: Path) -> str:
    """The sha256 of a file; empty where there is none."""
    if not path.exists():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def nginx_command(folder: Path, root: Path, address: str, port: int) -> list[str]:
    """Write its configuration into the folder, and how to start it."""
    user = "user root; " if os.geteuid() == 0 else ""
    config = folder / "nginx.conf"
    config.write_text(_CONFIG.format(folder=folder, root=root, address=address, port=port, user=user))
    (folder / "access.log").touch()
    return [found_program("nginx"), "-p", str(folder), "-e", str(folder / "nginx-error.log"), "-c", str(config)]


GRACEFUL = signal.SIGQUIT
"""nginx ends when its requests have, and a request is logged when it ends: so it is stopped before the log is read."""


def read_log(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "access.log").read_text().splitlines()]


def summed(rows: Sequence[dict]) -> Sent:
    return Sent(len(rows), sum(row["sent"] for row in rows), sum(row["body"] for row in rows))
