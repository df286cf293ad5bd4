"""What the disk has changed or lost: a damaged piece is fetched again while those who read it wait; the rest of a body that the disk does
not take, or give back, comes from elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from minicdn.core.conditional import strong_validator
from minicdn.core.message import Request
from minicdn.core.partial import span_of
from minicdn.errors import BrokenBody
from minicdn.node.fill import Fill
from minicdn.node.found import Found
from minicdn.node.supply import Part
from minicdn.node.wanted import range_value
from minicdn.store.entry import Entry
from minicdn.store.shelf import Shelf

Load = Callable[[Request, Part, str | None], Fill]


class LoadRest(Protocol):
    def __call__(self, request: Request, part: Part, *, is_forwarded: bool) -> Fill: ...


async def rest_of(load: LoadRest, request: Request, entry: Entry, start: int, end: int | None, *, is_forwarded: bool = False) -> Found:
    """What who asked is still to be sent, from whoever else has it; not kept. Raises BrokenBody where nobody has the rest of this very
    version."""
    validator, length = strong_validator(entry.head), entry.body.length
    if validator is None or length is None:
        raise BrokenBody("the disk refuses, and nobody can go on with it")
    end = length if end is None else end
    fill = load(request, Part(range_value(start, end, length), validator), is_forwarded=is_forwarded)
    outcome = await fill.wait_outcome()
    rest = outcome.entry
    if rest is None or strong_validator(rest.head) != validator or span_of(rest.head) != (start, end, length):
        fill.release()
        raise BrokenBody("the disk refuses, and others have another version by now")
    return Found(rest, outcome.source, fill=fill)


class Mender:
    """load: starts a fill of a part, which finds the partial entry by itself."""

    def __init__(self, shelf: Shelf, load: Load) -> None:
        self._load = load
        shelf.on_damaged_piece(self._mend)

    def _mend(self, entry: Entry, start: int, end: int) -> None:
        """Without a strong validator the readers are cut off: the rest may be of another version by now."""
        validator, body = strong_validator(entry.head), entry.body
        if validator is None or entry.stored is None:
            return
        fields = [(name, value) for name, value in entry.stored.selecting or () if value is not None]
        request = Request("GET", entry.key.encode("utf-8", "surrogateescape"), entry.key, fields)
        fill = self._load(request, Part(range_value(start, end, body.length), validator), None)
        assert fill.task is not None
        body.expect(start, end)
        fill.task.add_done_callback(lambda _: body.ended(start, end))
