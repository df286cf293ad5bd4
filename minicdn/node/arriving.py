"""The bytes that a supplier sends, from the upstream or from a peer: counted, and held back by caps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from minicdn.core.counters import Counters
from minicdn.errors import PeerError, UpstreamError
from minicdn.node.leash import Leash
from minicdn.node.limits import Limits
from minicdn.wire.peers import PeerAnswer
from minicdn.wire.upstream import UpstreamAnswer


class Arriving:
    """Bytes on their way from a supplier. Close it, always."""

    __slots__ = ("_chunks",)

    def __init__(self) -> None:
        self._chunks: AsyncIterator[bytes] | None = None

    @property
    def chunks(self) -> AsyncIterator[bytes]:
        """All of them; the same each time."""
        if self._chunks is None:
            self._chunks = self._read()
        return self._chunks

    def _read(self) -> AsyncIterator[bytes]:
        raise NotImplementedError

    def take_whole(self) -> bytes | None:
        """All of the chunks, where they came with the head and need not wait for a cap; then nothing is left of them, and end() will do."""
        return None

    def widen(self) -> None:
        """All of the body is wanted; up to then little of it is let come."""

    def narrow(self, bytes_max: int) -> int:
        """Soon no more is wanted. Returns how much is under way all the same."""
        return 0

    def gather(self, batch_bytes: int, *, is_sure: bool) -> None:
        """The bytes may come in blocks of so many; is_sure=False: or of what comes in a moment, where that is less."""

    def end(self) -> None:
        """In close()'s place, after take_whole()."""

    async def close(self) -> None:
        """Idempotent."""
        if self._chunks is not None:
            await self._chunks.aclose()  # type: ignore[attr-defined]


class FromUpstream(Arriving):
    __slots__ = ("_answer", "_counters", "_exchange", "_limits")

    def __init__(self, answer: UpstreamAnswer, counters: Counters, limits: Limits) -> None:
        self._chunks = None
        self._answer, self._exchange = answer, answer.exchange
        self._counters, self._limits = counters, limits

    async def _read(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._answer.chunks():
                self._counters.add("upstream_received_bytes", len(chunk))
                for part in self._limits.upstream_parts(chunk):
                    await self._limits.wait_upstream(len(part))
                    yield part
        except UpstreamError:
            self._counters.add("upstream_errors_count")
            raise

    def take_whole(self) -> bytes | None:
        whole = None if self._limits.has_upstream or self._limits.has_down else self._exchange.take_whole()
        if whole:
            self._counters.add("upstream_received_bytes", len(whole))
            self._limits.note_down(len(whole))
        return whole

    def widen(self) -> None:
        self._exchange.widen()

    def narrow(self, bytes_max: int) -> int:
        return self._exchange.narrow(bytes_max)

    def gather(self, batch_bytes: int, *, is_sure: bool) -> None:
        self._exchange.gather(batch_bytes, is_sure=is_sure)

    def end(self) -> None:
        self._exchange.end()

    async def close(self) -> None:
        await super().close()
        await self._answer.close()


class FromPeer(Arriving):
    __slots__ = ("_counters", "_found", "_leash", "_limits", "_url")

    def __init__(self, url: str, found: PeerAnswer, leash: Leash, counters: Counters, limits: Limits) -> None:
        self._chunks = None
        self._url, self._found, self._leash, self._counters, self._limits = url, found, leash, counters, limits

    async def _read(self) -> AsyncIterator[bytes]:
        async with aclosing(self._found.chunks()) as chunks:  # type: ignore[type-var]
            try:
                while True:
                    with self._leash.hold(self._url):
                        chunk = await anext(chunks, b"")
                    if not chunk:
                        return
                    self._counters.add("peer_received_bytes", len(chunk))
                    for part in self._limits.down_parts(chunk):
                        await self._limits.wait_down(len(part))
                        yield part
            except PeerError:
                self._counters.add("peer_errors_count")
                raise

    def take_whole(self) -> bytes | None:
        whole = None if self._limits.has_down else self._found.take_whole()
        if whole:
            self._counters.add("peer_received_bytes", len(whole))
            self._limits.note_down(len(whole))
        return whole

    def gather(self, batch_bytes: int, *, is_sure: bool) -> None:
        self._found.gather(batch_bytes, is_sure=is_sure)

    def end(self) -> None:
        self._found.end()

    async def close(self) -> None:
        await super().close()
        await self._found.close()
