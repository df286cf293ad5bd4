"""By which URL this machine is probably known to its neighbours. Sends nothing."""

from __future__ import annotations

import socket

from minicdn.core.nodeurl import node_url

ANY_ADDRESS = ("", "0.0.0.0", "::")


def own_url(host: str, port: int, advertise: str | None, *, has_tls: bool = False) -> str:
    """The advertised URL, or the listening address, or a guess where that is every address."""
    if advertise:
        return advertise.rstrip("/")
    if host in ANY_ADDRESS:
        host = guess_own_address()
    return node_url("https" if has_tls else "http", host, port)


def guess_own_address() -> str:
    """The source address of the default route: connecting a UDP socket makes the system choose it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as chooser:
        try:
            chooser.connect(("192.0.2.1", 9))  # an address kept for documentation (RFC 5737)
            return str(chooser.getsockname()[0])
        except OSError:
            return "127.0.0.1"
