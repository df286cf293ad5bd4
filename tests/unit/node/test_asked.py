"""Questions to a peer for which no task waits: the leash holds as long as there is something to wait for, and what goes wrong is counted
once."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from minicdn.core.counters import Counters
from minicdn.core.freshness import age_seconds, to_facts
from minicdn.core.message import Request
from minicdn.errors import PeerBusy, PeerError
from minicdn.node.leash import Leash
from minicdn.node.limits import Limits
from minicdn.node.suppliers import PeerSupplier
from minicdn.wire.fetch import FetchAnswer
from tests.unit.store.making import make_stored

URL, REQUEST = "http://10.0.0.5:1", Request("GET", b"/a", "/a")


class Client:
    """Of one begun question."""

    def __init__(self, said: FetchAnswer | PeerError | None) -> None:
        self.said = said
        self.cuts_count = self.ends_count = 0
        self.exchange = SimpleNamespace(has_all=said is not None, cut=self.cut, end=self.end)

    def cut(self) -> None:
        assert not self.ends_count, "it is somebody else's by now"
        self.cuts_count += 1

    def end(self) -> None:
        self.ends_count += 1

    def begin(self, *arguments: Any) -> Any:
        return SimpleNamespace(exchange=self.exchange)

    def all(self, url: str, begun: Any) -> Any:
        if isinstance(self.said, PeerError):
            raise self.said
        return SimpleNamespace(answer=self.said, end=self.end)

    async def go_on(self, url: str, begun: Any) -> Any:
        await asyncio.Event().wait()

    async def fetch(self, *arguments: Any) -> Any:
        await self.delay()
        return SimpleNamespace(answer=self.said, end=self.end)

    async def delay(self) -> None:
        pass


def asked_of(client: Any, leash: Leash) -> tuple[PeerSupplier, Any, Counters]:
    counters = Counters()
    supplier = PeerSupplier(client, leash, name="n", counters=counters, limits=Limits(), wall=lambda: 0.0)
    asked = supplier.begin(URL, REQUEST, lambda: None, wants_fresh=False, on_interim=None, asker=None, reached=lambda url: None)
    assert leash.waits(URL)
    return supplier, asked, counters


@pytest.mark.parametrize("is_gone_before", [True, False])
def test_a_peer_that_is_let_go_is_not_waited_for(is_gone_before: bool) -> None:
    """Nor where that is between what came without a task and the task that goes on with it."""

    async def story() -> None:
        leash, client = Leash(), Client(None)
        supplier, asked, counters = asked_of(client, leash)
        assert asked.all(REQUEST) is None
        going_on = asyncio.ensure_future(supplier.ask(URL, REQUEST, None, asked=asked))
        if not is_gone_before:
            await asyncio.sleep(0)
        leash.let_go({URL})
        async with asyncio.timeout(5):
            with pytest.raises(PeerError, match="has left the list"):
                await going_on
        assert counters.get("peer_errors_count") == 1
        assert not leash.urls()

    asyncio.run(story())


@pytest.mark.parametrize(
    ("said", "errors_count"),
    [(FetchAnswer("busy"), 0), (FetchAnswer("failed", detail="x"), 0), (PeerError("no answer"), 1)],
    ids=["busy", "failed", "nonsense"],
)
def test_what_a_peer_says_is_no_error_of_its_own(said: Any, errors_count: int) -> None:
    async def story() -> None:
        leash, client = Leash(), Client(said)
        supplier, asked, counters = asked_of(client, leash)
        assert asked.all(REQUEST) is None
        assert not leash.urls()
        with pytest.raises(Exception) as error:
            await supplier.ask(URL, REQUEST, None, asked=asked)
        assert isinstance(error.value, PeerBusy) == (getattr(said, "kind", "") == "busy")
        assert counters.get("peer_errors_count") == errors_count
        assert counters.get("peer_requests_count") == 1

    asyncio.run(story())


@pytest.mark.parametrize("has_task", [True, False])
@pytest.mark.parametrize(("took_seconds", "age"), [(0.0, 35), (12.0, 23), (31.0, 5)])
def test_the_way_from_a_peer_counts_into_the_age(took_seconds: float, age: int, has_task: bool) -> None:
    """A node that was stopped while the answer lay there must not take it for one of this moment; but what the owner itself waited for
    the upstream is in what it says (response_delay, RFC 9111 §4.2.3)."""

    async def story() -> None:
        stored = make_stored()
        said = FetchAnswer("found", 200, stored.head.fields, to_facts(stored), 5.0, 3, took_seconds=took_seconds)
        now, client = [1000.0], Client(said)
        supplier = PeerSupplier(client, Leash(), name="n", counters=Counters(), limits=Limits(), wall=lambda: now[0])

        async def delay() -> None:
            now[0] += 30

        client.delay = delay  # type: ignore[method-assign]
        if has_task:
            supply = await supplier.ask(URL, REQUEST, None)
        else:
            asked = supplier.begin(URL, REQUEST, lambda: None, wants_fresh=False, on_interim=None, asker=None, reached=lambda url: None)
            await delay()
            assert asked is not None
            supply = asked.all(REQUEST)  # type: ignore[assignment]
        assert age_seconds(supply.stored, now[0]) == age
        assert supply.stored.fresh_until == now[0] + 600 - age

    asyncio.run(story())
