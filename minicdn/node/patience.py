"""The upstream, asked with patience: while no connection to it can be made it is left alone for moments (core/rest.py), so that it meets no
crowd when it comes back, and clients hear at once what they would hear after a deadline.

Only connections count that could not be made. One that breaks off, or is silent, says something of one URL and nothing of the others;
and as soon as a connection stands the upstream is there, however long its answer takes.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterable, Callable

from minicdn.core.counters import Counters
from minicdn.core.message import Fields, Inform
from minicdn.core.rest import Rest, Turn
from minicdn.errors import UpstreamError, UpstreamUnreachable
from minicdn.wire.http import Begun
from minicdn.wire.upstream import Upstream, UpstreamAnswer

BASE_SECONDS, MAX_SECONDS = 0.05, 2.0
AWAY_FAILURES_COUNT = 2
"""From so many failures in a row on the upstream is called away."""


class PatientUpstream:
    """wait_seconds: for somebody else's trial, at most. say: told once when the upstream is away, and once when it is back."""

    def __init__(
        self,
        upstream: Upstream,
        *,
        counters: Counters,
        monotonic: Callable[[], float],
        rng: random.Random,
        wait_seconds: float,
        say: Callable[[str], None],
    ) -> None:
        self._upstream = upstream
        self._counters = counters
        self._monotonic = monotonic
        self._rng = rng
        self._wait_seconds = wait_seconds
        self._say = say
        self._rest = Rest(BASE_SECONDS, MAX_SECONDS)
        self._reason = ""
        self._tried = asyncio.Event()
        """Set when a trial ends."""

    async def send(
        self,
        method: str,
        key: str,
        fields: Fields,
        content: AsyncIterable[bytes] | None = None,
        *,
        follows: bool = False,
        on_interim: Inform | None = None,
        unread_bytes_max: int | None = None,
        begun: Begun | None = None,
        request_at: float | None = None,
    ) -> UpstreamAnswer:
        """As Upstream.send. Raises UpstreamError, at once while the upstream rests."""
        turn = await self._take_turn() if begun is None else Turn.FREE
        has_verdict = False

        def reach() -> None:
            nonlocal has_verdict
            has_verdict = True
            self._reach()

        if begun is None:
            self._counters.add("upstream_requests_count")
        try:
            answer = await self._upstream.send(
                method,
                key,
                fields,
                content,
                follows=follows,
                on_connected=reach,
                on_interim=on_interim,
                unread_bytes_max=unread_bytes_max,
                begun=begun,
                request_at=request_at,
            )
            reach()
            return answer
        except UpstreamUnreachable as error:
            self._counters.add("upstream_errors_count")
            has_verdict = True
            self._fail(turn, error)
            raise self._unreachable(str(error)) from error
        except UpstreamError:
            self._counters.add("upstream_errors_count")
            raise
        finally:
            if turn is Turn.TRIAL and not has_verdict:
                self._rest.give_up()
                self._tried.set()

    def tail(self, fields: Fields) -> bytes:
        return self._upstream.tail(fields)

    def begin(
        self, key: str, tail: bytes, came: Callable[[], None], *, on_interim: Inform | None, unread_bytes_max: int | None
    ) -> Begun | None:
        """As Upstream.begin; None also where there is no going ahead without some waiting."""
        if self._rest.failures_count:
            return None
        begun = self._upstream.begin(key, tail, came, on_interim=on_interim, unread_bytes_max=unread_bytes_max)
        if begun is not None:
            self._counters.add("upstream_requests_count")
        return begun

    def all(self, begun: Begun, request_at: float) -> UpstreamAnswer:
        """As Upstream.all."""
        answer = self._upstream.all(begun, request_at)
        if self._rest.failures_count:
            self._reach()
        return answer

    def now(self) -> float:
        return self._upstream.now()

    async def _take_turn(self) -> Turn:
        turn = self._rest.take(self._monotonic())
        if turn is Turn.WAIT:
            turn = await self._wait_turn()
        if turn is Turn.REST:
            self._counters.add("upstream_spared_count")
            raise self._unreachable(self._reason)
        if turn is Turn.TRIAL:
            self._tried.clear()
        return turn

    async def _wait_turn(self) -> Turn:
        """Until somebody else's trial has told, or left it to this one."""
        try:
            async with asyncio.timeout(self._wait_seconds):
                while (turn := self._rest.take(self._monotonic())) is Turn.WAIT:
                    await self._tried.wait()
                return turn
        except TimeoutError:
            return Turn.REST

    def _fail(self, turn: Turn, error: UpstreamUnreachable) -> None:
        if not self._rest.fail(turn, self._monotonic(), self._rng):
            return
        self._reason = str(error)
        self._tried.set()
        if self._rest.failures_count == AWAY_FAILURES_COUNT:
            self._say(f"{error}; it is tried again every now and then")

    def _reach(self) -> None:
        if self._rest.reach() >= AWAY_FAILURES_COUNT:
            self._say(f"the upstream {self._upstream.url} is back")
        self._tried.set()

    def _unreachable(self, reason: str) -> UpstreamUnreachable:
        return UpstreamUnreachable(reason, retry_after_seconds=self._rest.left_seconds(self._monotonic()))
