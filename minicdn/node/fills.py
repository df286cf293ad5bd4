"""The dock: one fill per key and variant, whoever asks. A fill belongs to the node; clients come and go.

A fill asks its suppliers in order (the owners as this node ranks them, then the upstream), publishes an outcome as soon as the head is
there, and streams the body. From the head on, a body that may be kept stands on the shelf, so later requests find it there
and read along: hit and join share one way.

Who is left waiting decides about a fill that nobody reads any more: it goes on when its length is known and half of it, or all but
LITTLE_LEFT_BYTES, is there, or when the node itself wanted it (a refresh); otherwise it is abandoned at once.

When an owner dies in mid-body, the fill goes on with the next supplier from the byte it has reached, if the body has a strong
validator and the other has the very same; if not, the body breaks and its clients are cut off.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from minicdn.core.conditional import strong_validator
from minicdn.core.counters import Counters
from minicdn.core.decide import may_serve_on_error
from minicdn.core.freshness import Policy, Stored, apply_head, fits, freshen
from minicdn.core.message import Request
from minicdn.core.vary import fits as fits_variant
from minicdn.errors import BrokenBody, ClientError, DiskError, MinicdnError, PeerError, UpstreamError
from minicdn.node.clock import Clock
from minicdn.node.suppliers import Continuation, Kind, Supply
from minicdn.store.body import Body, Reader
from minicdn.store.entry import Entry
from minicdn.store.shelf import Shelf

LITTLE_LEFT_BYTES = 8 * 1024 * 1024
SERVER_ERRORS = (500, 502, 503, 504)

Ask = Callable[[Request, Entry | None, Continuation | None], Coroutine[Any, Any, Supply]]
"""A supplier, bound to whom it asks."""


@dataclass(slots=True)
class Outcome:
    """What a fill came to, known with the head. entry: to be served. is_private: for the one who started the fill only.
    error: instead of an entry. source: `peer`, `upstream`, or the entry's own medium where it was confirmed."""

    entry: Entry | None = None
    is_private: bool = False
    is_stale: bool = False
    is_confirmed: bool = False
    source: str = "none"
    status: int = 0
    error: MinicdnError | None = None
    detail: str = ""


class Fill:
    """One fill under way."""

    def __init__(self, request: Request, held: Entry | None, suppliers: list[Ask], *, is_wanted: bool, is_hot: bool) -> None:
        self.request = request
        self.held = held
        self.suppliers = suppliers
        self.is_wanted = is_wanted
        self.is_hot = is_hot
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.waiting_count = 0
        self.entry: Entry | None = None
        self.task: asyncio.Task[None] | None = None

    async def wait_outcome(self) -> Outcome:
        """Everybody waits like this, the first as well; a waiter's own cancellation is nobody else's. The caller opens its reader
        before it awaits anything again, and calls release()."""
        self.waiting_count += 1
        try:
            return await asyncio.shield(self.outcome)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """A waiter has its reader now, or is gone."""
        self.waiting_count -= 1
        self.look_whether_wanted()

    def look_whether_wanted(self) -> None:
        if self.entry is not None and not self.waiting_count and self.entry.body.is_filling and not self._goes_on(self.entry.body):
            assert self.task is not None
            self.task.cancel()

    def _goes_on(self, body: Body) -> bool:
        if body.reader_count:
            return True
        if not body.is_kept:
            return False
        if self.is_wanted:
            return True
        done = body.have.total_bytes
        return body.length is not None and body.length - done <= max(LITTLE_LEFT_BYTES, done)


class Dock:
    """All fills of a node."""

    def __init__(self, shelf: Shelf, clock: Clock, counters: Counters, policy: Callable[[], Policy]) -> None:
        self._shelf = shelf
        self._clock = clock
        self._counters = counters
        self._policy = policy
        self._flights: dict[object, Fill] = {}
        self._fills: set[Fill] = set()
        self._filling: dict[Body, Fill] = {}

    @property
    def fills_count(self) -> int:
        return len(self._fills)

    def find(self, flight: object) -> Fill | None:
        """The fill under way of this (key, variant), until its head is there."""
        return self._flights.get(flight)

    def fill_of(self, body: Body) -> Fill | None:
        return self._filling.get(body)

    def start(
        self,
        request: Request,
        held: Entry | None,
        suppliers: list[Ask],
        *,
        flight: object | None,
        is_wanted: bool = False,
        is_hot: bool = False,
    ) -> Fill:
        """flight: what others may join it by; None: nobody may."""
        fill = Fill(request, held, suppliers, is_wanted=is_wanted, is_hot=is_hot)
        self._fills.add(fill)
        if flight is not None:
            self._flights[flight] = fill
            fill.outcome.add_done_callback(lambda _: self._flights.pop(flight) if self._flights.get(flight) is fill else None)
        fill.task = asyncio.get_running_loop().create_task(self._run(fill), name=f"fill {request.key}")
        fill.task.add_done_callback(lambda _: self._ended(fill))
        return fill

    async def stop(self) -> None:
        """Abandon everything."""
        tasks = [fill.task for fill in self._fills if fill.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def reader_left(self, body: Body) -> None:
        """Called when somebody stopped reading."""
        fill = self._filling.get(body)
        if fill is not None:
            fill.look_whether_wanted()

    def _ended(self, fill: Fill) -> None:
        """However a fill ends, nobody is left waiting for it."""
        self._fills.discard(fill)
        if not fill.outcome.done():
            fill.outcome.set_result(Outcome(error=UpstreamError("the download was given up")))

    async def _run(self, fill: Fill) -> None:
        try:
            await self._fill(fill)
        except asyncio.CancelledError:
            self._counters.add("fills_abandoned_count")
            self._break(fill, "the download was given up")
        except (UpstreamError, ClientError, PeerError, BrokenBody, DiskError) as error:
            self._fail(fill, error)
        except Exception as error:  # a bug of ours must not leave waiters behind; it is reported by whoever serves the outcome
            self._fail(fill, UpstreamError(f"internal error: {type(error).__name__}: {error}"))
            raise

    async def _fill(self, fill: Fill) -> None:
        try:
            supply = await self._ask(fill, None)
        except UpstreamError as error:
            if not self._serve_stale(fill, str(error), 0):
                raise
            return
        try:
            if supply.head.status in SERVER_ERRORS and self._serve_stale(fill, f"the upstream answered {supply.head.status}", supply.head.status):
                return
            if supply.kind is Kind.UNCHANGED:
                self._confirm(fill, supply)
                return
            body = self._receive(fill, supply)
            supply = await self._stream(fill, supply, body)
            body.finish()
            self._keep(fill, body)
        finally:
            await _close(supply)

    async def _ask(self, fill: Fill, go_on: Continuation | None) -> Supply:
        """The first supplier that can be talked to answers; those that can't are not asked again by this fill."""
        while True:
            ask = fill.suppliers[0]
            try:
                return await ask(fill.request, fill.held if go_on is None else None, go_on)
            except PeerError:
                if len(fill.suppliers) == 1:
                    raise
                del fill.suppliers[0]

    def _serve_stale(self, fill: Fill, reason: str, status: int) -> bool:
        held = fill.held
        if held is None or held.stored is None or not may_serve_on_error(fill.request, held.stored, self._clock.wall(), self._policy()):
            return False
        fill.outcome.set_result(Outcome(held, is_stale=True, source=held.body.medium, status=status, detail=reason))
        return True

    def _confirm(self, fill: Fill, supply: Supply) -> None:
        held = fill.held
        if held is None or held.stored is None:
            raise UpstreamError("a 304 that nobody asked for")
        stored = supply.stored
        if supply.source == "upstream":
            stored = held.stored
            if fits(held.stored, supply.head):
                stored = freshen(held.stored, supply.head, supply.request_at, supply.response_at, self._policy(), fill.request)
            self._counters.add("revalidations_count")
        if stored is None:
            raise UpstreamError("a confirmation without facts")
        self._shelf.restate(held, stored)
        fill.outcome.set_result(Outcome(held, is_confirmed=True, source=held.body.medium, status=304, detail=supply.detail))

    def _receive(self, fill: Fill, supply: Supply) -> Body:
        """The head is there: publish it, with a body that will fill."""
        is_get = fill.request.method == "GET"
        if not is_get:
            self._apply_head(fill, supply)
        is_kept = supply.kind is Kind.FOUND and is_get
        body = self._shelf.new_body(fill.request.key, supply.length, is_kept=is_kept)
        entry = Entry(fill.request.key, supply.head, supply.stored, body, is_hot=fill.is_hot and supply.source == "peer")
        fill.entry = entry
        self._filling[body] = fill
        if is_kept and body.is_kept:
            self._shelf.begin(entry)
        is_private = not (is_kept and body.is_kept) and is_get
        fill.outcome.set_result(
            Outcome(entry, is_private=is_private, source=supply.source, status=supply.head.status, detail=supply.detail)
        )
        return body

    def _apply_head(self, fill: Fill, supply: Supply) -> None:
        """HEAD brings news of what is stored for GET (RFC 9111 §4.3.5)."""
        held = fill.held
        if held is not None and held.stored is not None:
            policy = self._policy()
            news = apply_head(held.stored, supply.head, supply.request_at, supply.response_at, policy, fill.request)
            self._shelf.restate(held, news)

    async def _stream(self, fill: Fill, supply: Supply, body: Body) -> Supply:
        """All bytes into the body, from as many suppliers as it takes. Returns the last one, for closing."""
        position = 0
        while True:
            try:
                async for chunk in _skip(supply.chunks, position - supply.offset):
                    await self._write(body, position, chunk)
                    position += len(chunk)
                if supply.length is not None and position != supply.length:
                    raise PeerError("the body ended early") if supply.source == "peer" else UpstreamError("the body ended early")
                return supply
            except PeerError as error:
                await _close(supply)
                supply = await self._go_on(fill, body, position, error)

    async def _write(self, body: Body, position: int, chunk: bytes) -> None:
        if not self._shelf.has_room_for(body, position + len(chunk)):
            self._relay(body)
        await body.wait_room()
        try:
            body.write(position, chunk)
        except DiskError:
            self._counters.add("disk_errors_count")
            self._relay(body)
            body.write(position, chunk)

    def _relay(self, body: Body) -> None:
        """It can't be kept after all: who reads it now gets the rest through a window, nobody else may join."""
        fill = self._filling[body]
        assert fill.entry is not None
        self._shelf.withdraw(fill.entry)
        body.relay_from_here()

    async def _go_on(self, fill: Fill, body: Body, position: int, error: PeerError) -> Supply:
        assert fill.entry is not None
        validator = strong_validator(fill.entry.head)
        if validator is None or len(fill.suppliers) < 2:
            raise BrokenBody(f"{error}, and nobody can go on with it")
        del fill.suppliers[0]
        supply = await self._ask(fill, Continuation(position, validator))
        is_same = strong_validator(supply.head) == validator and supply.head.status in (200, 206) and supply.offset <= position
        if not is_same or (supply.length is not None and body.length is not None and supply.length != body.length):
            await _close(supply)
            raise BrokenBody(f"{error}, and the next supplier has another version")
        return supply

    def _keep(self, fill: Fill, body: Body) -> None:
        self._filling.pop(body, None)
        assert fill.entry is not None
        if fill.entry.stored is not None and body.is_kept and fill.request.method == "GET":
            self._shelf.keep(fill.entry)
        else:
            self._shelf.drop(body)

    def _fail(self, fill: Fill, error: MinicdnError) -> None:
        if not fill.outcome.done():
            fill.outcome.set_result(Outcome(error=error))
        self._break(fill, str(error))

    def _break(self, fill: Fill, reason: str) -> None:
        entry = fill.entry
        if entry is not None and entry.body.is_filling:
            self._counters.add("broken_bodies_count")
            self._filling.pop(entry.body, None)
            self._shelf.withdraw(entry)
            entry.body.fail(reason)
            self._shelf.drop(entry.body)


def may_join(request: Request, outcome: Outcome) -> bool:
    """Whether the answer to one request may answer another: it may be shared, and is the right variant."""
    if outcome.is_private:
        return False
    stored: Stored | None = outcome.entry.stored if outcome.entry is not None else None
    return stored is None or fits_variant(request.fields, stored)


async def _skip(chunks: AsyncIterator[bytes], count: int) -> AsyncIterator[bytes]:
    """The chunks without their first `count` bytes."""
    async for chunk in chunks:
        if count >= len(chunk):
            count -= len(chunk)
            continue
        yield chunk[count:] if count else chunk
        count = 0


async def _close(supply: Supply) -> None:
    await supply.chunks.aclose()  # type: ignore[attr-defined]
    await supply.close()


class FollowingReader:
    """A reader that tells the dock when it leaves, so that nobody fills for nobody."""

    __slots__ = ("_body", "_dock", "_reader")

    def __init__(self, dock: Dock, body: Body, reader: Reader) -> None:
        self._dock, self._body, self._reader = dock, body, reader

    @property
    def position(self) -> int:
        return self._reader.position

    async def next(self) -> bytes:
        return await self._reader.next()

    def close(self) -> None:
        self._reader.close()
        self._dock.reader_left(self._body)
