"""Questions under way for which no task waits (Ask.begin): until something has come of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from minicdn.core.message import Request
from minicdn.errors import MinicdnError, PeerError
from minicdn.node.supply import Supply
from minicdn.wire.http import Begun
from minicdn.wire.peers import BegunFetch, PeerAnswer

if TYPE_CHECKING:
    from minicdn.node.suppliers import PeerSupplier, UpstreamSupplier


class UpstreamAsked:
    """A question under way for which no task waits (UpstreamSupplier.begin)."""

    __slots__ = ("_supplier", "begun", "request_at")

    def __init__(self, supplier: UpstreamSupplier, begun: Begun, request_at: float) -> None:
        self._supplier, self.begun, self.request_at = supplier, begun, request_at

    def all(self, request: Request) -> Supply | None:
        """Once something has come: the answer, where it is here with all of its bytes; else ask(asked=…) goes on."""
        return self._supplier.all(self, request)

    def give_up(self) -> None:
        self.begun.end()


class PeerAsked:
    """A question under way for which no task waits (PeerSupplier.begin)."""

    __slots__ = ("_begun", "_error", "_kept", "_reached", "_supplier", "_url", "request_at")

    def __init__(self, supplier: PeerSupplier, url: str, begun: BegunFetch, request_at: float, reached: Callable[[str], None]) -> None:
        self._supplier, self._url, self._begun, self.request_at, self._reached = supplier, url, begun, request_at, reached
        self._kept = supplier.keep(url, begun.exchange.cut)
        self._error: MinicdnError | None = None

    def all(self, request: Request) -> Supply | None:
        """As UpstreamAsked.all(). Where there is more to wait for, the leash holds up to found()."""
        try:
            supply = self._supplier.all(self._url, self._begun, self.request_at)
        except MinicdnError as error:
            self._kept.end()
            self._error = error  # check() raises it, so that it goes the way of all errors
            return None
        if supply is not None:
            self._kept.end()
            self._reached(self._url)
        return supply

    def check(self) -> None:
        """Raises MinicdnError where that is what came of it."""
        if self._error is not None:
            raise self._error

    async def found(self) -> PeerAnswer:
        """What has come, or comes. Raises PeerError."""
        self._kept.end()
        if self._kept.is_let_go:
            self._begun.exchange.end()
            raise PeerError(f"{self._url} has left the list, or does not answer")
        return await self._supplier.go_on(self._url, self._begun)

    def give_up(self) -> None:
        self._kept.end()
        self._begun.exchange.end()
