"""Who vouches for a piece that somebody else than its owner sent: its owner, or, where that is gone, one who has it from there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from minicdn.core.picker import Picker
from minicdn.errors import PeerError
from minicdn.node.clock import Clock
from minicdn.wire.peers import PeerClient
from minicdn.wire.pieces import PieceRequest

DIGEST_SECONDS = 3.0
"""A digest is a small answer; who takes longer is frozen, or as good as that."""
OTHERS_MAX = 2


@dataclass(frozen=True, slots=True)
class Word:
    digest: bytes
    is_owners: bool


class Voucher:
    """owner_of: the URL of a piece's owner. question: asks a witness for a piece's digest, as its owner or as a holder."""

    def __init__(
        self,
        client: PeerClient,
        clock: Clock,
        me: str | None,
        owner_of: Callable[[int], str | None],
        question: Callable[[int, str, bool], PieceRequest],
    ) -> None:
        self._client, self._clock, self._me = client, clock, me
        self._owner_of = owner_of
        self._question = question
        self._known: dict[int, Word] = {}

    def heard(self, index: int, digest: bytes) -> None:
        """From its owner, or who stands in for it."""
        self._known[index] = Word(digest, is_owners=True)

    def forget(self, index: int) -> None:
        self._known.pop(index, None)

    async def ask(self, url: str, index: int, picker: Picker) -> Word | None:
        """The digest of a piece that came from `url`; None where nobody else can tell."""
        if index in self._known:
            return self._known[index]
        owner = self._owner_of(index)
        for witness in self._witnesses(url, owner, index, picker):
            digest = await self._digest(witness, index, picker, is_owners=witness == owner)
            if digest is not None:
                return self._known.setdefault(index, Word(digest, witness == owner))
        return None

    def _witnesses(self, url: str, owner: str | None, index: int, picker: Picker) -> list[str]:
        now, sources = self._clock.monotonic(), picker.sources
        others = [one for one in sources.urls() if one not in (None, url, owner, self._me) and sources.get(one).have_mask >> index & 1]
        found = [one for one in (owner, *others) if one is not None and one not in (url, self._me) and not sources.get(one).is_resting(now)]
        return found[: OTHERS_MAX + 1]

    async def _digest(self, witness: str, index: int, picker: Picker, *, is_owners: bool) -> bytes | None:
        try:
            async with asyncio.timeout(DIGEST_SECONDS):
                stream = await self._client.ask_pieces(witness, self._question(index, witness, is_owners))
        except (PeerError, TimeoutError):
            picker.failed(witness, (), self._clock.monotonic())
            return None
        await stream.close()
        return next((digest for found, digest in stream.answer.digests if found == index), None)
