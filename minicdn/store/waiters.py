"""Who waits for bytes of a body: each for one position, woken when that byte is there, or at the end.

A waiter that is cancelled takes itself off, so there are never more of them than readers.
"""

from __future__ import annotations

import asyncio

END = -1
"""The position of those who wait for no byte, but for the end."""


class Waiters:
    """Not thread-safe: all calls on the event loop."""

    __slots__ = ("_positions",)

    def __init__(self) -> None:
        self._positions: dict[asyncio.Future[None], int] = {}

    def __len__(self) -> int:
        return len(self._positions)

    async def wait(self, position: int) -> None:
        """Returns after a wake() that covers the position, or a wake_all()."""
        waiter = asyncio.get_running_loop().create_future()
        self._positions[waiter] = position
        try:
            await waiter
        finally:
            del self._positions[waiter]

    def wake(self, start: int, end: int) -> None:
        """The bytes [start, end) have come."""
        for waiter, position in self._positions.items():
            if start <= position < end and not waiter.done():
                waiter.set_result(None)

    def wake_all(self) -> None:
        for waiter in self._positions:
            if not waiter.done():
                waiter.set_result(None)
