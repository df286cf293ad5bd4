"""What a supplier answers: facts, and the bytes as they arrive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from minicdn.core.conditional import strong_validator
from minicdn.core.freshness import Stored
from minicdn.core.message import Head
from minicdn.node.arriving import Arriving
from minicdn.node.deals import Deal

UNREAD_BYTES_MAX = 64 * 1024
"""Of an answer whose head may show that the body should rather come in pieces."""


class Kind(Enum):
    FOUND = "found"
    UNCHANGED = "unchanged"
    PASS = "pass"


FOUND, UNCHANGED, PASS = Kind
"""A member's own name takes ten times as long to look up (Python 3.11)."""


@dataclass(slots=True)
class Supply:
    """head, stored: of the answer; stored None for PASS. length: of the whole body, None when unknown. offset, end: where the bytes
    begin and end (end None: with the body). part_head: the 206's own head, where the answer is a part. source: `peer` or
    `upstream`. status: what the upstream said (0: nothing). member: the owner's own in Cache-Status. deal: how the bytes are to be come
    by, where none of them follow. Close it, always."""

    kind: Kind
    head: Head
    stored: Stored | None
    length: int | None
    offset: int
    source: str
    arriving: Arriving
    end: int | None = None
    part_head: Head | None = None
    detail: str = ""
    request_at: float = 0.0
    response_at: float = 0.0
    status: int = 0
    member: bytes | None = None
    is_stale: bool = False
    deal: Deal | None = None
    on_close: Callable[[], None] | None = None

    async def close(self) -> None:
        """Idempotent."""
        if self.on_close is not None:
            self.on_close()
        await self.arriving.close()


@dataclass(frozen=True, slots=True)
class Part:
    """Only these bytes. range: the value of a Range field with one span. validator: of that body only (If-Range)."""

    range: bytes
    validator: bytes | None = None

    @classmethod
    def of(cls, asked: bytes | None) -> Part | None:
        return None if asked is None else cls(asked)


def as_part(supply: Supply, part: Part | None) -> Supply:
    """Who was asked for a part may send the whole (RFC 9110 §14.2): then it is the part from the start to the end."""
    is_whole = supply.kind is FOUND and supply.end is None and supply.length is not None and supply.head.status == 200
    if is_whole and part is not None and part.validator is not None and strong_validator(supply.head) == part.validator:
        supply.end = supply.length
    return supply
