"""A real nginx as the upstream: a folder served over HTTP, with an access log that tests can count in.

One process in the foreground, everything it writes inside its own folder. nginx can't say which port it got, so the port is
picked first, and a lost race for it is tried again.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

from tests.kit.ports import can_connect, free_port
from tests.kit.process import Process
from tests.kit.waiting import eventually

# sndbuf: what lies in a socket's buffer counts as sent in the log, though it never leaves when an answer is left unread.
_CONFIG = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log notice;
events {{ worker_connections 2048; }}
http {{
    types {{ text/plain txt; text/html html; application/octet-stream bin whl deb; }}
    default_type application/octet-stream;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    large_client_header_buffers 8 64k;
    keepalive_requests 1000000;
    log_format told escape=json '{{"method":"$request_method","target":"$request_uri","line":"$request","status":"$status",'
        '"bytes":"$body_bytes_sent","range":"$http_range","if_none_match":"$http_if_none_match",'
        '"if_modified_since":"$http_if_modified_since","via":"$http_via","agent":"$http_user_agent"}}';
    server {{
        listen 127.0.0.1:{port} backlog=1024 sndbuf=64k;
        access_log {folder}/access.log told;
        root {root};
        autoindex on;
        {rate}
        {extra}
    }}
    server {{ listen 127.0.0.1:{look_port}; access_log off; location / {{ stub_status; }} }}
}}
"""


@dataclass(frozen=True, slots=True)
class Logged:
    """One request as the upstream saw it; `bytes` of the body that it sent."""

    method: str
    target: str
    status: int
    bytes: int
    range: str
    if_none_match: str
    if_modified_since: str
    via: str
    agent: str


def has_nginx() -> bool:
    return nginx_command() is not None


def nginx_command() -> str | None:
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/bin")


class Nginx:
    """`root` is the folder it serves. `rate_bytes` is a cap per connection; `extra` goes into the server block."""

    def __init__(self, folder: Path, *, rate_bytes: int | None = None, extra: str = "") -> None:
        self.folder, self._rate_bytes, self._extra = folder, rate_bytes, extra
        self.root = folder / "www"
        self.root.mkdir(parents=True, exist_ok=True)
        (folder / "access.log").touch()
        self.port = 0
        self._process: Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Nginx:
        for _ in range(5):
            self.port = self.port or free_port()
            if self._try_start():
                return self
            self.port = 0
        raise AssertionError(f"nginx did not start\n{self.show()}")

    def _try_start(self) -> bool:
        command = nginx_command()
        assert command, "nginx is not installed"
        self._look_port = free_port()
        rate = f"limit_rate {self._rate_bytes};" if self._rate_bytes else ""
        config = self.folder / "nginx.conf"
        config.write_text(
            _CONFIG.format(folder=self.folder, port=self.port, look_port=self._look_port, root=self.root, rate=rate, extra=self._extra)
        )
        started = Process("nginx", [command, "-p", self.folder, "-e", self.folder / "error.log", "-c", config], self.folder)
        self._process = started
        eventually(lambda: can_connect(self._look_port) or not started.is_running(), "nginx to listen", show=self.show)
        return started.is_running() and can_connect(self.port)

    def stop(self) -> None:
        """End it (by kill: it holds nothing of worth); `start` brings it back on the same port."""
        if self._process:
            self._process.kill()
            self._process = None

    def __enter__(self) -> Nginx:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def show(self) -> str:
        log = self.folder / "error.log"
        said = log.read_text("utf-8", "replace")[-2000:] if log.exists() else ""
        return (self._process.show() if self._process else "nginx is not running") + "\n" + said

    def put(self, path: str, content: bytes) -> str:
        """Place a file under the root and return its URL path."""
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        return "/" + path.lstrip("/")

    def log(self, target: str | None = None) -> list[Logged]:
        """All requests that have ended, or those whose target (path and query as they came) is the given one."""
        rows = []
        for line in (self.folder / "access.log").read_bytes().decode("utf-8", "surrogateescape").splitlines():
            row = json.loads(line)
            row.pop("line")
            rows.append(Logged(**{**row, "status": int(row["status"]), "bytes": int(row["bytes"])}))
        return [row for row in rows if target is None or row.target == target]

    def settled_log(self, target: str | None = None) -> list[Logged]:
        """The log once no request is under way: nginx writes a line when the request ends, so an earlier look misses some."""
        eventually(self._is_idle, "nginx to have no request under way", show=self.show)
        return self.log(target)

    def _is_idle(self) -> bool:
        with urlopen(f"http://127.0.0.1:{self._look_port}/", timeout=5) as answer:
            words = answer.read().split()
        return words[words.index(b"Writing:") + 1] == b"1"  # the look itself

    def bytes_sent(self, target: str | None = None) -> int:
        return sum(row.bytes for row in self.settled_log(target))

    def forget(self) -> None:
        """Empty the log."""
        eventually(self._is_idle, "nginx to have no request under way", show=self.show)
        with (self.folder / "access.log").open("r+b") as file:
            file.truncate(0)
