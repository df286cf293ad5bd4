"""The listening socket, and what goes wrong with it, in words."""

from __future__ import annotations

import errno
import os
import socket

from minicdn.errors import OperatorError, PortTaken, UsageError

BACKLOG = 2048
NEXT_PORTS_MAX = 50
"""A second peer on one machine takes the next free port, if none was asked for, and looks this far."""
_FILES_MAX = 1 << 20


def open_listener(host: str, port: int, *, may_take_next: bool = False) -> socket.socket:
    """Bound and listening. Port 0 lets the system choose; read the port from the socket."""
    family, address = _resolve(host, port)
    last_port = min(port + NEXT_PORTS_MAX, 65535) if may_take_next and port else port
    for number in range(port, last_port + 1):
        try:
            return _listen(family, (address[0], number, *address[2:]))
        except OSError as error:
            # Windows says EACCES of a port that another program holds for itself.
            if last_port == port or error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise _explained(error, host, number) from None
    raise PortTaken(f"the ports {port} to {last_port} are all taken; choose another with --port (0 takes any free one)")


def _resolve(host: str, port: int) -> tuple[int, tuple]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError):
        raise UsageError(f"--host {host}: no such address; give one of this machine's, or 0.0.0.0 for all") from None
    return found[0][0], found[0][4]


def open_shared(host: str, port: int) -> socket.socket:
    """The same, on a port that other sockets of this user share; the system spreads connections over all that listen."""
    family, address = _resolve(host, port)
    try:
        return _listen(family, address, is_shared=True)
    except OSError as error:
        raise _explained(error, host, port) from None


def _listen(family: int, address: tuple, *, is_shared: bool = False) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if is_shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if os.name == "posix":
            # A port of which old connections linger is free. (On Windows the same option would share a port in use.)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        elif hasattr(socket, "SO_EXCLUSIVEADDRUSE"):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if address[0] == "::" else 1)
        listener.bind(address)
        # At once: of two that have bound the same free port, the second to listen is told.
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _explained(error: OSError, host: str, port: int) -> OperatorError:
    if error.errno == errno.EADDRINUSE:
        return PortTaken(f"port {port} is taken; stop the program that listens there, or choose another with --port (0 takes any free one)")
    if error.errno == errno.EACCES:
        return PortTaken(f"port {port} may not be used by this user; choose one above 1023 with --port")
    if error.errno == errno.EADDRNOTAVAIL:
        return UsageError(f"--host {host}: not an address of this machine; give one that is, or 0.0.0.0 for all")
    return OperatorError(f"can't listen on {host} port {port}: {error.strerror or error}")


def file_limit() -> int | None:
    """How many descriptors this process may have open; None: as many as it likes."""
    try:
        import resource
    except ImportError:
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def raise_file_limit() -> None:
    """Each connection and each large file is a descriptor; shells give 256 to 1024 of them by default."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # macOS calls its hard limit unlimited and refuses to go there.
    for wanted in (_FILES_MAX, 65536, 10240):
        target = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        if soft != resource.RLIM_INFINITY and soft < target:
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
                return
            except (ValueError, OSError):
                continue
