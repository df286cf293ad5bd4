"""The bytes of a fill on their way into its body, chunk by chunk, from one supplier after the other."""

from __future__ import annotations

from minicdn.core.conditional import strong_validator
from minicdn.core.counters import Counters
from minicdn.core.digests import Verifier
from minicdn.errors import BodyGone, BrokenBody, DiskError, PeerError, UpstreamError
from minicdn.node.fill import Fill
from minicdn.node.reading import let_come, skip
from minicdn.node.supply import Part, Supply
from minicdn.node.wanted import range_value
from minicdn.store.body import Body
from minicdn.store.shelf import Shelf


class Streaming:
    """Of a node."""

    def __init__(self, shelf: Shelf, counters: Counters) -> None:
        self._shelf = shelf
        self._counters = counters

    async def ask(self, fill: Fill, part: Part | None) -> Supply:
        """The first supplier that can be talked to answers; those that can't are not asked again by this fill."""
        while True:
            ask = fill.suppliers[0]
            asked, fill.asked = fill.asked, None
            try:
                return await ask(fill.request, fill.held if part is None else None, part, fill.may_deal and part is fill.part, asked)
            except PeerError:
                if len(fill.suppliers) == 1:
                    raise
                del fill.suppliers[0]

    async def stream(self, fill: Fill, supply: Supply, body: Body) -> Supply:
        """All bytes into the body that it lacks, from as many suppliers as it takes. Returns the last one, for closing."""
        position = supply.offset
        end = supply.end if supply.end is not None else supply.length
        let_come(supply, None if end is None else end - position, is_piece=fill.span is not None and fill.is_wanted)
        shift = position if fill.span is None else 0  # a part that is passed on alone is a body of its own
        verifier = Verifier(supply.head.fields if supply.end is None and fill.request.method == "GET" else ())
        # An owner that passes on a 206 counts from the part's first byte, and nobody else would know where that is.
        is_counted = supply.end is not None or supply.head.status != 206
        while True:
            try:
                async for chunk in skip(supply.arriving.chunks, position - supply.offset):
                    await self.write(fill, body, position - shift, chunk)
                    position += len(chunk)
                    verifier.update(chunk)
                    if fill.span is not None and body.is_whole:
                        return supply  # others have brought the rest, and the file may be deleted at any time now
                if end is not None and position != end:
                    raise PeerError("the body ended early") if supply.source == "peer" else UpstreamError("the body ended early")
                if not verifier.fits():
                    raise UpstreamError("the body does not fit its digest")
                return supply
            except PeerError as error:
                await supply.close()
                supply = await self._ask_on(fill, body, position, end, error, is_counted=is_counted)
            except BaseException:
                await supply.close()  # the caller knows the first supplier only
                raise

    async def write(self, fill: Fill, body: Body, position: int, chunk: bytes) -> None:
        if not self._shelf.has_room_for(body, position + len(chunk)):
            self._relay(fill, body)
        await body.wait_room()
        try:
            body.write(position, chunk)
        except DiskError as error:
            if not isinstance(error, BodyGone):
                self._counters.add("disk_errors_count")
            self._relay(fill, body)
            body.write(position, chunk)

    def _relay(self, fill: Fill, body: Body) -> None:
        """It can't be kept after all: who reads it now gets the rest through a window, nobody else may join."""
        if fill.span is not None:
            body.is_refused = True
            raise BrokenBody("this part can no longer be kept here")
        assert fill.entry is not None
        self._shelf.withdraw(fill.entry)
        body.relay_from_here(lambda: fill.waiting_count > 0)
        fill.look_whether_wanted()  # only what is kept may go on for nobody

    async def _ask_on(self, fill: Fill, body: Body, position: int, end: int | None, error: PeerError, *, is_counted: bool) -> Supply:
        assert fill.entry is not None
        validator = strong_validator(fill.entry.head)
        if validator is None or len(fill.suppliers) < 2 or not is_counted:
            raise BrokenBody(f"{error}, and nobody can go on with it")
        del fill.suppliers[0]
        length = body.length if fill.span is not None or end is None else end
        rest = range_value(position, end, length) if end is not None else b"bytes=%d-" % position
        supply = await self.ask(fill, Part(rest, validator))
        is_same = strong_validator(supply.head) == validator and supply.head.status == 200 and supply.offset <= position
        if not is_same or (supply.length is not None and body.length is not None and body.is_kept and supply.length != body.length):
            await supply.close()
            raise BrokenBody(f"{error}, and the next supplier has another version")
        return supply
