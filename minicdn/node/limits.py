"""What this node may send and receive in a second: caps of its own (up, down), and its share of the cluster's cap on the upstream.

Waiting takes place on this side, before bytes are sent, or between receiving bytes and asking for more: then the other side is held back
by its full socket, and no deadline for a silent one runs. Takers have their turns in steps (core/bucket.py), in the order of their coming.
Where nothing is capped, nothing waits.

What counts is content: up, what goes to peers and to clients on other machines; down, what comes from peers and from the upstream;
upstream, what comes from there. A client on this machine (a loopback address) uploads nothing to anybody.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from minicdn.core.bucket import Bucket, share
from minicdn.core.pace import Pace

WAIT_SECONDS_MIN = 0.001
"""What event loops can tell apart."""


class Gate:
    """One cap. rate: bytes a second; 0: none."""

    def __init__(self, rate: float = 0) -> None:
        self._bucket: Bucket | None = None
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._rate = 0.0
        self.set_rate(rate)

    @property
    def rate(self) -> float:
        return self._rate

    def set_rate(self, rate: float) -> None:
        """From now on, those who wait included."""
        if rate == self._rate:
            return
        self._rate = rate
        if not rate:
            self._bucket = None
        elif self._bucket is not None:
            self._bucket.set_rate(rate, asyncio.get_running_loop().time())
        self._serve()

    def parts(self, data: bytes) -> list[bytes]:
        """What may be sent between two waits, so that a large block does not stand for seconds at a low rate."""
        if not self._rate:
            return [data]
        step = self._opened().step
        return [data[at : at + step] for at in range(0, len(data), step)] if len(data) > step else [data]

    async def wait(self, count: int) -> None:
        """Until so many more bytes may pass."""
        while count > 0 and self._rate:
            bucket = self._opened()
            taken = min(count, bucket.step)
            if self._waiting or bucket.take(taken, asyncio.get_running_loop().time()):
                await self._queue(taken)
            count -= taken

    def _opened(self) -> Bucket:
        if self._bucket is None:
            self._bucket = Bucket(self._rate, asyncio.get_running_loop().time())
        return self._bucket

    async def _queue(self, count: int) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((count, turn))
        if self._timer is None:
            self._serve()
        await turn

    def _serve(self) -> None:
        """Whose turn has come; the others are looked at again when the first of them can be."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            count, turn = self._waiting[0]
            if not turn.done():  # one who has left takes nothing
                loop = turn.get_loop()
                bucket = self._opened() if self._rate else None
                seconds = bucket.take(min(count, bucket.step), loop.time()) if bucket is not None else 0.0
                if seconds:
                    self._timer = loop.call_later(max(seconds, WAIT_SECONDS_MIN), self._serve)
                    return
                turn.set_result(None)
            self._waiting.popleft()


class Limits:
    """All caps of a node, in bytes a second, and how much passes now. 0: no cap."""

    def __init__(self, *, up_rate: float = 0, down_rate: float = 0, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self.up = Gate(up_rate)
        self.down = Gate(down_rate)
        self.upstream = Gate()
        self.up_pace = Pace()
        self.down_pace = Pace()

    @property
    def has_up(self) -> bool:
        return self.up.rate > 0

    @property
    def has_down(self) -> bool:
        return self.down.rate > 0

    @property
    def has_upstream(self) -> bool:
        return self.upstream.rate > 0

    def set_upstream(self, rate: float, nodes_count: int) -> None:
        """rate: of all nodes together; this one has its equal share."""
        self.upstream.set_rate(share(rate, nodes_count))

    def note_up(self, count: int) -> None:
        """So many bytes leave without waiting: nothing is capped."""
        self.up_pace.add(count, self._monotonic())

    def note_down(self, count: int) -> None:
        """So many bytes came, and nothing is capped."""
        self.down_pace.add(count, self._monotonic())

    async def wait_up(self, count: int) -> None:
        """Before so many bytes are sent to a peer, or to a client on another machine."""
        self.note_up(count)
        if self.up.rate:
            await self.up.wait(count)

    async def wait_down(self, count: int) -> None:
        """After so many bytes came from a peer."""
        self.down_pace.add(count, self._monotonic())
        if self.down.rate:
            await self.down.wait(count)

    async def wait_upstream(self, count: int) -> None:
        """After so many bytes came from the upstream, which come down too."""
        self.down_pace.add(count, self._monotonic())
        if self.upstream.rate:
            await self.upstream.wait(count)
        if self.down.rate:
            await self.down.wait(count)

    def down_parts(self, data: bytes) -> list[bytes]:
        """What came from a peer, as it is passed on between two waits."""
        return self.down.parts(data)

    def upstream_parts(self, data: bytes) -> list[bytes]:
        """What came from the upstream, likewise: in the steps of the lower cap."""
        rates = [gate for gate in (self.upstream, self.down) if gate.rate]
        return min(rates, key=lambda gate: gate.rate).parts(data) if rates else [data]

    def statistics(self) -> dict[str, Any]:
        now = self._monotonic()
        return {
            "up_cap_bytes_per_second": int(self.up.rate),
            "down_cap_bytes_per_second": int(self.down.rate),
            "upstream_cap_bytes_per_second": int(self.upstream.rate),
            "up_bytes_per_second": int(self.up_pace.per_second(now)),
            "down_bytes_per_second": int(self.down_pace.per_second(now)),
        }


def is_loopback(client: tuple[str, int] | None) -> bool:
    """Whether a client runs on this very machine, as far as its address tells."""
    host = client[0] if client else ""
    return host.startswith(("127.", "::ffff:127.")) or host == "::1"
