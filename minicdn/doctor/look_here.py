"""Facts of this machine: what is installed, who has the port, whether the cache folder can be written. What they mean says here.py.

What may hang (a dead network drive, a name server that is gone) runs in a thread, and is left alone after SECONDS. Nothing stays behind:
folders that are not there are not made.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module, metadata
from pathlib import Path
from platform import python_version
from urllib.parse import urlsplit

from minicdn import __version__
from minicdn.core.headers import first
from minicdn.core.nodeurl import node_url
from minicdn.doctor import certs, clocks, here
from minicdn.doctor.cluster import health_of
from minicdn.doctor.finding import Finding, fail, ok, plain
from minicdn.doctor.here import Folder, Port
from minicdn.errors import CacheFolderUnusable, OperatorError, PortTaken
from minicdn.settings import Settings
from minicdn.store.folder import CacheFolder
from minicdn.wire.address import ANY_ADDRESS, own_url
from minicdn.wire.examining import NotSeen, look
from minicdn.wire.threads import in_thread
from minicdn.wire.tls import listening

SECONDS = 2.0
HEALTH_BYTES_MAX = 64 * 1024
TRIAL_BYTES = 64 * 1024
FILES_SUMMED_MAX = 100_000
MOUNTS = Path("/proc/self/mounts")
PACKAGES = ("starlette", "uvicorn", "httpx", "cachetools", "msgpack", "click", "platformdirs", "certifi", "httptools", "uvloop")

COMPILED = ("httptools", "uvloop")


@dataclass(frozen=True, slots=True)
class Place:
    """What only the command line's own modules know. settings: as the role would take them, port and cache folder included. try_port:
    raises what a start would."""

    settings: Settings
    may_take_next: bool
    try_port: Callable[[], None]


def examine_machine(environ: dict[str, str], urls: list[str]) -> list[Finding]:
    """What does not depend on any role. urls: of nodes and the upstream, as far as they are known."""
    wanted = _wanted()
    packages = {name: _version(name) for name in PACKAGES}
    now = time.time()
    shown = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if 0 <= now < 2e11 else f"{now:.0f} s"
    return [
        here.python(python_version(), __version__, packages, wanted, is_windows=sys.platform == "win32"),
        clocks.own_clock(now, shown),
        here.proxies(environ, urls),
    ]


def _version(name: str) -> str | None:
    try:
        if name in COMPILED:
            module = import_module(name)  # one that is installed and can't be loaded helps nobody
            if getattr(sys, "frozen", False):  # the executable of one file has the modules, and not what says so
                return str(getattr(module, "__version__", ""))
        return metadata.version(name)
    except (metadata.PackageNotFoundError, ImportError):
        return None


def _wanted() -> dict[str, str]:
    """The least versions, where minicdn is installed as a package."""
    try:
        lines = metadata.requires("minicdn") or []
    except metadata.PackageNotFoundError:
        return {}
    return {match[1].lower(): match[2] for line in lines if "extra ==" not in line and (match := re.match(r"([\w-]+)\s*>=([\d.]+)", line))}


async def examine_place(place: Place, limit: int | None, room: tuple[int, int] | None) -> AsyncIterator[Finding]:
    """limit: of open files. room: free and total memory."""
    settings = place.settings
    found = await _port(place)
    yield here.port(found, settings, may_take_next=place.may_take_next)
    url = own_url(settings.host, settings.port, settings.advertise, has_tls=settings.tls_cert is not None)
    is_guessed = settings.advertise is None and settings.host in ANY_ADDRESS
    yield here.address(settings, url, await _other_addresses(url), is_guessed=is_guessed)
    yield here.files(limit, settings)
    yield here.memory(room, settings)
    if settings.cache_dir is not None:
        path = settings.cache_dir
        try:
            async with asyncio.timeout(SECONDS):
                folder = await in_thread(look_at_folder, path)
        except TimeoutError:
            folder = Folder(str(path), f"the disk does not answer within {SECONDS:g} s")
        runs_here = found.health is not None and found.health.role == settings.role
        yield here.folder(folder, settings, runs_here=runs_here)
    yield here.token(settings, _mode(settings.token_file))
    if settings.tls_cert is not None and settings.tls_key is not None:
        for finding in certificate(settings.tls_cert, settings.tls_key, url):
            yield finding


async def _port(place: Place) -> Port:
    try:
        place.try_port()
        return Port()
    except PortTaken as error:
        if "taken" not in str(error):
            return Port(str(error))
    except OperatorError as error:
        return Port(str(error))
    settings = place.settings
    host = "127.0.0.1" if settings.host in ANY_ADDRESS else settings.host
    mute = Port("taken", is_taken=True, is_mute=True)
    for scheme in ("https", "http") if settings.tls_cert is not None else ("http", "https"):
        try:
            looked = await look(f"{node_url(scheme, host, settings.port)}/_health", seconds=SECONDS, bytes_max=HEALTH_BYTES_MAX)
        except NotSeen as error:
            if error.kind == "silent":
                return mute
            continue
        server = plain((first(looked.fields, b"server") or b"").decode("latin-1"))[:60]
        return Port("taken", is_taken=True, health=health_of(looked.status, looked.body), server=server)
    return mute


async def _other_addresses(url: str) -> list[str]:
    """IPv4 addresses of this machine besides the one in the URL, as far as its own name tells."""
    try:
        async with asyncio.timeout(SECONDS):
            found = await in_thread(lambda: socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET, socket.SOCK_STREAM))
    except (TimeoutError, OSError, UnicodeError):
        return []
    addresses = dict.fromkeys(str(address[4][0]) for address in found)
    return [address for address in addresses if not address.startswith("127.") and f"//{address}:" not in f"{url}:"]


def look_at_folder(path: Path) -> Folder:
    """path: need not be there; then its nearest folder that is counts."""
    is_held, nearest = False, path
    try:
        while not nearest.exists() and nearest != nearest.parent:
            nearest = nearest.parent
        if not nearest.is_dir():
            return Folder(str(path), f"{nearest} is no folder")
        if (path / "lock").exists():
            try:
                CacheFolder(path).release()
            except CacheFolderUnusable as error:
                if "in use" not in str(error):
                    raise
                is_held = True
        with tempfile.TemporaryFile(dir=nearest) as trial:
            trial.write(bytes(TRIAL_BYTES))
            trial.flush()
        free = shutil.disk_usage(nearest).free
    except CacheFolderUnusable as error:
        return Folder(str(path), str(error.__cause__ or error))
    except OSError as error:
        return Folder(str(path), error.strerror or str(error))
    return Folder(str(path), None, is_held, free, _used_bytes(path / "objects"), _kind(nearest))


def _used_bytes(objects: Path) -> int:
    total, count = 0, 0
    for folder, _, names in os.walk(objects):
        for name in names:
            count += 1
            if count > FILES_SUMMED_MAX:
                return total
            try:
                found = os.stat(os.path.join(folder, name))
            except OSError:
                continue
            total += getattr(found, "st_blocks", found.st_size // 512 + 1) * 512
    return total


def _kind(path: Path) -> str:
    """The file system's, where Linux tells; the last mount over a folder counts."""
    try:
        mounts = MOUNTS.read_text("utf-8", "replace")
        at = path.resolve()
    except OSError:
        return ""
    best, kind = "", ""
    for line in mounts.splitlines():
        parts = line.split(" ")
        if len(parts) > 2 and len(folder := parts[1].replace("\\040", " ")) >= len(best) and at.is_relative_to(folder):
            best, kind = folder, parts[2]
    return kind


def _mode(path: str | None) -> int | None:
    if path is None or os.name != "posix":
        return None
    try:
        return Path(path).expanduser().stat().st_mode & 0o777
    except OSError:
        return None


def certificate(path: str, key: str, url: str) -> list[Finding]:
    """url: by which clients call this node."""
    check = "certificate"
    try:
        listening(path, key)
    except (OSError, ValueError) as error:
        text = (getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)).replace("_", " ").lower()
        if "pem lib" in text:  # all that OpenSSL says of a file that holds something else
            text = "the one is no certificate in PEM, or the other no key"
        return [fail(check, f"--tls-cert {path}, --tls-key {key}: {text}", "give the two files that minicdn cert made together")]
    key_finding = here.key_mode(key, _mode(key))
    decode = getattr(getattr(ssl, "_ssl", None), "_test_decode_cert", None)
    try:
        # Nothing public decodes a certificate of one's own without a connection; where this is gone, its days and names are not known.
        found = decode(os.fspath(Path(path).expanduser())) if decode is not None else None
    except (OSError, ValueError):
        found = None
    if found is None:
        own = ok(check, f"{path} and its key fit; its days and names can't be read here")
    else:
        own = certs.own_certificate(check, found, urlsplit(url).hostname or "", time.time())
    return [own, *([key_finding] if key_finding is not None else [])]
