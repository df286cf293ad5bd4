"""Caches in front of an origin, each as its user would run it: one process that serves, a log line per request, its own store.

nginx and minicdn always; Varnish and Squid where they are installed. Each is started by `start(crew, folder, origin_port)`.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scripts.benchmarks.asking import ask, wait_for
from scripts.benchmarks.loopback import HOST, free_ports, peer_url
from scripts.benchmarks.processes import Crew, Started
from scripts.benchmarks.refusal import found_program

_HEAD = """
daemon off; worker_processes {processes}; worker_rlimit_nofile 65536; {user}pid {folder}/{name}.pid; error_log {folder}/{name}.err warn;
events {{ worker_connections 20000; }}
http {{
    default_type application/octet-stream; sendfile on; tcp_nodelay on; keepalive_requests 1000000000; keepalive_timeout 75s;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
"""
_ORIGIN = """
    server {{
        listen {host}:{port} backlog=4096; access_log off; root {folder}/www; expires 1d;
        location ~ ^/any/([0-9]+)/ {{ rewrite ^/any/([0-9]+)/ /$1 break; }}
    }}
}}
"""
_CACHE = """
    log_format told escape=json '{{"at":$msec,"seconds":$request_time,"from":"$remote_addr","method":"$request_method",'
        '"uri":"$request_uri","status":$status,"body":$body_bytes_sent,"agent":"$http_user_agent","cache":"$upstream_cache_status"}}';
    proxy_cache_path {folder}/{name} levels=1:2 keys_zone=kept:256m max_size=20g inactive=1d use_temp_path=off;
    upstream origin {{ server {host}:{origin_port}; keepalive 64; }}
    server {{
        listen {host}:{port} backlog=4096 reuseport; access_log {folder}/{name}.log told;
        location / {{
            proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_cache kept; proxy_cache_lock on;
            add_header X-Cache $upstream_cache_status;
        }}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Cache:
    """A running cache. port: where it is asked. processes: those that serve."""

    name: str
    port: int
    processes: tuple[Started, ...]

    def cpu_seconds(self) -> float:
        return sum(process.cpu_seconds() for process in self.processes)


def start_origin(crew: Crew, folder: Path, sizes: list[int]) -> int:
    """nginx with a file of each size, named by it; /any/SIZE/whatever is that file, too. Returns its port."""
    (folder / "www").mkdir(exist_ok=True)
    for size in sizes:
        with (folder / "www" / str(size)).open("wb") as file:
            for at in range(0, size, 1 << 20):
                file.write(os.urandom(min(1 << 20, size - at)))
    (port,) = free_ports(1)
    _start_nginx(crew, folder, "origin", _ORIGIN, port)
    return port


def start_nginx(crew: Crew, folder: Path, origin_port: int, name: str = "nginx", *, processes: int = 1) -> Cache:
    (port,) = free_ports(1)
    return Cache("nginx", port, (_start_nginx(crew, folder, name, _CACHE, port, origin_port, processes),))


def start_minicdn(crew: Crew, folder: Path, origin_port: int, *more: str, name: str = "minicdn") -> Cache:
    """A manager that serves by itself, with its log in a file."""
    (port,) = free_ports(1)
    place = ["--host", HOST, "--port", str(port), "--cache-dir", str(folder / name), "--log", str(folder / f"{name}.jsonl")]
    words = [sys.executable, "-P", "-m", "minicdn", "manager", "--upstream", peer_url(origin_port), *place, *more]
    started = crew.start(name, words)
    wait_ready(port, started)
    return Cache("minicdn", port, (started,))


def start_varnish(crew: Crew, folder: Path, origin_port: int) -> Cache:
    (port,) = free_ports(1)
    words = [found_program("varnishd"), "-F", "-a", f"{HOST}:{port}", "-b", f"{HOST}:{origin_port}", "-s", "malloc,1g"]
    server = crew.start("varnish", [*words, "-n", str(folder / "varnish")])
    wait_ready(port, server)
    log = crew.start("varnish-log", [found_program("varnishncsa"), "-n", str(folder / "varnish"), "-w", str(folder / "varnish.log")])
    return Cache("varnish", port, (server, log))


def start_squid(crew: Crew, folder: Path, origin_port: int) -> Cache:
    (port,) = free_ports(1)
    own = folder / "squid"
    own.mkdir()
    if os.geteuid() == 0:  # Squid leaves root for a user of its own, who is to reach its files all the same
        folder.chmod(0o711)
        own.chmod(0o777)
    config = own / "squid.conf"
    config.write_text(
        f"http_port {HOST}:{port} accel defaultsite=origin\ncache_peer {HOST} parent {origin_port} 0 no-query originserver\n"
        f"http_access allow all\ncache_mem 1 GB\nmaximum_object_size_in_memory 8 MB\npid_filename {own}/pid\n"
        f"access_log stdio:{own}/log\ncache_log {own}/cache\ncoredump_dir {own}\nshutdown_lifetime 1 seconds\n"
    )
    server = crew.start("squid", [found_program("squid"), "-N", "-f", str(config)])
    wait_ready(port, server)
    return Cache("squid", port, (server,))


def installed() -> dict[str, Callable[..., Cache]]:
    """What can be measured here, minicdn first."""
    others = {"varnishd": ("varnish", start_varnish), "squid": ("squid", start_squid)}
    found: dict[str, Callable[..., Cache]] = {"minicdn": start_minicdn, "nginx": start_nginx}
    found |= {name: start for program, (name, start) in others.items() if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin")}
    return found


def wait_ready(port: int, started: Started) -> None:
    wait_for(f"{started.name} to answer", lambda: ask(HOST, port, "/_health") is not None, [started])


def _start_nginx(crew: Crew, folder: Path, name: str, rest: str, port: int, origin_port: int = 0, processes: int = 1) -> Started:
    user = "user root; " if os.geteuid() == 0 else ""
    config = folder / f"{name}.conf"
    filled = {"folder": folder, "name": name, "host": HOST, "port": port, "origin_port": origin_port, "user": user, "processes": processes}
    config.write_text((_HEAD + rest).format(**filled))
    started = crew.start(name, [found_program("nginx"), "-p", str(folder), "-e", str(folder / f"{name}.err"), "-c", str(config)])
    wait_ready(port, started)
    return started
