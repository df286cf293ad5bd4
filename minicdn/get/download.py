"""One download: opened at the nearest source, then taken from one after the other (a small file, a plain server) or from all at once.

The first question to a cluster asks for the first OPENING_BYTES: a small file comes whole with it, or the rest from the same peer; of a
large one the rest is dealt to all peers as soon as that answer's head is here. A plain server is asked for the whole, as any client would.
"""

from __future__ import annotations

from collections.abc import Callable

from minicdn.errors import SourcesFailed, WrongDigest
from minicdn.get.asking import Answer, Asker, Changed, SourceFailed, origin_of
from minicdn.get.facts import Facts, range_fields
from minicdn.get.many import Many, Useless
from minicdn.get.onebyone import OneByOne
from minicdn.get.sources import Sources
from minicdn.get.tally import Tally
from minicdn.get.target import Target

OPENING_BYTES = 1024 * 1024
"""Little: a cold peer fetches it as one range, and the pieces in it perhaps once more."""
DEALT_FROM_BYTES = 4 * 1024 * 1024
"""Files up to this size are in one peer's memory (the default of --small)."""
RESTARTS_MAX = 4
SINGLE_FROM = 2
"""From this many fresh starts on, one source at a time: the peers do not agree on what the file is."""


class Download:
    """note: takes what is worth a line."""

    def __init__(self, sources: Sources, target: Target, asker: Asker, tally: Tally, note: Callable[[str], None]) -> None:
        self._sources, self._target, self._asker, self._tally, self._note = sources, target, asker, tally, note
        self._digest: tuple[bytes, str, bytes | None] | None = None
        """The whole's sha-256 as a source named it, which one, and under which validator."""

    async def run(self) -> int:
        """Until the target holds the whole; its length. Raises an OperatorError."""
        while True:
            try:
                return await self._attempt()
            except Changed as error:
                self._tally.restarts_count += 1
                if self._tally.restarts_count > RESTARTS_MAX:
                    raise SourcesFailed(f"the file changes again and again: {error}") from None
                self._note(f"{error}; starting over")
                self._target.begin(None, None)

    def verify(self, found: bytes, expected: bytes | None) -> None:
        """found: the whole's sha-256. expected: given by the user; without it, what a source named counts. Raises WrongDigest."""
        wanted, whose, _ = (expected, "--sha256", None) if expected else self._digest or (None, None, None)
        if wanted is not None and found != wanted:
            self._target.discard()
            raise WrongDigest(f"{self._target.shown} has the sha256 {found.hex()}, but {whose} says {wanted.hex()}; nothing is kept")
        self._tally.verified_by = whose

    async def _attempt(self) -> int:
        one_by_one = OneByOne(self._sources, self._target, self._asker, self._tally, self._learn, self._note)
        answer = None
        if not self._target.held:
            answer = await self._open(one_by_one)
            if not self._may_be_dealt(answer.facts):
                return await one_by_one.run(await self._of_the_whole(answer, one_by_one))
            self._target.begin(answer.facts.length, answer.facts.validator)
        if not self._is_single:
            many = Many(self._sources, self._target, self._asker, self._tally, self._learn)
            try:
                await many.run(answer)
            except SourceFailed as error:
                self._note(f"{error}; going on from one after the other")
        return await one_by_one.run(None)

    async def _open(self, one_by_one: OneByOne) -> Answer:
        """With a range only where the rest could be dealt, and not where that turns out to be beyond an empty file."""
        if not self._is_single:
            try:
                return await one_by_one.open(range_fields(0, OPENING_BYTES, None))
            except Changed:
                pass
        return await one_by_one.open([])

    async def _of_the_whole(self, answer: Answer, one_by_one: OneByOne) -> Answer:
        """A part that nothing can be added to, for want of a validator, is no beginning."""
        if answer.facts.validator is not None or answer.facts.is_whole or answer.facts.end is None:
            return answer
        await answer.close()
        return await one_by_one.open([])

    @property
    def _is_single(self) -> bool:
        return len(self._sources.peers) < 2 or self._tally.restarts_count >= SINGLE_FROM

    def _may_be_dealt(self, facts: Facts) -> bool:
        is_part = facts.start == 0 and facts.end is not None and facts.length is not None and facts.end < facts.length
        return not self._is_single and is_part and facts.validator is not None and (facts.length or 0) > DEALT_FROM_BYTES

    def _learn(self, answer: Answer) -> None:
        """The whole's digest, where a source tells it. Raises SourceFailed where another told another."""
        said = answer.facts.sha256
        if said is None:
            return
        validator = self._target.validator
        if self._digest is None or self._digest[2] != validator or (validator is None and not self._target.held):
            self._digest = said, f"Repr-Digest of {origin_of(answer.url)}", validator
        elif said != self._digest[0]:
            raise Useless(f"{origin_of(answer.url)} names another digest for the file than {self._digest[1]}")
