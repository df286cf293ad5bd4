"""The picker where one node streams a file's pieces to their owners in file order (node/streams.py).

That node has whatever anybody has, and all before it in the file: so it is asked in the place of owners that are slow, once it has done
with streaming and its uplink is free. Each asks it for pieces from another place on, and has the rest from those who began elsewhere: were
all to ask for the same ones, it would send each to everybody, while the uplinks of the others have nothing to give.
"""

from __future__ import annotations

from collections.abc import Sequence

from minicdn.core import crowd
from minicdn.core.picker import Picker
from minicdn.core.pieces import Dealer, Pieces
from minicdn.core.sources import Source
from minicdn.core.tracker import is_crowd
from minicdn.core.wants import lowest


class InOrderPicker(Picker):
    """hint: who streams."""

    def __init__(self, key: str, pieces: Pieces, dealers: Sequence[Dealer], owned: Sequence[int], me: str | None, hint: str) -> None:
        super().__init__(key, pieces, dealers, owned, me)
        self._hint = hint
        self._streamed_count = 0
        self._place = next((place for place, dealer in enumerate(dealers) if dealer.url == me), 0)

    def received(self, index: int, url: str | None, size: int, now: float) -> list[str | None]:
        losers = super().received(index, url, size, now)
        if index >= self._streamed_count and self._hint != self.me:
            self.knows(self._hint, (2 << index) - (1 << self._streamed_count))
            self._streamed_count = index + 1
        return losers

    def _stolen(self, source: Source, mask: int) -> int:
        """Of the streamer's pieces the first from this node's own place on; of others' the first."""
        first = lowest(mask)
        if source.url != self._hint:
            return first
        start = first + (mask.bit_length() - first) * self._place // max(len(self._dealers), 1)
        return lowest(mask >> start << start)


def picker_for(hint: str | None, key: str, pieces: Pieces, dealers: Sequence[Dealer], owned: Sequence[int], me: str | None) -> Picker:
    if hint is None or is_crowd((dealer.weight for dealer in dealers), pieces.size):
        return crowd.picker_for(key, pieces, dealers, owned, me)
    return InOrderPicker(key, pieces, dealers, owned, me, hint)
