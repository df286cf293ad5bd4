"""This machine, for a node that is to run on it: what facts mean. Pure: facts in, findings out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit
from urllib.request import proxy_bypass_environment

from minicdn.core.nodeurl import is_loopback_url
from minicdn.core.shedding import places_of
from minicdn.doctor.cluster import Health
from minicdn.doctor.finding import Finding, fail, ok, plain, warn
from minicdn.settings import MIB, Settings

PROCESS_BYTES = 150 * MIB
"""What a node may take beyond its memory budget."""
PLACES_FEW = 256
FULL_BYTES = 64 * MIB
IN_MEMORY = ("tmpfs", "ramfs")
ON_NETWORK = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "9p", "afpfs", "webdav")
PROXIES = ("http_proxy", "https_proxy", "all_proxy")


@dataclass(frozen=True, slots=True)
class Folder:
    """A cache folder as it was met. trouble: why nothing can be written there. is_held: a node uses it. Bytes: None where not known;
    used: by the cache itself. kind: of the file system, empty where not known."""

    path: str
    trouble: str | None = None
    is_held: bool = False
    free_bytes: int | None = None
    used_bytes: int | None = None
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Port:
    """trouble: why nobody can listen there, in words; is_taken: since somebody does. That one: health, where it is a minicdn; server: what
    it says it is; is_mute: it says nothing, or nothing that is HTTP."""

    trouble: str | None = None
    is_taken: bool = False
    health: Health | None = None
    server: str = ""
    is_mute: bool = False


def python(version: str, own_version: str, packages: Mapping[str, str | None], wanted: Mapping[str, str], *, is_windows: bool) -> Finding:
    """packages: versions by name, None where one is missing. wanted: at least these."""
    check = "python"
    old = [
        f"{name} {have}, needed {wanted[name]}"
        for name, have in packages.items()
        if have and name in wanted and is_older(have, wanted[name])
    ]
    seen = f"Python {version}, minicdn {own_version}"
    if old:
        return fail(
            check,
            f"{seen}; too old: {', '.join(old)}",
            "install minicdn anew, in an environment of its own: pipx install, or ./scripts/minicdn from a clone",
        )
    fast = {name: packages.get(name) for name in ("httptools", "uvloop")}
    missing = [name for name, have in fast.items() if have is None and not (name == "uvloop" and is_windows)]
    if missing:
        return warn(
            check,
            f"{seen}, without {' and '.join(missing)}",
            "it works, only slower; install them where the platform has them: pip install " + " ".join(missing),
        )
    return ok(check, ", ".join([seen, *(f"{name} {have}" for name, have in fast.items() if have)]))


def is_older(have: str, wanted: str) -> bool:
    return _numbers(have) < _numbers(wanted)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:3])


def files(limit: int | None, settings: Settings) -> Finding:
    check = "open files"
    places = places_of(settings.connections_max, limit, settings.upstream_connections_max + settings.peer_connections_max)
    seen = f"{'no limit' if limit is None else f'{limit} at most'}, so {places} connections at a time"
    advice = f"raise the limit of open files before the start: ulimit -n {max(65536, 4 * settings.connections_max)}"
    if settings.connections_max > places:
        return warn(check, f"{seen}, though --max-connections says {settings.connections_max}", advice)
    if places < PLACES_FEW and not settings.connections_max:
        return warn(check, seen, advice)
    return ok(check, seen)


def memory(room: tuple[int, int] | None, settings: Settings) -> Finding:
    """room: free and total bytes; None: not known."""
    check = "memory"
    wanted = settings.memory_bytes + PROCESS_BYTES
    budget = f"--memory {size(settings.memory_bytes)}"
    if room is None:
        return ok(check, f"{budget}; what this machine has is not known")
    free, total = room
    seen = f"{budget}, {size(free)} free of {size(total)}"
    if wanted > total:
        return fail(check, f"{seen}; the node needs up to {size(wanted)}", f"lower --memory, to {size(max(total // 4, 16 * MIB))} perhaps")
    if wanted > free:
        return warn(check, f"{seen}; the node needs up to {size(wanted)}", "close other programs, or lower --memory")
    return ok(check, seen)


def address(settings: Settings, url: str, others: Sequence[str], *, is_guessed: bool) -> Finding:
    """url: what a start would print. others: further addresses of this machine. is_guessed: nobody said which."""
    check = "address"
    if settings.advertise is None and settings.host not in ("", "0.0.0.0", "::") and is_loopback_url(url):
        return warn(
            check,
            f"{url} (--host {settings.host}): only programs on this machine reach it",
            "leave --host out, or give --advertise if something forwards to it",
        )
    if is_loopback_url(url):
        if is_guessed:
            return warn(
                check,
                f"{url}: this machine seems to be in no network",
                "connect it, or give --advertise with the address by which others reach it",
            )
        return warn(
            check,
            f"{url} (--advertise) is each machine's own address: others find nobody there",
            "give --advertise the address by which others reach this machine",
        )
    more = f"; it has {', '.join(others[:4])}, too: --advertise if that is the network of the others" if others and is_guessed else ""
    return ok(check, f"a {settings.role} started here would be known as {url}{more}")


def port(found: Port, settings: Settings, *, may_take_next: bool) -> Finding:
    """may_take_next: a peer whose port nobody chose takes the next free one."""
    check = f"port {settings.port}"
    if not found.is_taken:
        if found.trouble is not None:
            return fail(check, found.trouble, f"change --host or --port of the {settings.role}")
        return ok(check, f"free for a {settings.role}" if settings.port else "the system will choose a free one")
    health = found.health
    if health is not None:
        who = f"a minicdn {health.role} ({health.version}, {health.state}) runs there"
        if health.role == settings.role:
            return ok(check, who)
        if may_take_next:
            return ok(check, f"{who}; a peer would take the next free port")
        return fail(check, f"{who}, where a {settings.role} was to be", "stop it, or choose another --port")
    named = f" ({found.server})" if found.server else ""
    who = (
        "a program that does not answer listens there: frozen, or no HTTP server"
        if found.is_mute
        else f"another program{named} listens there"
    )
    if may_take_next:
        return ok(check, f"{who}; a peer would take the next free port")
    return fail(check, who, f"stop that program, or choose another --port for the {settings.role}")


def folder(found: Folder, settings: Settings, *, runs_here: bool) -> Finding:
    """runs_here: a node of this role is on the port, so it is that node's folder."""
    check = "cache folder"
    if found.trouble is not None:
        return fail(
            check,
            f"{found.path} can't be written: {found.trouble}",
            "choose another with --cache-dir, or have its owner give you the right to write there",
        )
    if found.is_held and not runs_here:
        return fail(check, f"{found.path} is in use by another minicdn", "stop that one, or choose another with --cache-dir")
    if not settings.disk_bytes:
        return ok(check, f"{found.path}; nothing is kept there (--disk 0)")
    budget = f"--disk {size(settings.disk_bytes)}"
    if found.free_bytes is None:
        return ok(check, f"{found.path}, {budget}")
    used = found.used_bytes or 0
    seen = f"{found.path}, {budget}, {size(found.free_bytes)} free" + (f" and {size(used)} used by the cache" if used else "")
    room = found.free_bytes + used
    if room < FULL_BYTES:
        return fail(
            check, f"{seen}: the disk is full", "make room on that disk, or choose another with --cache-dir; large files would not be kept"
        )
    if found.kind in IN_MEMORY:
        return warn(
            check,
            f"{seen}; it is in memory ({found.kind}), not on a disk",
            "choose a folder on a disk with --cache-dir, or count --disk as memory",
        )
    if found.kind in ON_NETWORK:
        return warn(check, f"{seen}; it is on a network drive ({found.kind})", "choose a folder on a disk of this machine with --cache-dir")
    if room < settings.disk_bytes:
        return warn(check, seen, f"it keeps what fits; lower --disk to {size(int(room * 0.9))}, or make room")
    return ok(check, seen)


def token(settings: Settings, mode: int | None) -> Finding:
    """mode: of the token's file, where the system has such."""
    check = "token"
    if settings.token is None:
        if settings.role == "manager":
            return ok(check, "none: whoever reaches the port can join as a peer, and purge; see --token-file")
        return ok(check, "none: it joins only managers that have none; see --token-file")
    length = f"{len(settings.token)} characters"
    if settings.token_file is None:
        return ok(check, f"{length}; a file keeps it better (--token-file)")
    if mode is not None and mode & 0o077:
        return warn(
            check, f"{length} in {settings.token_file}, which others on this machine can read or write", f"chmod 600 {settings.token_file}"
        )
    return ok(check, f"{length} in {settings.token_file}")


def key_mode(path: str, mode: int | None) -> Finding | None:
    if mode is not None and mode & 0o077:
        return warn("certificate key", f"{path} can be read or written by others on this machine", f"chmod 600 {path}")
    return None


def proxies(environ: Mapping[str, str], urls: Sequence[str]) -> Finding:
    """environ: with names as they are. urls: of nodes and the upstream, as far as they are known."""
    check = "proxy"
    lower = {name.lower(): value for name, value in environ.items() if value}
    named = [name for name in PROXIES if name in lower]
    if not named:
        return ok(check, "no proxy is set for this machine's clients")
    # A proxy's URL may hold a password: its host is enough.
    seen = ", ".join(f"{name} ({_host_of(lower[name])})" for name in named)
    through = [
        host
        for host in dict.fromkeys(urlsplit(url).hostname or "" for url in urls)
        if host and not _is_exempt(host, lower.get("no_proxy", ""))
    ]
    if not through:
        return ok(check, f"{seen}: minicdn does not use it; curl and the like do")
    return warn(
        check,
        f"{seen}: curl, pip and the like would ask {', '.join(through)} through it; minicdn does not use it",
        f"for clients here: export no_proxy={','.join(filter(None, [lower.get('no_proxy', ''), *through]))} (and the peers' addresses)",
    )


def _is_exempt(host: str, no_proxy: str) -> bool:
    return bool(no_proxy) and bool(proxy_bypass_environment(host, {"no": no_proxy}))


def _host_of(proxy: str) -> str:
    try:
        parts = urlsplit(proxy if "://" in proxy else f"//{proxy}")
        return plain(parts.hostname or "?")
    except ValueError:
        return "?"


def size(size_bytes: float) -> str:
    """In 1024s, short."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size_bytes < 1000:
            return f"{size_bytes:.0f} {unit}" if size_bytes >= 100 or size_bytes == int(size_bytes) else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1024
    return f"{size_bytes:.1f} TiB"
