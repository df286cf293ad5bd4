"""A piece that the disk has changed is fetched again while those who read it wait."""

from __future__ import annotations

from collections.abc import Callable

from minicdn.core.conditional import strong_validator
from minicdn.core.message import Request
from minicdn.node.fill import Fill
from minicdn.node.suppliers import Part
from minicdn.node.wanted import range_value
from minicdn.store.entry import Entry
from minicdn.store.shelf import Shelf

Load = Callable[[Request, Part, str | None], Fill]


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
