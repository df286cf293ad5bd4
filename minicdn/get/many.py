"""A large file from all peers at once: what plan.py decides is carried out here, each flight a task of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from minicdn.core.digests import Verifier
from minicdn.core.pieces import Pieces
from minicdn.errors import MinicdnError, NotThere, Refused
from minicdn.get.asking import Answer, Asker, Changed, SourceFailed, origin_of
from minicdn.get.facts import range_fields
from minicdn.get.plan import Flight, Plan
from minicdn.get.sources import Sources
from minicdn.get.tally import Tally
from minicdn.get.target import Target

TICK_SECONDS = 0.25


class Useless(SourceFailed):
    """Asking it again would be no better."""


class Many:
    """learn: told of each answer that fits; raises SourceFailed where it contradicts what was learnt before."""

    def __init__(self, sources: Sources, target: Target, asker: Asker, tally: Tally, learn: Callable[[Answer], None]) -> None:
        assert target.length is not None and target.validator is not None
        self._sources, self._target, self._asker, self._tally, self._learn = sources, target, asker, tally, learn
        self._length, self._validator = target.length, target.validator
        pieces = Pieces.of(target.length)
        bound = target.look_ahead_bytes
        look_ahead = None if bound is None else max(2, bound // pieces.size)
        last = sources.last[0] if sources.last else None
        self._plan = Plan(sources.wish.key, pieces, sources.peers, target.held, last=last, look_ahead=look_ahead)
        self._tasks: dict[Flight, asyncio.Task[None]] = {}
        self._happened = asyncio.Event()
        self._fatal: BaseException | None = None
        self._verdict: MinicdnError | None = None

    async def run(self, answer: Answer | None) -> None:
        """Until the target holds the whole. answer: the opening one, whose body is taken like the rest. Raises Changed, SourceFailed where
        no source is left that has the parts, or an OperatorError."""
        try:
            if answer is not None:
                await self._adopt(answer)
            await self._fly_all()
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _adopt(self, answer: Answer) -> None:
        assert answer.facts.end is not None
        flight = self._plan.adopt(origin_of(answer.url), 0, answer.facts.end, time.monotonic())
        if flight is None:
            await answer.close()
        else:
            self._launch(flight, answer)

    async def _fly_all(self) -> None:
        tick_at = time.monotonic()
        while not self._plan.is_done:
            now = time.monotonic()
            if now >= tick_at:
                tick_at = now + TICK_SECONDS
                for flight in self._plan.tick(now):
                    self._tally.retries_count += 1
                    self._launch(flight)
            for flight in self._plan.next(now):
                self._launch(flight)
            self._raise_trouble()
            self._happened.clear()
            try:
                async with asyncio.timeout(max(tick_at - time.monotonic(), 0.0)):
                    await self._happened.wait()
            except TimeoutError:
                pass

    def _raise_trouble(self) -> None:
        if self._fatal is not None:
            raise self._fatal
        if self._plan.is_hopeless:
            raise self._verdict or SourceFailed("no peer is left to ask")

    def _launch(self, flight: Flight, answer: Answer | None = None) -> None:
        task = asyncio.get_running_loop().create_task(self._fly(flight, answer))
        self._tasks[flight] = task
        task.add_done_callback(lambda task: self._landed(flight, task))

    def _landed(self, flight: Flight, task: asyncio.Task[None]) -> None:
        """However it ended; a task that is cancelled before it runs ends here too."""
        del self._tasks[flight]
        error = None if task.cancelled() else task.exception()
        now = time.monotonic()
        if error is None:
            self._plan.ended(flight, now)
        elif isinstance(error, SourceFailed):
            self._plan.failed(flight, now, is_final=isinstance(error, Useless))
        elif isinstance(error, Changed | NotThere | Refused):
            self._verdict = error if not isinstance(self._verdict, Changed) else self._verdict
            self._plan.failed(flight, now, is_final=True)
        else:
            self._fatal = self._fatal or error
        self._happened.set()

    async def _fly(self, flight: Flight, answer: Answer | None) -> None:
        name = self._plan.url_of(flight)
        url = origin_of(name)
        try:
            answer = answer or await self._ask(flight, name)
            url = origin_of(answer.url)
            self._learn(answer)
            await self._take(flight, answer, url)
        except (SourceFailed, Changed, NotThere, Refused):
            self._tally.failed(url)
            raise
        finally:
            if answer is not None:
                await answer.close()

    async def _ask(self, flight: Flight, name: str) -> Answer:
        answer = await self._asker.ask(self._sources.url_of(name), range_fields(flight.at, flight.end, self._validator))
        facts, url = answer.facts, origin_of(answer.url)
        if (facts.validator, facts.length, facts.start, facts.end) == (self._validator, self._length, flight.at, flight.end):
            return answer
        await answer.close()
        if facts.validator == self._validator and facts.length == self._length:
            raise Useless(f"{url} does not answer with the range that was asked for")
        raise Changed(f"{url} has another file")

    async def _take(self, flight: Flight, answer: Answer, url: str) -> None:
        """The flight's bytes into the target, as far as nobody else was quicker. A part with a digest of its own is checked before it is
        written."""
        fields = [line for line in answer.exchange.fields if line[0].lower() == b"content-digest"]
        verifier, unproven = (Verifier(fields), bytearray()) if fields else (None, None)
        position = flight.at
        async for chunk in answer.chunks():
            await self._target.room()
            position += len(chunk)
            self._tally.received(url, len(chunk))
            if position > flight.end:
                raise Useless(f"{url} sends more than it announced")
            if verifier is None or unproven is None:
                self._write(flight, chunk)
            else:
                verifier.update(chunk)
                unproven += chunk
            if self._plan.is_over(flight):
                return
        if position < flight.end:
            raise SourceFailed(f"{url} ended early")
        if verifier is not None and unproven is not None:
            if not verifier.fits():
                raise Useless(f"{url} sends bytes that do not fit their digest")
            self._write(flight, bytes(unproven))

    def _write(self, flight: Flight, data: bytes) -> None:
        self._target.write(flight.at, data)
        for rival in self._plan.moved(flight, len(data), time.monotonic()):
            self._tasks[rival].cancel()
        if self._plan.is_done:
            self._happened.set()
