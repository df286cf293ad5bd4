"""From one source after the other: small files, plain servers, lengths that nobody knows, and what is left when the peers can't.

Who breaks off is followed by the next in order, which goes on from the byte that is missing, if both have the same strong validator;
without one the file is begun anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from minicdn.errors import SourcesFailed
from minicdn.get.asking import Answer, Asker, Changed, SourceFailed, origin_of
from minicdn.get.facts import range_fields
from minicdn.get.sources import Sources
from minicdn.get.tally import Tally
from minicdn.get.target import Target

ROUNDS_MAX = 5
"""So often everybody is asked without getting further than before, once some of the file is here; before that, once."""
PAUSE_SECONDS_MIN, PAUSE_SECONDS_MAX = 0.5, 8.0


class OneByOne:
    """learn: told of each answer with content that counts; note: takes what is worth a line."""

    def __init__(
        self, sources: Sources, target: Target, asker: Asker, tally: Tally, learn: Callable[[Answer], None], note: Callable[[str], None]
    ) -> None:
        self._sources, self._target, self._asker, self._tally = sources, target, asker, tally
        self._learn, self._note = learn, note
        self._place = 0
        self._failures_count = 0
        self._most_bytes = 0
        self._reasons: dict[str, None] = {}

    async def open(self, fields: Sequence[tuple[bytes, bytes]]) -> Answer:
        """The first answer of whoever gives one. Raises Changed, or an OperatorError."""
        names = self._sources.in_order
        while True:
            name = names[self._place % len(names)]
            try:
                return await self._asker.ask(self._sources.url_of(name), fields)
            except SourceFailed as error:
                await self._failed(origin_of(name), error)

    async def run(self, answer: Answer | None) -> int:
        """Until the target holds the whole; its length. Raises Changed, or an OperatorError."""
        while not self._is_done():
            start, end = self._gap()
            answer = answer or await self.open(range_fields(start, end, self._target.validator))
            try:
                await self._take(answer, start)
            except SourceFailed as error:
                await self._failed(origin_of(answer.url), error)
            finally:
                await answer.close()
            answer = None
        assert self._target.length is not None
        return self._target.length

    def _is_done(self) -> bool:
        return self._target.length is not None and self._target.held.covers(0, self._target.length)

    def _gap(self) -> tuple[int, int | None]:
        target = self._target
        if target.validator is None:
            return 0, None
        if target.length is None:
            return target.held.reach(0), None
        start, end = target.held.gaps(0, target.length)[0]
        return start, None if end == target.length else end

    async def _take(self, answer: Answer, wanted_start: int) -> None:
        """The answer's bytes into the target."""
        facts, target = answer.facts, self._target
        self._accept(answer, wanted_start)
        self._learn(answer)
        position = facts.start
        async for chunk in answer.chunks():
            await target.room()
            if facts.end is not None and position + len(chunk) > facts.end:
                raise SourceFailed(f"{origin_of(answer.url)} sends more than it announced")
            target.write(position, chunk)
            position += len(chunk)
            self._tally.received(origin_of(answer.url), len(chunk))
            if target.held.total_bytes > self._most_bytes:  # who begins anew each time gets on only beyond where it has been
                self._most_bytes, self._failures_count = target.held.total_bytes, 0
        if facts.end is None:
            if target.length not in (None, position):
                raise Changed(f"{origin_of(answer.url)} has a file of another length now")
            target.length = position
        elif position < facts.end:
            raise SourceFailed(f"{origin_of(answer.url)} ended early")

    def _accept(self, answer: Answer, wanted_start: int) -> None:
        """Go on with what is there, or begin anew with this answer. Raises Changed where it is a part of another file."""
        facts, target = answer.facts, self._target
        if target.held and facts.fits(target.length, target.validator) and facts.start in (0, wanted_start):
            target.length = facts.length if target.length is None else target.length
            return
        if facts.start != 0:
            raise Changed(f"{origin_of(answer.url)} has another file now")
        if target.held:
            self._tally.restarts_count += 1
            self._note(f"{origin_of(answer.url)} can't go on from where it broke off; starting over")
        target.begin(facts.length, facts.validator)

    async def _failed(self, url: str, error: SourceFailed) -> None:
        """The next one's turn, at once; after each round of all, a pause. Raises SourcesFailed in the end."""
        self._tally.failed(url)
        self._reasons[str(error)] = None
        self._place += 1
        self._failures_count += 1
        round_count, is_within = divmod(self._failures_count, len(self._sources.in_order))
        if is_within:
            return
        if round_count >= (ROUNDS_MAX if self._target.held else 1):
            raise SourcesFailed("; ".join(list(self._reasons)[-3:])) from None
        await asyncio.sleep(min(PAUSE_SECONDS_MIN * 2 ** (round_count - 1), PAUSE_SECONDS_MAX))
