"""One fill: who waits for it, what it came to, and whether it is still wanted.

A fill that nobody waits for or reads any more goes on when it can be kept and little or less than half of it is left, or when the node
itself wanted it (a refresh); otherwise it is abandoned at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from minicdn.core.freshness import Stored
from minicdn.core.message import Request
from minicdn.core.vary import fits as fits_variant
from minicdn.errors import ClientError, MinicdnError, NotReady, UpstreamError
from minicdn.node.supply import Part, Supply
from minicdn.node.told import Told
from minicdn.node.wanted import missing_spans, range_value
from minicdn.store.body import Body
from minicdn.store.entry import Entry

LITTLE_LEFT_BYTES = 8 * 1024 * 1024


class Asked(Protocol):
    """A question under way for which no task waits (Ask.begin)."""

    def all(self, request: Request) -> Supply | None:
        """Once something has come: the answer, where it is here with all of its bytes; None: who was asked goes on with it, in a task."""

    def give_up(self) -> None:
        """Nobody wants to hear of it."""


class Ask:
    """A supplier, bound to whom it asks."""

    __slots__ = ()

    async def __call__(self, request: Request, held: Entry | None, part: Part | None, may_deal: bool, asked: Any = None) -> Supply:
        """may_deal: a deal will do for an answer. asked: what begin() gave, to be gone on with. Raises UpstreamError and ClientError;
        PeerError where the next supplier may be asked."""
        raise NotImplementedError

    def begin(self, request: Request, may_deal: bool, came: Callable[[], None]) -> Asked | None:
        """Ask for a whole body, where no time is lost by it, without a task: `came` is called once, not within this call, when all of the
        answer is here, or its head, or when there is none. None: it has to be asked in a task."""
        return None


FlightKey = tuple[str, str, object, bool, bytes | None]
"""By what a fill is joined: method, key, variant, whether owners are asked, and the Range of a part."""


@dataclass(slots=True)
class Outcome:
    """What a fill came to, known with the head. entry: to be served. is_private: for the one who started the fill only.
    error: instead of an entry. member: the owner's in Cache-Status. source: `peer`, `upstream`, or the entry's own medium where it
    was confirmed."""

    entry: Entry | None = None
    is_private: bool = False
    is_stale: bool = False
    is_confirmed: bool = False
    source: str = "none"
    status: int = 0
    error: MinicdnError | None = None
    detail: str = ""
    member: bytes | None = None


class Fill:
    """One fill under way. What stands in the class is what it begins with."""

    span: tuple[int, int] | None = None
    outcome: Outcome | None = None
    on_answered: Callable[[Fill], None] | None = None
    """Called with the outcome, before anybody who waits."""
    flight: FlightKey | None = None
    asked: Asked | None = None
    told: Told
    """From the start on."""
    is_gone = False
    """A hard purge came before the head: only those who wait get it."""
    waiting_count = 0
    entry: Entry | None = None
    task: asyncio.Task[None] | None = None
    _future: asyncio.Future[Outcome] | None = None
    _acts: list[Callable[[], None]] | None = None
    _when_left: Callable[[], None] | None = None
    _held: Body | None = None

    def __init__(
        self,
        request: Request,
        held: Entry | None,
        suppliers: list[Ask],
        *,
        is_wanted: bool = False,
        is_hot: bool = False,
        part: Part | None = None,
        base: Entry | None = None,
        may_deal: bool = False,
        may_keep: bool = True,
    ) -> None:
        """held: what is stored, for validation. part: only this much is asked for. base: the partial entry that it completes. may_deal: a
        large body may come in pieces, by a swarm. may_keep: what comes may be stored, if it may be at all."""
        self.request = request
        self.held = held
        self.suppliers = suppliers
        self.part = part
        self.base = base
        self.may_deal = may_deal
        self.may_keep = may_keep
        self.is_wanted = is_wanted
        self.is_hot = is_hot

    def join(self) -> None:
        """One more waits for it: until wait_outcome(is_joined=True) has ended, and release() was called."""
        self.waiting_count += 1

    async def wait_outcome(self, *, is_joined: bool = False) -> Outcome:
        """Everybody waits like this, the first as well; a waiter's own cancellation is nobody else's. The caller opens its reader
        before it awaits anything again, and calls release()."""
        if not is_joined:
            self.join()
        try:
            return self.outcome or await self._coming()
        except BaseException:
            self.release()
            raise

    def _coming(self) -> asyncio.Future[Outcome]:
        if self._future is None:
            self._future = asyncio.get_running_loop().create_future()
        return asyncio.shield(self._future)

    def when_answered(self, act: Callable[[], None]) -> None:
        """To be called when the outcome is there, and all that has come with it is in its place; for who has joined without a task."""
        if self._acts is None:
            self._acts = []
        self._acts.append(act)

    def not_when_answered(self, act: Callable[[], None]) -> None:
        if self._acts is not None and act in self._acts:
            self._acts.remove(act)

    def call(self) -> None:
        """Those of when_answered(); nobody as long as there is no outcome, since a task that goes on will have one."""
        while self._acts and self.outcome is not None:
            act = self._acts.pop(0)
            try:
                act()
            except Exception as error:  # a bug, and nobody else's affair
                asyncio.get_running_loop().call_exception_handler({"message": f"fill {self.request.key}", "exception": error})

    def release(self) -> None:
        """A waiter has its reader now, or is gone."""
        self.waiting_count -= 1
        if self.waiting_count:
            return
        if self._held is not None:
            held, self._held = self._held, None
            held.let_go()
        if self._when_left is not None:
            when_left, self._when_left = self._when_left, None
            when_left()
        if self.entry is not None and self.task is not None:  # without a task, all of it is here
            self.entry.body.moved()
            self.look_whether_wanted()

    def publish(self, outcome: Outcome) -> None:
        """For all who wait. Until each has its reader, what it is to read stays."""
        if outcome.entry is not None and self.waiting_count:
            self._held = outcome.entry.body
            self._held.hold()
        self.outcome = outcome
        if self.on_answered is not None:
            self.on_answered(self)
        if self._future is not None:
            self._future.set_result(outcome)
        if self._acts and self.task is not None:
            asyncio.get_running_loop().call_soon(self.call)

    def when_nobody_waits(self, act: Callable[[], None]) -> None:
        """Now, or when the last who waits has its reader."""
        if self.waiting_count:
            self._when_left = act
        else:
            act()

    def look_whether_wanted(self) -> None:
        if self.entry is None or self.waiting_count or self.task is None:  # without a task, all of it is here
            return
        if self.entry.body.is_filling and not self._goes_on(self.entry.body):
            self.task.cancel()

    def _goes_on(self, body: Body) -> bool:
        if body.reader_count:
            return True
        if not body.is_kept:
            return False
        if self.is_wanted:
            return True
        if self.span is not None:
            left = sum(end - start for start, end in body.have.gaps(*self.span))
            return left <= max(LITTLE_LEFT_BYTES, self.span[1] - self.span[0] - left)
        done = body.have.total_bytes
        return body.length is not None and body.length - done <= max(LITTLE_LEFT_BYTES, done)


async def wait_outcomes(fills: list[Fill]) -> list[Outcome]:
    """As wait_outcome(), of several: each of them is waited for from now on."""
    for fill in fills:
        fill.waiting_count += 1
    try:
        return [fill.outcome or await fill._coming() for fill in fills]
    except BaseException:
        for fill in fills:
            fill.release()
        raise


def parts_of(request: Request, entry: Entry, validator: bytes) -> list[Part]:
    """What a request wants of an entry that nobody brings as yet, each to be asked for."""
    return [Part(range_value(*gap, entry.body.length), validator) for gap in missing_spans(request, entry)]


def is_for_gap(entry: Entry) -> bool:
    """Whether an answer to a part of what a client wants is none to the client: it can't be kept, or the file is shorter by now."""
    return entry.head.status in (206, 416)


async def fill_gaps(start: Callable[[Part], Fill], lacking: Callable[[], list[Part]], entry: Entry) -> tuple[Fill, Outcome, bool]:
    """Fills of what an entry lacks. Returns the first of them, waited for, its outcome, and whether all are on their way into the entry.
    The first goes by itself: where the upstream has another version by now, or sends no parts, it answers with the whole. lacking: what
    nobody brings as yet; meanwhile others may have begun some of the rest."""
    fill = start(lacking()[0])
    first = await fill.wait_outcome()
    if first.entry is not entry:
        return fill, first, False
    try:
        others = [start(gap) for gap in lacking()]
        outcomes = await wait_outcomes(others)
    except BaseException:
        fill.release()
        raise
    for other in others:
        other.release()
    return fill, first, all(outcome.entry is entry for outcome in outcomes)


def may_join(request: Request, outcome: Outcome) -> bool:
    """Whether the answer to one request may answer another: it may be shared, and is the right variant."""
    if outcome.is_private:
        return False
    stored: Stored | None = outcome.entry.stored if outcome.entry is not None else None
    return stored is None or fits_variant(request.fields, stored)


def is_anothers(fill: Fill, outcome: Outcome, request: Request, part: Part | None) -> bool:
    """Whether what a fill came to is for others than this one, who has joined it for that part (None: the whole). Where another part could
    not be had this one may be; but an upstream that was silent is not waited for twice."""
    error = outcome.error
    if error is not None:
        return fill.part is not None and fill.part != part and not (isinstance(error, UpstreamError) and error.timed_out)
    return not may_join(request, outcome)


def again(error: MinicdnError) -> MinicdnError:
    """The same error for each who waits: one exception object raised in many tasks would grow a traceback of them all."""
    if isinstance(error, ClientError):
        return ClientError(error.status, error.reason)
    if isinstance(error, NotReady):
        return NotReady(str(error))
    if isinstance(error, UpstreamError):
        return UpstreamError(str(error), timed_out=error.timed_out, retry_after_seconds=error.retry_after_seconds)
    return UpstreamError(str(error))
