"""What nodes say to one another about purges, as values (purgeclient.py says it).

    purge    anybody → manager   carry this out everywhere. The answer: how many entries, on how many nodes, who could not be reached
             manager → peer      carry this out; its place in the journal (before, mark) is known
             peer → peer         the same without a place, while the manager is away
    missed   in the manager's answer to join and renew: what came since the peer's mark, or that nobody knows

`unreachable` names nodes by URL. They learn what they missed when they renew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from minicdn.core.journal import ENTRIES_MAX, Entry, Mark
from minicdn.core.nodeurl import URL_LENGTH_MAX
from minicdn.core.purging import Purge
from minicdn.errors import ClientError
from minicdn.wire.codec import Taker

UNREACHABLE_MAX = 4096


@dataclass(frozen=True, slots=True)
class PurgeCall:
    """id: who says so. token: the purge's own name. before, mark: its place in the journal; None while it has none."""

    id: str
    token: str
    purge: Purge
    before: Mark | None = None
    mark: Mark | None = None

    def to_wire(self) -> dict[str, Any]:
        return {"id": self.id, "token": self.token, "purge": self.purge.to_wire(), "before": _text(self.before), "mark": _text(self.mark)}

    @classmethod
    def from_wire(cls, found: Mapping[str, Any]) -> PurgeCall:
        take = Taker(found)
        try:
            purge = Purge.from_wire(found.get("purge"))
        except ValueError as error:
            raise ClientError(400, str(error)) from None
        token = take.text("token", length_max=64)
        if not token:
            raise ClientError(400, "token is empty")
        return cls(take.text("id", length_max=64), token, purge, take_mark(take, "before"), take_mark(take, "mark"))


@dataclass(frozen=True, slots=True)
class PurgeAnswer:
    """purged: entries marked or removed. nodes: how many nodes did so. before, mark: the place that the purge got in the journal."""

    purged: int
    nodes: int = 1
    unreachable: tuple[str, ...] = ()
    before: Mark | None = None
    mark: Mark | None = None

    def to_wire(self) -> dict[str, Any]:
        return {
            "purged": self.purged,
            "nodes": self.nodes,
            "unreachable": list(self.unreachable),
            "before": _text(self.before),
            "mark": _text(self.mark),
        }

    @classmethod
    def from_wire(cls, found: Mapping[str, Any]) -> PurgeAnswer:
        take = Taker(found)
        unreachable = take.items("unreachable", count_max=UNREACHABLE_MAX, default=())
        if not all(type(url) is str and len(url) <= URL_LENGTH_MAX for url in unreachable):
            raise ClientError(400, "unreachable is not a list of URLs")
        return cls(take.integer("purged"), take.integer("nodes"), tuple(unreachable), take_mark(take, "before"), take_mark(take, "mark"))


@dataclass(frozen=True, slots=True)
class Missed:
    """entries None: everything that is stored has to be taken for stale. mark: up to where this goes."""

    entries: tuple[Entry, ...] | None
    mark: Mark

    def to_wire(self) -> dict[str, Any]:
        entries = None if self.entries is None else [entry.to_wire() for entry in self.entries]
        return {"entries": entries, "mark": str(self.mark)}

    @classmethod
    def from_wire(cls, take: Taker | None) -> Missed | None:
        if take is None:
            return None
        mark, items = take_mark(take, "mark"), take.items("entries", count_max=ENTRIES_MAX, default=None)
        if mark is None:
            raise ClientError(400, "missed purges without a mark")
        try:
            return cls(None if items is None else tuple(map(Entry.from_wire, items)), mark)
        except ValueError as error:
            raise ClientError(400, str(error)) from None


def take_mark(take: Taker, name: str) -> Mark | None:
    return Mark.parse(take.text(name, length_max=64, default=""))


def _text(mark: Mark | None) -> str:
    return "" if mark is None else str(mark)
