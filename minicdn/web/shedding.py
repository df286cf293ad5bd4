"""Who gets a place among the connections, and whether new work is taken (core/shedding.py has the rules).

A connection that waits for its next request, or takes too long with a head, gives its place up to one that comes with something to
ask. Who finds none is told so: a 503 with Retry-After, and the end of that connection.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from minicdn.core.counters import Counters
from minicdn.core.shedding import Admission, admit
from minicdn.errors import ClientError

LOOK_SECONDS = 0.25
"""Between two looks through all connections for idle ones."""
UNHEARD = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 2\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Shedding:
    """places: connections that are served; 0 for all. is_short: there is too little memory for new work."""

    def __init__(self, places: int, counters: Counters) -> None:
        self.places = places
        self.is_short = False
        self._counters = counters
        self._idle: list[Any] = []
        self._looked_at = float("-inf")

    def admit(self, connections: Iterable[Any], count: int, now: float) -> Admission:
        """For the newest of them. A connection has is_idle(now): it waits for its client."""
        found = admit(count, self.places)
        if found is Admission.FREE or self._has_made_room(connections, now):
            return Admission.FREE
        if found is Admission.NONE:
            self._counters.add("shed_connections_count")
        return found

    def check(self, scope: dict[str, Any]) -> None:
        """Raises ClientError(503) for a client that came beyond the places."""
        if "minicdn.is_over" in scope:
            raise self._refused("this node has as many connections as it may (--max-connections); ask again in a moment")

    def check_memory(self) -> None:
        """Raises ClientError(503): what is not here yet must wait."""
        if self.is_short:
            raise self._refused("this node's machine is short of memory, so it takes on nothing new; ask again in a moment")

    def _refused(self, reason: str) -> ClientError:
        self._counters.add("shed_requests_count")
        return ClientError(503, reason)

    def _has_made_room(self, connections: Iterable[Any], now: float) -> bool:
        if not self._idle and now >= self._looked_at + LOOK_SECONDS:
            self._looked_at = now
            self._idle = [connection for connection in connections if connection.is_idle(now)]
        while self._idle:
            connection = self._idle.pop()
            if connection.is_idle(now):
                connection.transport.close()
                return True
        return False
