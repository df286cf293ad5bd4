"""An entry: a stored head with its facts, and the body. One per variant of a key."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from minicdn.core.freshness import Stored
from minicdn.store.body import Body

if TYPE_CHECKING:
    from minicdn.core.message import Head
    from minicdn.store.memorycache import EntryCache

ENTRY_OVERHEAD_BYTES = 1000
"""What an entry costs besides its body and its field lines: objects, indexes, the body's book-keeping. As measured; a test
compares."""

DISK_ENTRY_BYTES = 4000
"""What an entry whose body lies on disk costs in memory."""


@dataclass(slots=True, eq=False)
class Entry:
    """`stored` None: an answer that may not be kept, on its way to the one client that asked."""

    key: str
    head: Head
    stored: Stored | None
    body: Body
    is_hot: bool = False
    """A copy of what another node owns."""
    touched_at: float = -inf
    memory_cost_bytes: int = 0
    """What it takes in memory; must not change while it is in a cache there."""
    cache: EntryCache | None = None
    older: Entry | None = None
    newer: Entry | None = None
    """The memory cache that it is in, and its neighbours in the order of use; all the cache's."""


def memory_cost(entry: Entry, lines_bytes: int) -> int:
    """lines_bytes: of its field lines, of which some are shared with other entries (sharing.py)."""
    return ENTRY_OVERHEAD_BYTES + len(entry.key) + lines_bytes + (entry.body.length or 0)
