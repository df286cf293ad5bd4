"""A connection's place among the connections, and how long it may wait for its client: the same for both protocols.

Beyond the places (shedding.py) one request is read, and answered where it is no client's; and who waits there, waits shortly.

A connection waits for a request (the keep-alive time), for the rest of a head (HEAD_SECONDS), for the rest of a body, and for the client to
take what it was sent. Each of these ends. One timer looks after them, and after nothing that is under way in good order: to set a timer
for each request would cost more than the request does in the express lane.
"""

from __future__ import annotations

import asyncio
from typing import Any

from minicdn.core.shedding import Admission
from minicdn.web.protocol import HEAD_SECONDS
from minicdn.web.shedding import UNHEARD, Shedding

OVER_SECONDS = 3.0
"""Each wait for a client that came beyond the places for clients; and how long anybody's head may take where places are short."""
IDLE_SECONDS = 1.0
"""Who has not asked for so long gives his place up to who comes."""
LOOKS_MAX = 4
"""A connection that has stood still for so many keep-alive times has nobody behind it."""


class Placed:
    """What a protocol of uvicorn's is besides. It says what is under way (cycle, _is_in_body), when it was last used
    (_used_at) and last heard (_received_at), and how it refuses a head that took too long (_refuse_late)."""

    head_seconds = HEAD_SECONDS
    loop: asyncio.AbstractEventLoop
    transport: Any
    connections: set[Any]
    timeout_keep_alive: Any
    cycle: Any
    _is_in_body: bool
    """More of the request must come, and would be read."""
    _is_over = False
    _used_at = 0.0
    _received_at = 0.0
    _unsent_bytes = 0
    _looks_count = 0
    _timer: asyncio.TimerHandle | None = None
    _head_timer: asyncio.TimerHandle | None = None

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _begin_waits(self, shedding: Shedding | None) -> None:
        self._used_at = self.loop.time()
        self._find_place(shedding)
        self._timer = self.loop.call_later(self.timeout_keep_alive, self._look)

    def _end_waits(self) -> None:
        for timer in (self._timer, self._head_timer):
            if timer is not None:
                timer.cancel()

    def _find_place(self, shedding: Shedding | None) -> None:
        admission = shedding.admit(self.connections, len(self.connections), self._used_at) if shedding is not None else Admission.FREE
        if admission is Admission.FREE:
            return
        self._is_over = True
        self.head_seconds = self.timeout_keep_alive = OVER_SECONDS
        if admission is Admission.NONE:
            self.transport.write(UNHEARD)
            self.transport.close()

    def is_idle(self, now: float) -> bool:
        """Nothing is under way but a wait for this client: for a request, or for the rest of one that is answered."""
        if self._head_timer is not None:
            return now > self._head_timer.when() - self.head_seconds + OVER_SECONDS
        is_quiet = not self._is_answering and now > self._used_at + IDLE_SECONDS
        return is_quiet and not self.transport.get_write_buffer_size() and not self.transport.is_closing()

    def _wait_head(self, *, is_waiting: bool) -> None:
        """From its first octet on, a head has so long, however it comes."""
        if is_waiting and self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_seconds, self._end_head_wait)
        elif not is_waiting and self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _end_head_wait(self) -> None:
        if not self.transport.is_closing():
            self._refuse_late()

    def _refuse_late(self) -> None:
        raise NotImplementedError

    def _look(self) -> None:
        """Each keep-alive time: an idle connection is closed, and one that has stood still for too long is cut."""
        now, seconds = self.loop.time(), self.timeout_keep_alive
        unsent_bytes = self.transport.get_write_buffer_size()
        is_stuck = bool(unsent_bytes) and unsent_bytes == self._unsent_bytes
        self._unsent_bytes = unsent_bytes
        again_at = now + seconds
        if self._is_in_body and not self.transport.is_closing():
            self._looks_count = int((now - self._received_at) / seconds + 0.001)
        elif self._is_answering or self.transport.is_closing():
            self._looks_count = self._looks_count + 1 if is_stuck else 0
        elif self._head_timer is None and now >= self._used_at + seconds - 0.001:
            self.transport.close()
        elif self._head_timer is None:
            again_at = self._used_at + seconds
        if self._looks_count >= LOOKS_MAX:
            self.transport.abort()
        else:
            self._timer = self.loop.call_at(again_at, self._look)
