"""The dock: one fill per key and variant, whoever asks. A fill belongs to the node; clients come and go.

A fill asks its suppliers in order (the owners as this node ranks them, then the upstream), publishes an outcome as soon as the head is
there, and streams the body. From the head on, a body that may be kept stands on the shelf: hit and join share one way.

A fill of a part writes its span into the partial body on the shelf, where both have the same strong validator, or begins one.

When an owner dies in mid-body, the fill goes on with the next supplier from the byte it has reached, if both have the very same strong
validator; if not, the body breaks and its clients are cut off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from minicdn.core.counters import Counters
from minicdn.core.decide import is_failure, may_serve_on_error
from minicdn.core.freshness import Policy
from minicdn.core.purging import Purge
from minicdn.errors import BrokenBody, ClientError, DiskError, PeerError, UpstreamError
from minicdn.node.clock import Clock
from minicdn.node.fill import Fill, FlightKey, Outcome
from minicdn.node.flights import Flights
from minicdn.node.reading import WIDE_BYTES, check, let_come, take_whole
from minicdn.node.receiving import Receiving, is_about_another, publish
from minicdn.node.streaming import Streaming
from minicdn.node.suppliers import is_early_news
from minicdn.node.supply import FOUND, UNCHANGED, Supply
from minicdn.node.swarms import Swarms
from minicdn.node.told import Echoes, Told
from minicdn.store.body import Body
from minicdn.store.entry import Entry
from minicdn.store.shelf import Shelf

EXPECTED = (UpstreamError, ClientError, PeerError, BrokenBody, DiskError)


class Dock:
    """All fills of a node."""

    def __init__(self, shelf: Shelf, clock: Clock, counters: Counters, policy: Callable[[], Policy]) -> None:
        self._shelf = shelf
        self._clock = clock
        self._counters = counters
        self._policy = policy
        self._receiving = Receiving(shelf, clock, counters, policy)
        self._streaming = Streaming(shelf, counters)
        self._flights = Flights()
        self.find, self.find_same = self._flights.find, self._flights.same
        self._fills: dict[Fill, None] = {}
        self._filling: dict[Body, list[Fill]] = {}
        self._echoes = Echoes(clock.monotonic)
        self.swarms: Swarms | None = None
        self.on_replaced: Callable[[str], None] = lambda key: None
        """Called for a key whose body was replaced before the old one's time."""

    @property
    def fills_count(self) -> int:
        return len(self._fills)

    def fill_of(self, body: Body) -> Fill | None:
        """A fill that is writing into the body now."""
        fills = self._filling.get(body)
        return fills[0] if fills else None

    def start(self, fill: Fill, flight: FlightKey | None = None) -> Fill:
        """flight: what others may join it by; None: nobody may."""
        fill.told = Told(self._echoes.audible())
        self._fills[fill] = None
        if flight is not None:
            fill.flight = flight
            self._flights.add(flight, fill)
            fill.on_answered = self._flights.answered
        if fill.held is None and fill.part is None and fill.base is None:
            try:
                fill.asked = fill.suppliers[0].begin(fill.request, fill.may_deal, partial(self._came, fill))
            except BaseException:  # a bug must not leave a fill behind that others join
                self._ended(fill)
                raise
        if fill.asked is None:
            self._go_on(fill)
        return fill

    def _go_on(self, fill: Fill, supply: Supply | None = None, body: Body | None = None) -> None:
        """In a task, from wherever it is."""
        fill.task = asyncio.get_running_loop().create_task(self._run(fill, supply, body), name=f"fill {fill.request.key}")
        fill.task.add_done_callback(partial(self._done, fill, supply))

    def _done(self, fill: Fill, supply: Supply | None, task: asyncio.Task[None]) -> None:
        if task.cancelled():  # before its first step, so that nothing in it has given back what it was to go on with
            self._counters.add("fills_abandoned_count")
            self._break(fill, "the download was given up")
            if supply is not None:
                supply.arriving.end()
            elif fill.asked is not None:
                fill.asked.give_up()
        self._ended(fill)

    def _came(self, fill: Fill) -> None:
        """Something has come of what was asked without a task. Where it is all of a small body, none is needed: what a task would do for
        it is done here, at once."""
        asked = fill.asked
        if fill not in self._fills or asked is None:
            return
        supply = None
        try:
            supply = asked.all(fill.request)
            if supply is None:
                self._go_on(fill)
                return
            fill.asked = None
            if supply.kind is UNCHANGED or (self.swarms is not None and self.swarms.is_for(fill, supply)):
                self._go_on(fill, supply)
            elif not self._put(fill, supply):
                body = self._receive(fill, supply)
                if not self._take_all(fill, supply, body):
                    self._go_on(fill, supply, body)
        except Exception as error:
            self._fail(fill, error)
            if not isinstance(error, EXPECTED):
                raise
        finally:
            if fill.task is None:
                (supply.arriving.end if supply is not None else asked.give_up)()
                self._ended(fill)
            fill.call()

    def _put(self, fill: Fill, supply: Supply) -> bool:
        """What comes to the same as _receive() and _take_all(), of a small whole answer to be kept where nothing else is, and of which no
        purge has spoken. False, with nothing done, where it is any other."""
        request, stored = fill.request, supply.stored
        is_whole = supply.kind is FOUND and supply.end is None and not supply.offset and stored is not None
        if not is_whole or request.method != "GET" or not (fill.may_keep and fill.told.is_nothing):
            return False
        if not self._shelf.may_put(request.key, supply.length):
            return False
        whole = supply.arriving.take_whole()
        if whole is None:
            return False
        if len(whole) != supply.length:
            raise UpstreamError("the body ended early")
        check(supply, whole)
        entry = fill.entry = Entry(request.key, supply.head, stored, Body.of(whole), fill.is_hot and supply.source == "peer")
        self._shelf.put(entry)
        publish(fill, supply, entry)
        return True

    def tell(self, purge: Purge, echoes: bool) -> None:
        """A purge has begun: what fills without a head may yet receive is out of date already, and who asks from now on must not join
        them. echoes: other nodes may not know of it yet."""
        if echoes:
            self._echoes.add(purge)
        for fill in self._fills:
            if fill.outcome is None and purge.may_match(fill.request.key):
                fill.told.add(purge)
        self._flights.forget(purge)

    async def stop(self) -> None:
        """Abandon everything."""
        for fill in [fill for fill in self._fills if fill.task is None]:
            assert fill.asked is not None
            fill.asked.give_up()
            self._counters.add("fills_abandoned_count")
            self._ended(fill)
            fill.call()
        tasks = [fill.task for fill in self._fills if fill.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def keep_filling(self, body: Body) -> None:
        """Though nobody reads it now."""
        for fill in self._filling.get(body, ()):
            fill.is_wanted = True

    def let_go(self, body: Body) -> None:
        """Whether they go on is their readers' affair again."""
        for fill in list(self._filling.get(body, ())):
            fill.is_wanted = False
            fill.look_whether_wanted()

    def reader_left(self, body: Body) -> None:
        """Called when somebody stopped reading."""
        for fill in list(self._filling.get(body, ())):
            fill.look_whether_wanted()
        if self.swarms is not None:
            self.swarms.reader_left(body)

    def _ended(self, fill: Fill) -> None:
        """However a fill ends, nobody is left waiting for it."""
        self._fills.pop(fill, None)
        if fill.outcome is None:
            fill.publish(Outcome(error=UpstreamError("the download was given up")))

    async def _run(self, fill: Fill, supply: Supply | None, body: Body | None) -> None:
        """supply, body: as far as it has come without a task."""
        try:
            await self._fill(fill, supply, body)
        except asyncio.CancelledError:
            self._counters.add("fills_abandoned_count")
            self._break(fill, "the download was given up")
        except Exception as error:
            self._fail(fill, error)
            if not isinstance(error, EXPECTED):
                raise

    async def _fill(self, fill: Fill, supply: Supply | None, body: Body | None) -> None:
        try:
            supply = supply or await self._ask_of_held(fill)
        except UpstreamError as error:
            if not self._serve_stale(fill, str(error), 0):
                raise
            return
        try:
            if body is not None:
                fill.look_whether_wanted()  # who waited may have left before there was a task to be ended
                supply = await self._streaming.stream(fill, supply, body)
                self._complete(fill, body)
                return
            status = supply.head.status
            if is_failure(status) and self._serve_stale(fill, f"the upstream answered {status}", status):
                return
            if supply.kind is UNCHANGED and not is_about_another(fill, supply):
                self._receiving.confirm(fill, supply)
                return
            if supply.kind is UNCHANGED:
                await supply.close()
                fill.held = None  # that 304 helps nobody: ask without a condition
                supply = await self._streaming.ask(fill, fill.part)
            if (whole := self._receiving.whole_now(fill, supply)) is not None:
                publish(fill, supply, whole)
                return
            if self.swarms is not None and self.swarms.is_for(fill, supply):
                if self._deal(fill, supply, self.swarms):
                    await self._stream_first(fill, supply)
                    return
                fill.may_deal = False  # no room to keep it: then it is passed on as it comes
                if supply.deal is not None:
                    await supply.close()
                    supply = await self._streaming.ask(fill, fill.part)
            body = self._receive(fill, supply)
            if not self._take_all(fill, supply, body):
                supply = await self._streaming.stream(fill, supply, body)
                self._complete(fill, body)
        finally:
            await supply.close()

    def _take_all(self, fill: Fill, supply: Supply, body: Body) -> bool:
        """A small body that is here with its head. False where it has to be read."""
        if fill.span is not None or not take_whole(supply, body, is_get=fill.request.method == "GET"):
            return False
        self._complete(fill, body)
        return True

    async def _ask_of_held(self, fill: Fill) -> Supply:
        """What is confirmed may have left the shelf meanwhile (no room, a hard purge): then it is asked for anew."""
        supply = await self._streaming.ask(fill, fill.part)
        if supply.kind is UNCHANGED and fill.held is not None and not self._is_there(fill.held):
            await supply.close()
            fill.held, fill.told = None, Told(self._echoes.audible())
            supply = await self._streaming.ask(fill, fill.part)
        return supply

    def _is_there(self, entry: Entry) -> bool:
        return entry in self._shelf.find(entry.key)

    def _serve_stale(self, fill: Fill, reason: str, status: int) -> bool:
        held = fill.held
        if held is None or held.stored is None or not self._is_there(held):
            return False
        if not may_serve_on_error(fill.request, held.stored, self._clock.wall(), self._policy()):
            return False
        fill.publish(Outcome(held, is_stale=True, source=held.body.medium, status=status, detail=reason))
        return True

    def _receive(self, fill: Fill, supply: Supply) -> Body:
        """The head is there: publish it, with a body that will fill."""
        is_get = fill.request.method == "GET"
        if not is_get:
            self._receiving.apply_head(fill, supply)
        self._receiving.settle(fill, supply)
        is_part = supply.end is not None and supply.kind is FOUND
        entry = self._receiving.part_entry(fill, supply) if is_part and fill.may_keep and not fill.is_gone else None
        if entry is None:
            entry = self._receiving.whole_entry(fill, supply)
        fill.entry = entry
        self._filling.setdefault(entry.body, []).append(fill)
        is_private = is_get and not (entry.stored is not None and entry.body.is_kept)
        publish(fill, supply, entry, is_private=is_private)
        return entry.body

    def _deal(self, fill: Fill, supply: Supply, swarms: Swarms) -> bool:
        """The head is there: publish it, with a body that a swarm will fill, as far as anybody wants it. False where it can't be kept."""
        self._receiving.settle(fill, supply)
        entry = None if fill.is_gone else self._receiving.partial_entry(fill, supply)
        if entry is None:
            return False
        if supply.deal is not None:
            is_dealt = swarms.begin(entry, fill.request, supply.deal) is not None
        else:
            fill.span = swarms.begin_first(entry, fill.request, supply)
            is_dealt = fill.span is not None
        if not is_dealt:
            self._shelf.remove(entry)
            return False
        fill.entry = entry
        if fill.span is not None:
            fill.is_wanted = entry.body not in swarms.streams
            self._filling.setdefault(entry.body, []).append(fill)
        publish(fill, supply, entry)
        return True

    async def _stream_first(self, fill: Fill, supply: Supply) -> None:
        """Of an answer that was to bring all, what is to come here first; the rest comes from its owners."""
        if fill.span is None:
            return
        assert fill.entry is not None and self.swarms is not None
        body, (position, end) = fill.entry.body, fill.span
        stop = end
        if end - position > WIDE_BYTES:
            let_come(supply, end - position)
        try:  # what is left unread of the answer is lost as far as it is under way: less than asking again would cost
            async for chunk in supply.arriving.chunks:
                await self._streaming.write(fill, body, position, chunk[: stop - position])
                position += len(chunk)
                if position >= stop:
                    break
                stop = stop if stop < end else self.swarms.stop_of(body, position, end, supply.arriving.narrow)
        finally:
            self.swarms.no_longer_arriving(body, fill.span)
        if position < stop:
            raise UpstreamError("the body ended early")
        if stop < end:
            self._stopped_filling(fill, body)
            self.swarms.part_ended(body, *fill.span)
            return
        self._complete(fill, body)

    def _complete(self, fill: Fill, body: Body) -> None:
        """All of it has come."""
        self._stopped_filling(fill, body)
        assert fill.entry is not None
        if fill.span is not None:
            if body.is_partial and body.have.covers(0, body.length or 0):
                body.finish()
                self._shelf.completed(fill.entry)
            body.ended(*fill.span)
            return
        body.finish()
        if not fill.entry.is_hot and is_early_news(fill.entry, self._shelf.find(fill.entry.key), self._clock.wall()):
            self.on_replaced(fill.entry.key)
        if fill.is_gone:
            fill.when_nobody_waits(lambda: self._shelf.drop(body))
        elif fill.entry.stored is not None and body.is_kept and fill.request.method == "GET":
            self._shelf.keep(fill.entry)
        else:
            self._shelf.drop(body)

    def _stopped_filling(self, fill: Fill, body: Body) -> None:
        fills = self._filling.get(body, [])
        if fill in fills:
            fills.remove(fill)
        if not fills:
            self._filling.pop(body, None)

    def _fail(self, fill: Fill, error: Exception) -> None:
        """A bug of ours must not leave waiters behind, either; it is reported by whoever serves the outcome."""
        if not isinstance(error, EXPECTED):
            error = UpstreamError(f"internal error: {type(error).__name__}: {error}")
        if fill.outcome is None:
            fill.publish(Outcome(error=error))
        self._break(fill, str(error))

    def _break(self, fill: Fill, reason: str) -> None:
        entry = fill.entry
        if entry is None or fill not in self._filling.get(entry.body, ()):
            return
        self._counters.add("broken_bodies_count")
        self._stopped_filling(fill, entry.body)
        if fill.span is not None:
            (self.swarms.part_ended if self.swarms is not None else Body.ended)(entry.body, *fill.span)
            if not entry.body.have.total_bytes and not entry.body.is_filling:
                self._shelf.remove(entry)
            return
        self._shelf.withdraw(entry)
        entry.body.fail(reason)
        self._shelf.drop(entry.body)
