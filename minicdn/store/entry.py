"""An entry: a stored head with its facts, and the body. One per variant of a key."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from minicdn.core.freshness import Stored
from minicdn.store.body import Body
from minicdn.store.sharing import line_cost

if TYPE_CHECKING:
    from minicdn.core.message import Head

ENTRY_OVERHEAD_BYTES = 1150
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
    lines_bytes: int | None = None
    """What its field lines take, where some are shared with other entries (sharing.py)."""

    @property
    def memory_cost_bytes(self) -> int:
        fields = self.lines_bytes if self.lines_bytes is not None else sum(map(line_cost, self.head.fields))
        return ENTRY_OVERHEAD_BYTES + len(self.key) + fields + (self.body.length or 0)
