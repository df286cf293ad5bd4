"""Preheats at the manager: it deals the files to nodes, has each node load its own, a few at a time, and remembers what became of them.

A node is asked for one file again and again until it has it; so nothing is lost when a connection is, or the node restarts. One that leaves
the list, or can't be talked to for GONE_SECONDS, leaves its files to others (core/preheat.py). Without peers the manager's own node loads.
Preheats are remembered in memory alone: after a restart of the manager the same order finds what is there already.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from minicdn.core.message import Fields
from minicdn.core.preheat import Order, Preheat
from minicdn.core.roster import Member, Roster
from minicdn.errors import ClientError, PeerError, PeerRefused
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
        self.is_dealing = False


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
        self._deal(run)
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
            order = run.preheat.order
            loading = [(url, order.targets[index]) for url, row in run.preheat.rows.items() for index in row.loading]
            self._end(run)
            self._hold(self._have_given_up(order.fields, loading))
        return run.preheat

    def list_changed(self) -> None:
        """Who left it is not waited for, and who came back may have more."""
        for run in list(self._runs.values()):
            if run.over.is_set():
                continue
            for url, row in run.preheat.rows.items():
                is_listed = self._is_listed(url)
                if not is_listed and not row.is_over:
                    run.preheat.give_up(url, LEFT)
                elif is_listed and row.gone_reason == LEFT:
                    run.preheat.is_back(url)
            self._deal(run)

    def end_all(self) -> None:
        """The manager closes: nobody waits for one any more."""
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

    def _deal(self, run: _Run) -> None:
        """A slice now, and what is left beside all else."""
        self._deal_some(run)
        if run.preheat.has_to_deal and not run.is_dealing:
            run.is_dealing = True
            self._begin_task(run, self._deal_rest(run))

    async def _deal_rest(self, run: _Run) -> None:
        while run.preheat.has_to_deal:
            await asyncio.sleep(0)
            self._deal_some(run)
        run.is_dealing = False

    def _deal_some(self, run: _Run) -> None:
        preheat = run.preheat
        busier = preheat.deal(self._members())
        for url in busier:
            if not self._is_listed(url) and not preheat.rows[url].gone_reason:
                preheat.give_up(url, LEFT)
        self._staff(run, busier)
        if preheat.is_over:
            self._end(run)

    def _begin_task(self, run: _Run, work: Coroutine[Any, Any, None]) -> None:
        task = self._hold(work)
        run.tasks.add(task)
        task.add_done_callback(run.tasks.discard)

    def _staff(self, run: _Run, urls: Iterable[str]) -> None:
        """As many tasks for each node as it may have loads at once."""
        for url in urls:
            for _ in range(min(AT_ONCE - run.tasks_count[url], len(run.preheat.rows[url].waiting))):
                run.tasks_count[url] += 1
                self._begin_task(run, self._work(run, url))

    async def _work(self, run: _Run, url: str) -> None:
        try:
            while (index := run.preheat.take(url)) is not None:
                await self._load(run, url, index)
        finally:
            run.tasks_count[url] -= 1
            if run.preheat.is_over:
                self._end(run)

    def _end(self, run: _Run) -> None:
        run.preheat.end(self._node.clock.wall())
        run.over.set()
        for task in list(run.tasks):
            if task is not asyncio.current_task():
                task.cancel()

    async def _load(self, run: _Run, url: str, index: int) -> None:
        preheat, silent_since = run.preheat, None
        while not run.over.is_set() and index in preheat.rows[url].loading:
            try:
                answer = await self._ask(url, preheat, index)
            except PeerError as error:
                now = self._node.clock.monotonic()
                silent_since = now if silent_since is None else silent_since
                if not self._is_listed(url):
                    self._give_up(run, url, LEFT)
                elif isinstance(error, PeerRefused) and error.status == 404:
                    self._give_up(run, url, f"its node can't preheat, maybe it is an older one ({error})")
                elif isinstance(error, PeerRefused) and error.status in (400, 413):
                    preheat.settle(url, index, 0, str(error))
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
        run.preheat.give_up(url, reason)
        self._deal(run)

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

    async def _have_given_up(self, fields: Fields, loading: list[tuple[str, str]]) -> None:
        """Who can't be told gives up by itself, after a while."""

        async def tell(url: str, target: str) -> None:
            call = LoadCall(target, fields, is_over=True)
            try:
                if url == self._own_url:
                    if not self._is_wanted(url, call):
                        await self._node.loads.load(call)
                    return
                async with self._turns:
                    if not self._is_wanted(url, call):
                        await self._call(url, call, GIVE_UP_SECONDS)
            except PeerError:
                pass

        await asyncio.gather(*(tell(url, target) for url, target in loading))

    def _is_wanted(self, url: str, call: LoadCall) -> bool:
        """Whether another preheat has the node load the same: a node knows a load by what it brings, not by who asked."""
        for run in self._runs.values():
            order, row = run.preheat.order, run.preheat.rows.get(url)
            if run.over.is_set() or row is None or order.fields != call.fields:
                continue
            if any(order.targets[index] == call.target for index in row.loading):
                return True
        return False
