from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from minicdn.core.counters import Counters
from minicdn.core.logline import LogLine
from minicdn.node.loglines import BATCH_TEXT_MAX, LogShipper
from minicdn.wire.codec import MESSAGE_BYTES_MAX, encode
from minicdn.wire.manager import ManagerRefused, ManagerUnreachable
from minicdn.wire.messages import LOG_BATCH_MAX, LogBatch


def line(number: int, **more: object) -> LogLine:
    found = dict(key=f"/{number}", remote_addr="10.0.0.9:5", user_agent="curl", success=True, header_data=None, method="GET",
                 status=200, bytes=5, source="memory", duration_seconds=0.1, timestamp=1436945573)  # fmt: skip
    return LogLine(**{**found, **more})


class Desk:
    """A shipper, and what arrives at the manager's end; `errors` are raised first, one for each call."""

    def __init__(self, *errors: Exception, lines_max: int = 100) -> None:
        self.errors = list(errors)
        self.batches: list[LogBatch] = []
        self.attempts: list[LogBatch] = []
        self.arrived = asyncio.Event()
        self.counters = Counters()
        self.shipper = LogShipper(self.send, "me", lines_max=lines_max, counters=self.counters, rng=random.Random(1), gather_seconds=0.0)
        self.shipper._backoff.base_seconds = self.shipper._backoff.max_seconds = 0.001

    async def send(self, batch: LogBatch) -> None:
        self.attempts.append(batch)
        if self.errors:
            raise self.errors.pop(0)
        self.batches.append(batch)
        self.arrived.set()

    @property
    def keys(self) -> list[str]:
        return [each.key for batch in self.batches for each in batch.lines]


def run_until(desk: Desk, is_done: Callable[[], bool]) -> None:
    async def run() -> None:
        running = asyncio.ensure_future(desk.shipper.run())
        async with asyncio.timeout(10):
            while not is_done():
                await desk.arrived.wait()
                desk.arrived.clear()
        running.cancel()
        await asyncio.wait({running})

    asyncio.run(run())


def test_lines_arrive_in_order_under_the_url_that_the_manager_gave() -> None:
    desk = Desk()
    for number in range(5):
        desk.shipper.emit(line(number))
    assert desk.shipper.lines_count == 5
    desk.shipper.configure("http://10.0.0.5:11001", True)
    run_until(desk, lambda: len(desk.keys) == 5)
    assert desk.keys == [f"/{number}" for number in range(5)]
    assert {batch.url for batch in desk.batches} == {"http://10.0.0.5:11001"}
    assert desk.shipper.lines_count == 0


def test_nothing_is_shipped_before_the_first_join() -> None:
    desk = Desk()
    desk.shipper.emit(line(1))
    assert asyncio.run(desk.shipper.flush(0.05)) == 1
    assert desk.attempts == []


def test_a_manager_that_keeps_no_log_gets_none() -> None:
    desk = Desk()
    desk.shipper.emit(line(1))
    desk.shipper.configure("http://a", False)
    desk.shipper.emit(line(2))
    assert asyncio.run(desk.shipper.flush(0.05)) == 0
    assert desk.attempts == []
    assert desk.counters.get("log_lines_dropped_count") == 0


def test_the_buffer_is_bounded_and_the_oldest_lines_go_and_are_told() -> None:
    desk = Desk(lines_max=10)
    for number in range(25):
        desk.shipper.emit(line(number))
        assert desk.shipper.lines_count <= 10
    desk.shipper.configure("http://a", True)
    asyncio.run(desk.shipper.flush(1))
    assert desk.keys == [f"/{number}" for number in range(15, 25)]
    assert desk.batches[0].dropped_count == 15
    assert desk.counters.get("log_lines_dropped_count") == 15
    assert desk.counters.get("log_lines_count") == 25


def test_what_was_lost_behind_the_last_batch_is_told_though_no_line_follows() -> None:
    """Else a log that ends with an outage never says that it is not whole."""
    desk = Desk(ManagerUnreachable("away"), lines_max=10)
    desk.shipper.configure("http://a", True)
    for number in range(10):
        desk.shipper.emit(line(number))
    sent_before = desk.send

    async def send(batch: LogBatch) -> None:
        if len(desk.attempts) == 1:  # all ten are under way, and there is no room for more
            for number in range(10, 17):
                desk.shipper.emit(line(number))
        await sent_before(batch)

    desk.shipper._send = send
    run_until(desk, lambda: len(desk.batches) == 2)
    assert [(len(batch.lines), batch.dropped_count) for batch in desk.batches] == [(10, 0), (0, 7)]


def test_a_manager_that_refuses_is_not_told_again_and_again_what_was_lost() -> None:
    desk = Desk(ManagerRefused("no"), ManagerRefused("no"))
    desk.shipper.configure("http://a", True)
    desk.shipper.emit(line(1))
    assert asyncio.run(desk.shipper.flush(1)) == 0
    assert len(desk.attempts) == 1
    desk.shipper.emit(line(2))
    asyncio.run(desk.shipper.flush(1))
    desk.shipper.emit(line(3))
    asyncio.run(desk.shipper.flush(1))
    assert [(len(batch.lines), batch.dropped_count) for batch in desk.batches] == [(1, 2)]


def test_a_batch_whose_answer_was_lost_is_sent_again_under_its_number() -> None:
    desk = Desk(ManagerUnreachable("reset"), ManagerUnreachable("reset"))
    desk.shipper.configure("http://a", True)
    desk.shipper.emit(line(1))
    run_until(desk, lambda: desk.keys == ["/1"])
    assert [batch.number for batch in desk.attempts] == [1, 1, 1]
    desk.shipper.emit(line(2))
    asyncio.run(desk.shipper.flush(1))
    assert desk.batches[-1].number == 2


def test_lines_lost_while_a_batch_is_under_way_are_told_behind_it() -> None:
    desk = Desk(ManagerUnreachable("away"), lines_max=4)
    desk.shipper.configure("http://a", True)
    for number in range(4):
        desk.shipper.emit(line(number))

    async def run() -> None:
        desk.shipper._take_batch()
        await desk.shipper._ship_or_wait()
        desk.shipper.emit(line(4))
        desk.errors.clear()
        await desk.shipper.flush(1)
        desk.shipper.emit(line(5))
        await desk.shipper.flush(1)

    asyncio.run(run())
    assert desk.keys == ["/0", "/1", "/2", "/3", "/5"]
    assert [(len(batch.lines), batch.dropped_count) for batch in desk.batches] == [(4, 0), (0, 1), (1, 0)]


def test_what_the_manager_will_never_take_is_counted_and_does_not_block_the_rest() -> None:
    desk = Desk(ManagerRefused("no"))
    desk.shipper.configure("http://a", True)
    desk.shipper.emit(line(1))
    asyncio.run(desk.shipper.flush(1))
    desk.shipper.emit(line(2))
    asyncio.run(desk.shipper.flush(1))
    assert desk.keys == ["/2"]
    assert desk.batches[0].dropped_count == 1


def test_the_last_flush_has_a_deadline_and_says_what_was_left() -> None:
    desk = Desk(*[ManagerUnreachable("away")] * 100_000)
    desk.shipper.configure("http://a", True)
    for number in range(3):
        desk.shipper.emit(line(number))
    assert asyncio.run(desk.shipper.flush(0.05)) == 3


def test_batches_are_bounded_in_lines() -> None:
    desk = Desk(lines_max=5000)
    desk.shipper.configure("http://a", True)
    for number in range(LOG_BATCH_MAX + 1):
        desk.shipper.emit(line(number))
    asyncio.run(desk.shipper.flush(1))
    assert [len(batch.lines) for batch in desk.batches] == [LOG_BATCH_MAX, 1]


def test_lines_that_come_while_a_batch_is_under_way_are_gathered_for_the_next() -> None:
    """Shipped at once, each batch would carry the few lines that came while the one before it was sent."""
    desk, gathered = Desk(), []
    desk.shipper.configure("http://a", True)
    take = desk.shipper._take_batch

    async def send(batch: LogBatch) -> None:
        desk.batches.append(batch)
        if len(desk.batches) < 4:
            desk.shipper.emit(line(len(desk.batches)))
        desk.arrived.set()

    def take_batch() -> bool:
        gathered.append(desk.shipper._wake.is_set())
        return take()

    desk.shipper._send, desk.shipper._take_batch = send, take_batch  # type: ignore[method-assign]
    desk.shipper.emit(line(0))
    run_until(desk, lambda: len(desk.batches) == 4)
    assert desk.keys == ["/0", "/1", "/2", "/3"]
    assert gathered[:4] == [False] * 4, "each was taken after a rest, with the bell reset"


@pytest.mark.parametrize("text", ["a", "ä", "\U0001f4a1"])
@pytest.mark.parametrize("wrap", [str, lambda text: [text]], ids=["text", "json"])
def test_batches_of_long_notes_fit_into_a_message(text: str, wrap: Callable) -> None:
    desk = Desk(lines_max=5000)
    desk.shipper.configure("http://a", True)
    for number in range(600):
        desk.shipper.emit(line(number, header_data=wrap(text * 2000)))
    asyncio.run(desk.shipper.flush(5))
    assert len(desk.keys) == 600
    assert max(len(encode(batch.to_wire())) for batch in desk.batches) < MESSAGE_BYTES_MAX
    assert BATCH_TEXT_MAX > 2000
