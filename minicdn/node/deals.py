"""How the pieces of a large file are dealt, as its owner says."""

from __future__ import annotations

from dataclasses import dataclass

from minicdn.core.pieces import Dealer, deal, deal_in_turns


@dataclass(frozen=True, slots=True)
class Deal:
    """Among whom a file's pieces are dealt, as its owner says. hint: a peer that has all of it already, or gets it in order."""

    dealers: tuple[Dealer, ...]
    hint: str | None = None

    def owners(self, key: str, count: int) -> list[int]:
        """For each piece the place of its owner among the dealers. In turns where they come in order; else the file's owner, who is named
        first, has the first piece with the head."""
        owned = (deal if self.hint is None else deal_in_turns)(key, count, self.dealers)
        if owned and self.hint is None:
            owned[0] = 0
        return owned
