"""When a node takes on no more: too many connections, or too little memory left on its machine.

    up to `places`              everybody is served
    the reserve beyond that     what is asked is read: peers and people who look in are answered, clients of content get a 503
    beyond the reserve          the connection gets a 503 unheard

So a crowd of clients can take neither the health check nor the other peers' way in, and what is under way is finished.
"""

from __future__ import annotations

from enum import Enum

PLACES_MAX, PLACES_MIN = 32_768, 16
FILES_KEPT = 128
"""Descriptors for listening sockets, the log, the index, what the express lane sends from, and what libraries open."""
RESERVE_SHARE, RESERVE_MIN = 16, 16
FLOOR_SHARE, FLOOR_BYTES_MAX = 20, 256 * 1024 * 1024
RELIEF = 1.5


class Admission(Enum):
    FREE = "free"
    RESERVE = "reserve"
    NONE = "none"


def reserve_of(places: int) -> int:
    return max(RESERVE_MIN, places // RESERVE_SHARE)


def places_of(wanted: int, files_max: int | None, others_count: int) -> int:
    """Connections that are served at a time. wanted: 0 for as many as the system's limit of open files allows, where each may have a file
    open beside its socket. files_max: that limit; None: there is none. others_count: connections of this node to others, at most."""
    room = PLACES_MAX * 3 if files_max is None else files_max - FILES_KEPT - others_count
    able = max(room // 2, PLACES_MIN)
    able -= min(reserve_of(able), able - PLACES_MIN)
    return min(wanted or PLACES_MAX, able)


def admit(count: int, places: int) -> Admission:
    """The count-th connection. places: 0 for no bound."""
    if not places or count <= places:
        return Admission.FREE
    return Admission.RESERVE if count <= places + reserve_of(places) else Admission.NONE


def is_short(free_bytes: int, total_bytes: int, *, was_short: bool) -> bool:
    """Whether so little memory is left that what is asked next might have the system kill this node. What it refuses once it refuses
    until there is half as much again, so that it doesn't go to and fro."""
    floor_bytes = min(total_bytes // FLOOR_SHARE, FLOOR_BYTES_MAX)
    return free_bytes < floor_bytes * (RELIEF if was_short else 1.0)
