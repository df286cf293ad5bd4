"""A connection's place among the connections, and how long its client may take with a head: the same for both protocols.

Beyond the places (shedding.py) one request is read, and answered where it is no client's; and who waits there, waits shortly.
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


class Placed:
    """What a protocol of uvicorn's is besides. It says what is under way (_is_between, _is_answering), when it was last used
    (_used_at), and how it refuses a head that took too long (_refuse_late)."""

    head_seconds = HEAD_SECONDS
    loop: asyncio.AbstractEventLoop
    transport: Any
    connections: set[Any]
    timeout_keep_alive: Any
    _is_between: bool
    _is_answering: bool
    _is_over = False
    _used_at = 0.0
    _head_timer: asyncio.TimerHandle | None = None

    def _find_place(self, shedding: Shedding | None) -> None:
        self._used_at = self.loop.time()
        admission = shedding.admit(self.connections, len(self.connections), self._used_at) if shedding is not None else Admission.FREE
        if admission is Admission.FREE:
            return
        self._is_over = True
        self.head_seconds = self.timeout_keep_alive = OVER_SECONDS
        if admission is Admission.NONE:
            self.transport.write(UNHEARD)
            self.transport.close()

    def is_idle(self, now: float) -> bool:
        """Nothing is under way but a wait for this client."""
        if self._head_timer is not None:
            return now > self._head_timer.when() - self.head_seconds + OVER_SECONDS
        is_quiet = self._is_between and not self._is_answering and now > self._used_at + IDLE_SECONDS
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
