"""A large body's bytes on their way from the socket into one buffer, of which whoever reads them gets views.

The event loop's bytes, the parser's and those of a block are three copies of all that comes, which cost a quarter of what its SHA-256 does.
Where it is known where a body ends the parser has nothing more to find in it: the system writes into the buffer, and a view is good
until the next one is asked for.
"""

from __future__ import annotations

import asyncio
import mmap
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minicdn.wire.gathering import Gathering

BUFFER_BYTES = 1024 * 1024
_PRIVATE: dict[str, int] = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}


class BufferedBody(asyncio.BufferedProtocol):
    """The transport's protocol in a connection's place, from begin() up to the last byte of a body. Of its memory the system gives as much
    as is used."""

    def __init__(self) -> None:
        self._connection: Any = None
        self._memory = memoryview(mmap.mmap(-1, BUFFER_BYTES, **_PRIVATE))
        self._taken = self._end = 0

    def begin(self, connection: Gathering) -> None:
        self._connection = connection
        self._taken = self._end = 0

    @property
    def has_room(self) -> bool:
        """Without it the transport must not be read."""
        return self._end < BUFFER_BYTES

    def take(self) -> memoryview:
        """What has come since the last time; what was taken then is not looked at any more."""
        if self._taken == self._end:
            self._taken = self._end = 0
        view = self._memory[self._taken : self._end]
        self._taken = self._end
        return view

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._memory[self._end : self._end + self._connection.coming_bytes]

    def buffer_updated(self, nbytes: int) -> None:
        self._end += nbytes
        self._connection.buffered(nbytes)

    # What is not the body's affair

    def eof_received(self) -> bool:
        return self._connection.eof_received()

    def connection_lost(self, error: Exception | None) -> None:
        self._connection.connection_lost(error)

    def pause_writing(self) -> None:
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        self._connection.resume_writing()
