"""An answer for which no task waits: a connection's side that calls somebody when it has come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

EARLY_SECONDS = 0.001
"""By which a timer may come too early."""


class Telling:
    """What a ClientConnection adds to this: when something has come, and whether the connection is lost."""

    _is_lost: bool
    _is_silent = False
    _act: Callable[[], None] | None = None
    _soon: asyncio.Handle | None = None
    _silence: asyncio.TimerHandle | None = None
    _silent_at = 0.0

    def tell(self, act: Callable[[], None], seconds: float) -> None:
        """In wait_head()'s place, where no task waits: `act` is called once, not within this call, when all of the answer has come
        (has_all), or else soon after its head, or when there will be none; wait_head() then says why."""
        self._act = act
        loop = asyncio.get_running_loop()
        self._silent_at = loop.time() + seconds
        if self._silence is None:
            self._silence = loop.call_at(self._silent_at, self._look_for_silence, loop)

    def _look_for_silence(self, loop: asyncio.AbstractEventLoop) -> None:
        """One timer for all exchanges: it was set for one of then, and is set for the one of now."""
        self._silence = None
        if self._act is None:
            return
        if self._silent_at > loop.time() + EARLY_SECONDS:
            self._silence = loop.call_at(self._silent_at, self._look_for_silence, loop)
            return
        self._is_silent = True
        self._call()

    def _call_soon(self) -> None:
        if self._soon is None:
            self._soon = asyncio.get_running_loop().call_soon(self._call)

    def _call(self) -> None:
        act, self._act = self._act, None
        if self._soon is not None:  # it would come in the midst of the next exchange
            self._soon.cancel()
            self._soon = None
        if act is not None:
            act()

    def _tell_end(self) -> None:
        """Nothing more comes by this connection."""
        if self._silence is not None and self._is_lost:
            self._silence.cancel()
            self._silence = None
        if self._act is not None:
            self._call()
