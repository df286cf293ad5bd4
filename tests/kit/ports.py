"""Loopback ports for programs that can't say which one the system gave them, or that must come back on the same one.

They are drawn below the range from which systems take the local ports of outgoing connections, so that no connection
sits on a port between the end of a process and its next start.
"""

from __future__ import annotations

import random
import socket

_LOWEST, _HIGHEST = 12_000, 30_000


def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens on at this moment. The taker must still be ready to lose a race for it."""
    for _ in range(200):
        port = random.SystemRandom().randint(_LOWEST, _HIGHEST)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port found in 200 tries")


def can_connect(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
