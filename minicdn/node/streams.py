"""Large files that their owner takes from the upstream in one answer, while the owners of its pieces take them from here, in file order.

The upstream is asked once, and its uplink carries one flow: where each owner of pieces asks for its own, some flows get a third of what
others get for seconds, and the slowest decides when all are done. What arrives here is passed on *first-hand*, and only that: whoever
owns a piece must never wait for this node while it waits for him.

A stream that comes much quicker than this node's uplink passes it on is *outrun*: it is left at the end of a piece, and the rest asked for
by those who own it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from minicdn.core.tracker import streaming_seconds
from minicdn.core.uplink import UplinkMeter
from minicdn.errors import BrokenBody
from minicdn.node.seeding import Seed
from minicdn.store.body import Body

OUTRUN = 0.5
"""Of the stream's rate. Slower than that, this node would be the last by far, where others are as quick as the stream."""
STREAMED_BYTES_MIN = 2 * 1024 * 1024
TOLD_SECONDS = 5.0
"""From one who was told of a stream to the first question for a piece of it."""


@dataclass(slots=True)
class _Stream:
    seed: Seed
    began_at: float
    start: int
    end: int
    is_on: bool = True
    told_at: float | None = None
    waiting_count: int = 0


class Streams:
    def __init__(self, monotonic: Callable[[], float], uplink: UplinkMeter) -> None:
        self._monotonic = monotonic
        self._uplink = uplink
        self._streams: dict[Body, _Stream] = {}

    def __contains__(self, body: Body) -> bool:
        return body in self._streams

    def is_on(self, body: Body) -> bool:
        stream = self._streams.get(body)
        return stream is not None and stream.is_on

    def left_seconds(self, body: Body) -> float:
        """For as long it goes on, about."""
        stream = self._streams[body]
        done = body.have.reach(stream.start) - stream.start
        return streaming_seconds(done / (stream.end - stream.start), self._monotonic() - stream.began_at)

    def begin(self, body: Body, seed: Seed, start: int, end: int) -> None:
        self._streams[body] = _Stream(seed, self._monotonic(), start, end)
        seed.arriving.update(seed.pieces.within(start, end))

    def ended(self, body: Body) -> None:
        """No more of it comes. Before the body says so."""
        stream = self._streams.get(body)
        if stream is not None:
            stream.is_on = False
            stream.seed.arriving.difference_update(stream.seed.pieces.within(stream.start, stream.end))
            self._forget(body)

    def _forget(self, body: Body) -> None:
        """Who waits for it still has to learn that it is over."""
        stream = self._streams.get(body)
        if stream is not None and not stream.is_on and not stream.waiting_count:
            del self._streams[body]

    def told(self, body: Body, let_go: Callable[[Body], None]) -> None:
        """A peer was told to have its pieces from here: their owners ask soon, or never. let_go: the stream need not go on for that."""
        stream = self._streams.get(body)
        if stream is not None:
            if stream.told_at is None:
                asyncio.get_running_loop().call_later(TOLD_SECONDS, self._look, body, let_go)
            stream.told_at = self._monotonic()

    def _look(self, body: Body, let_go: Callable[[Body], None]) -> None:
        stream = self._streams.get(body)
        if stream is None or stream.told_at is None:
            return
        left_seconds = stream.told_at + TOLD_SECONDS - self._monotonic()
        if left_seconds > 0:
            asyncio.get_running_loop().call_later(left_seconds, self._look, body, let_go)
            return
        stream.told_at = None
        let_go(body)

    def is_outrun(self, body: Body, position: int) -> bool:
        stream, now = self._streams.get(body), self._monotonic()
        if stream is None or min(position - stream.start, stream.end - position) < STREAMED_BYTES_MIN:
            return False
        passed = self._uplink.rate(now)
        return passed is not None and passed * (now - stream.began_at) < OUTRUN * (position - stream.start)

    def is_first_hand(self, body: Body, start: int, end: int) -> bool:
        """Whether all of it is here, or comes in a stream."""
        stream = self._streams.get(body)
        if stream is None:
            return body.have.covers(start, end)
        arriving, pieces = stream.seed.arriving, stream.seed.pieces
        return all(index in arriving for gap in body.have.gaps(start, end) for index in pieces.touching(*gap))

    @contextmanager
    def waiting(self, body: Body) -> Iterator[None]:
        """For who passes on first-hand."""
        stream = self._streams.get(body)
        if stream is None:
            yield
            return
        stream.waiting_count += 1
        try:
            yield
        finally:
            stream.waiting_count -= 1
            self._forget(body)

    async def wait(self, body: Body, position: int) -> None:
        """Until the byte is there. Raises BrokenBody where it does not come first-hand any more."""
        stream = self._streams.get(body)
        while stream is not None and body.have.reach(position) <= position:
            if position // stream.seed.pieces.size not in stream.seed.arriving:
                raise BrokenBody("it does not come here first")
            await body.wait_news(position)

    def own_readers_count(self, body: Body) -> int:
        """Of those who read it, how many do not pass it on first-hand."""
        stream = self._streams.get(body)
        return body.reader_count - (stream.waiting_count if stream is not None else 0)
