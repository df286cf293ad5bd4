"""The lines that a start prints, once the socket accepts. Scripts and tests wait for the first of them."""

from __future__ import annotations

from minicdn import __version__
from minicdn.settings import Settings
from minicdn.values import format_size
from minicdn.wire.address import own_url


def start_lines(settings: Settings) -> list[str]:
    url = own_url(settings.host, settings.port, settings.advertise)
    lines = [f"minicdn {__version__} {settings.role} at {url}"]
    if settings.role == "manager":
        return lines + _manager_lines(settings, url)
    return [
        *lines,
        f"  manager  {settings.manager}",
        *_budget_lines(settings),
        "Ctrl-C leaves the list, finishes running downloads and exits; Ctrl-C again stops at once.",
    ]


def _manager_lines(settings: Settings, url: str) -> list[str]:
    log = [f"  log      {'standard output' if settings.log == '-' else settings.log}"] if settings.log else []
    return [
        f"  upstream {settings.upstream}",
        *_budget_lines(settings),
        *log,
        "Each colleague who helps types:",
        f"  minicdn peer --manager {url}",
        *_reach_lines(settings, url),
        "Ctrl-C finishes running downloads and exits; Ctrl-C again stops at once.",
    ]


def _budget_lines(settings: Settings) -> list[str]:
    small = f", for files up to {format_size(settings.small_bytes)}" if settings.role == "manager" else ""
    return [
        f"  memory   {format_size(settings.memory_bytes)}{small}",
        f"  disk     {format_size(settings.disk_bytes)} in {settings.cache_dir}",
    ]


def _reach_lines(settings: Settings, url: str) -> list[str]:
    if settings.advertise is None and (settings.host.startswith("127.") or settings.host in ("localhost", "::1")):
        return ["  (on this machine only: without --host others can reach it)"]
    return []
