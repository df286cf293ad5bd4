"""What the desk found for a request: the entry to serve, and how it was come by."""

from __future__ import annotations

from dataclasses import dataclass

from minicdn.core.message import Request
from minicdn.node.fill import Fill
from minicdn.store.entry import Entry


@dataclass(slots=True)
class Found:
    """What to serve, and how it was come by (Cache-Status speaks of it).

    source: memory, disk, peer or upstream. forward: None for a hit, else why it was not one (RFC 9211 §2.2). fill: to be released
    as soon as a reader is open. span: what came of a partial body, where that is not what was asked for.
    member: the owner's in Cache-Status, where it was asked.
    """

    entry: Entry
    source: str
    forward: str | None = None
    forward_status: int | None = None
    is_collapsed: bool = False
    is_stale: bool = False
    detail: str = ""
    fill: Fill | None = None
    span: tuple[int, int] | None = None
    member: bytes | None = None

    def release(self) -> None:
        """The reader is open, or none is wanted. Idempotent."""
        fill, self.fill = self.fill, None
        if fill is not None:
            fill.release()


@dataclass(slots=True)
class Begun:
    """A request whose fill is under way. forward: why there is one. is_collapsed: somebody else began it."""

    request: Request
    fill: Fill
    forward: str
    is_collapsed: bool
