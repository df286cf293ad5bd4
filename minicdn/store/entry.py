"""An entry: a stored head with its facts, and the body. One per variant of a key."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from minicdn.core.freshness import Stored
from minicdn.store.body import Body

if TYPE_CHECKING:
    from minicdn.core.message import Head

ENTRY_OVERHEAD_BYTES = 1000
"""What an entry costs besides its body and its field lines: objects, indexes, the body's book-keeping."""


@dataclass(slots=True, eq=False)
class Entry:
    """`stored` None: an answer that may not be kept, on its way to the one client that asked."""

    key: str
    head: Head
    stored: Stored | None
    body: Body
    is_hot: bool = False
    """A copy of what another node owns."""
    disk_cost_bytes: int = 0
    touched_at: float = field(default=0.0)

    @property
    def memory_cost_bytes(self) -> int:
        fields = sum(len(name) + len(value) + 120 for name, value in self.head.fields)
        return ENTRY_OVERHEAD_BYTES + len(self.key) + fields + (self.body.length or 0)
