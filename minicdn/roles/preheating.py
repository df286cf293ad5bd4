"""Preheats at the manager: it deals the files to nodes, has each node load its own, a few at a time, and remembers what became of them.

A node is asked for one file again and again until it has it; so nothing is lost when a connection is, or the node restarts. One that leaves
the list, or can't be talked to for GONE_SECONDS, leaves its files to others (core/preheat.py). Without peers the manager's own node loads.
Preheats are remembered in memory alone: after a restart of the manager the same order finds what is there already.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from minicdn.core.preheat import Order, Preheat
from minicdn.core.roster import Member, Roster
from minicdn.errors import ClientError, PeerError
from minicdn.node.node import Node
from minicdn.wire.calling import Caller, not_a_node
from minicdn.wire.preheats import BUSY, DONE, FAILED, LoadAnswer, LoadCall

TARGET = b"/_rpc/load"
AT_ONCE = 4
"""Loads of one preheat at one node."""
RUNNING_MAX, KEPT_MAX = 16, 100
CALLS_MAX = 100
"""Questions to peers at once, of all preheats: beyond it they take turns."""
HOLD_SECONDS, ANSWER_SECONDS = 2.0, 5.0
"""How long a node keeps the question, so that progress is seen; and for its answer, beyond that."""
RETRY_SECONDS = 1.0
GONE_SECONDS = 60.0
WAIT_SECONDS_MAX = 30.0
GIVE_UP_SECONDS = 2.0
LEFT = "its node left the list"


class _Run:
    def __init__(self, preheat: Preheat) -> None:
        self.preheat = preheat
        self.over = asyncio.Event()
        self.tasks_count: Counter[str] = Counter()
        self.tasks: set[asyncio.Task[Any]] = set()


class Preheats:
    """hold: keeps a task of the role's. url: the manager's own, None while it is not known. caller: is closed with this."""

    def __init__(
        self, node: Node, roster: Roster, caller: Caller, hold: Callable[[Any], asyncio.Task[Any]], url: Callable[[], str | None]
    ) -> None:
        self._node = node
        self._roster = roster
        self._caller = caller
        self._hold = hold
        self._url = url
        self._runs: dict[str, _Run] = {}
        self._turns = asyncio.Semaphore(CALLS_MAX)
        self._is_ended = False

    # What people ask

    def begin(self, order: Order) -> Preheat:
        """Under way from now on. Raises ClientError(400, 503)."""
        running_count = sum(not run.over.is_set() for run in self._runs.values())
        if self._is_ended or running_count >= RUNNING_MAX:
            reason = "this manager is closing" if self._is_ended else f"{running_count} preheats are running; wait for one, or cancel it"
            raise ClientError(503, reason)
        preheat = Preheat(secrets.token_hex(6), order, self._members(), self._node.ignored_query, self._node.clock.wall())
        run = self._runs[preheat.id] = _Run(preheat)
        for id in [id for id, each in self._runs.items() if each.over.is_set()][: max(0, len(self._runs) - KEPT_MAX)]:
            del self._runs[id]
        self._staff(run, preheat.rows)
        return preheat

    def find(self, id: str) -> Preheat:
        """Raises ClientError(404)."""
        return self._run_of(id).preheat

    def all(self) -> list[Preheat]:
        """The newest first."""
        return [run.preheat for run in reversed(self._runs.values())]

    async def wait(self, id: str, seconds: float) -> Preheat:
        """Returns when it is over, or after so many seconds, WAIT_SECONDS_MAX at most."""
        run = self._run_of(id)
        try:
            async with asyncio.timeout(min(seconds, WAIT_SECONDS_MAX)):
                await run.over.wait()
        except TimeoutError:
            pass
        return run.preheat

    def cancel(self, id: str) -> Preheat:
        """Nothing more is begun, and nodes are told to give up what they load for it. What is there stays. Idempotent."""
        run = self._run_of(id)
        if not run.over.is_set():
            run.preheat.cancel()
            loading = [(url, index) for url, row in run.preheat.rows.items() for index in row.loading]
            self._end(run)
            self._hold(self._have_given_up(run.preheat, loading))
        return run.preheat

    def list_changed(self) -> None:
        """Who left it is not waited for."""
        for run in list(self._runs.values()):
            if not run.over.is_set():
                for url in [url for url, row in run.preheat.rows.items() if not row.is_over and not self._is_listed(url)]:
                    self._give_up(run, url, LEFT)

    def end_all(self) -> None:
        """The manager closes: who waits is answered."""
        self._is_ended = True
        for id in list(self._runs):
            self.cancel(id)

    async def close(self) -> None:
        await self._caller.close()

    # Inside

    def _run_of(self, id: str) -> _Run:
        run = self._runs.get(id)
        if run is None:
            raise ClientError(404, "no such preheat here; after a restart of the manager, order it again: what is there is found")
        return run

    def _members(self) -> tuple[Member, ...]:
        return self._roster.peer_list().members or (Member(self._node.id, self._own_url),)

    @property
    def _own_url(self) -> str:
        return self._url() or ""

    def _staff(self, run: _Run, urls: Iterable[str]) -> None:
        """As many tasks for each node as it may have loads at once."""
        for url in urls:
            for _ in range(min(AT_ONCE - run.tasks_count[url], len(run.preheat.rows[url].waiting))):
                run.tasks_count[url] += 1
                task = self._hold(self._work(run, url))
                run.tasks.add(task)
                task.add_done_callback(run.tasks.discard)

    async def _work(self, run: _Run, url: str) -> None:
        try:
            while (index := run.preheat.take(url)) is not None:
                await self._load(run, url, index)
        finally:
            run.tasks_count[url] -= 1
            if run.preheat.is_over:
                self._end(run)

    def _end(self, run: _Run) -> None:
        if run.preheat.ended_at is None:
            run.preheat.ended_at = self._node.clock.wall()
        run.over.set()
        for task in list(run.tasks):
            if task is not asyncio.current_task():
                task.cancel()

    async def _load(self, run: _Run, url: str, index: int) -> None:
        preheat, silent_since = run.preheat, None
        while index in preheat.rows[url].loading:
            try:
                answer = await self._ask(url, preheat, index)
            except PeerError as error:
                now = self._node.clock.monotonic()
                silent_since = now if silent_since is None else silent_since
                if not self._is_listed(url):
                    self._give_up(run, url, LEFT)
                elif now - silent_since >= GONE_SECONDS:
                    self._give_up(run, url, f"its node could not be asked for {GONE_SECONDS:g} s ({error})")
                else:
                    await asyncio.sleep(RETRY_SECONDS)
                continue
            except Exception as error:  # a mistake of ours must not leave a preheat that never ends
                preheat.settle(url, index, 0, f"failed unexpectedly ({type(error).__name__}: {error})")
                return
            silent_since = None
            if answer.state in (DONE, FAILED):
                preheat.settle(url, index, answer.have_bytes, answer.reason or "it failed" if answer.state == FAILED else None)
                return
            preheat.tell(url, index, answer.have_bytes, answer.length)
            if answer.state == BUSY:
                await asyncio.sleep(RETRY_SECONDS)

    def _give_up(self, run: _Run, url: str, reason: str) -> None:
        self._staff(run, run.preheat.give_up(url, self._members(), reason))
        if run.preheat.is_over:
            self._end(run)

    def _is_listed(self, url: str) -> bool:
        return url == self._own_url or self._roster.has_url(url)

    async def _ask(self, url: str, preheat: Preheat, index: int) -> LoadAnswer:
        order = preheat.order
        call = LoadCall(order.targets[index], order.fields, HOLD_SECONDS)
        if url == self._own_url:
            return await self._node.loads.load(call)
        async with self._turns:
            return await self._call(url, call, HOLD_SECONDS + ANSWER_SECONDS)

    async def _call(self, url: str, call: LoadCall, seconds: float) -> LoadAnswer:
        found = await self._caller.call(url, TARGET, call.to_wire(), seconds)
        try:
            return LoadAnswer.from_wire(found)
        except ClientError as error:
            raise not_a_node(url, error) from None

    async def _have_given_up(self, preheat: Preheat, loading: list[tuple[str, int]]) -> None:
        """Who can't be told gives up by itself, after a while."""
        order = preheat.order

        async def tell(url: str, index: int) -> None:
            call = LoadCall(order.targets[index], order.fields, is_over=True)
            try:
                if url == self._own_url:
                    await self._node.loads.load(call)
                else:
                    async with self._turns:
                        await self._call(url, call, GIVE_UP_SECONDS)
            except PeerError:
                pass

        await asyncio.gather(*(tell(url, index) for url, index in loading))
