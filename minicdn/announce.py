"""The lines that a start prints, once the socket accepts. Scripts and tests wait for the first of them."""

from __future__ import annotations

from minicdn import __version__
from minicdn.settings import Settings
from minicdn.values import format_size
from minicdn.wire.address import own_url
from minicdn.wire.tls import file_fingerprint


def start_lines(settings: Settings) -> list[str]:
    url = own_url(settings.host, settings.port, settings.advertise, has_tls=settings.tls_cert is not None)
    lines = [f"minicdn {__version__} {settings.role} at {url}"]
    if settings.role == "manager":
        return lines + _manager_lines(settings, url)
    return [
        *lines,
        f"  manager  {settings.manager}",
        *_budget_lines(settings),
        *_open_lines(settings),
        "Ctrl-C leaves the list, finishes running downloads and exits; Ctrl-C again stops at once.",
    ]


def _manager_lines(settings: Settings, url: str) -> list[str]:
    log = [f"  log      {'standard output' if settings.log == '-' else settings.log}"] if settings.log else []
    return [
        f"  upstream {settings.upstream}",
        *_budget_lines(settings),
        *log,
        "Each colleague who helps types:",
        f"  minicdn peer --manager {url}{''.join(_join_words(settings))}",
        *_join_notes(settings),
        *_reach_lines(settings, url),
        *_open_lines(settings),
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


def _join_words(settings: Settings) -> list[str]:
    """What a peer must be given besides the manager's URL; the token itself is never shown."""
    found = []
    if settings.tls_cert is not None:
        found.append(f" --fingerprint {file_fingerprint(settings.tls_cert)} --tls-cert CERT --tls-key KEY")
    if settings.token is not None:
        found.append(" --token-file FILE")
    return found


def _join_notes(settings: Settings) -> list[str]:
    found = []
    if settings.token is not None:
        found.append("FILE holds this cluster's token")
    if settings.tls_cert is not None:
        found.append("minicdn cert makes CERT and KEY")
    return [f"  ({'; '.join(found)})"] if found else []


def _open_lines(settings: Settings) -> list[str]:
    """Loud: what is open to all, since there is no token."""
    if settings.token is not None:
        return []
    if settings.role == "manager":
        return ["WITHOUT A TOKEN whoever reaches this port can join as a peer, give clients any bytes, and purge; see --token-file"]
    return ["WITHOUT A TOKEN whoever reaches this port can purge, and speak as a peer; see --token-file"]
