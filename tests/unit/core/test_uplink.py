from collections import deque

import pytest

from minicdn.core.uplink import FORGET_SECONDS, STALE_SECONDS, UplinkMeter, is_thin

CHUNK = 256 * 1024
MB = 1_000_000


class Link:
    """An uplink of `rate` bytes per second that serves its flows in turn, and a buffer for each flow: a send returns when what it
    gave fits. The clock stands still but for what the link does."""

    def __init__(self, meter, rate, flows_count, buffer_bytes=64 * 1024, pause_seconds=0.0):
        self.meter, self.rate, self.now = meter, rate, 100.0
        self.buffer_bytes, self.pause_seconds = buffer_bytes, pause_seconds
        self.flows = deque([0, None] for _ in range(flows_count))  # bytes buffered, when the send under way began

    def run(self, seconds):
        """Every flow sends one chunk after the other."""
        until = self.now + seconds
        while self.now < until:
            for flow in self.flows:
                self._feed(flow)
            flow = next((flow for flow in self.flows if flow[0]), None)
            if flow is None:
                self.now += self.pause_seconds or 0.001
                continue
            step = min(flow[0], 16 * 1024)
            self.now += step / self.rate
            flow[0] -= step
            self.flows.rotate(-1)

    def _feed(self, flow):
        while True:
            if flow[1] is None:
                flow[1] = self.meter.sending(self.now)
                flow[0] += CHUNK
            if flow[0] > self.buffer_bytes:
                return
            self.meter.sent(flow[1], CHUNK, self.now)
            flow[1] = None


@pytest.fixture
def meter():
    return UplinkMeter()


def send(meter, at, seconds, size=CHUNK):
    meter.sent(meter.sending(at), size, at + seconds)


@pytest.mark.parametrize("flows_count", [1, 3, 8])
def test_a_busy_link_is_measured_whatever_the_number_of_flows(meter, flows_count):
    link = Link(meter, 12.5 * MB, flows_count)
    link.run(5)
    assert meter.rate(link.now) == pytest.approx(12.5 * MB, rel=0.15)
    assert meter.best(link.now) == pytest.approx(12.5 * MB, rel=0.15)
    assert meter.waiting_count == flows_count


def test_nothing_is_known_at_first_nor_after_too_little(meter):
    assert meter.rate(0) is None and meter.best(0) is None
    send(meter, 0, 0.4)
    assert meter.rate(1) is None
    send(meter, 1, 0.4, 10)
    assert meter.rate(2) == pytest.approx((CHUNK + 10) / 0.8)


def test_sends_that_return_at_once_say_nothing(meter):
    for step in range(10_000):
        send(meter, step * 0.01, 0.0001)
    assert meter.rate(100) is None and meter.best(100) is None


def test_idle_time_does_not_count(meter):
    """A slow source: every tenth of a second a chunk, which the link takes in 20 ms."""
    for step in range(100):
        send(meter, step * 0.1, 0.020)
    assert meter.rate(10) == pytest.approx(CHUNK / 0.020, rel=0.01)


def test_what_fits_between_two_waits_counts_with_them(meter):
    """A buffer that empties far before it takes more: three chunks at once, the fourth waits for all."""
    at = 0.0
    for _ in range(100):
        for _ in range(3):
            send(meter, at, 0.0001)
            at += 0.0002
        send(meter, at, 0.08)
        at += 0.0801
    assert meter.rate(at) == pytest.approx(4 * CHUNK / 0.0807, rel=0.05)


def test_a_peer_that_takes_nothing_is_not_held_against_the_link(meter):
    for step in range(40):
        send(meter, step * 0.1, 0.1)
    was = meter.rate(4)
    began = meter.sending(4.5)
    meter.sent(began, 0, 80)
    assert meter.rate(60) == was and meter.best(80) == was
    assert meter.waiting_count == 0


def test_the_rate_follows_and_the_best_forgets_by_busy_time(meter):
    link = Link(meter, 10 * MB, 4)
    link.run(10)
    link.rate = 2 * MB
    link.run(10)
    assert meter.rate(link.now) == pytest.approx(2 * MB, rel=0.15)
    assert meter.best(link.now) > 8 * MB
    assert meter.best(link.now + FORGET_SECONDS - 1) == meter.best(link.now)
    link.run(600)
    assert meter.best(link.now) == pytest.approx(2 * MB, rel=0.2)


def test_buffers_that_fill_in_the_beginning_are_not_taken_for_the_link(meter):
    """Eight flows of which each puts 4 MB into the kernel's buffer, at once, while others wait."""
    link = Link(meter, 10 * MB, 8, buffer_bytes=4 * MB)
    link.run(20)
    assert meter.best(link.now) == pytest.approx(10 * MB, rel=0.15)


def test_what_is_long_ago_is_not_said_of_now(meter):
    link = Link(meter, 10 * MB, 1)
    link.run(10)
    assert meter.rate(link.now + STALE_SECONDS + 1) is None
    assert meter.best(link.now + STALE_SECONDS + 1) is not None
    assert meter.best(link.now + FORGET_SECONDS + 1) is None


def test_a_node_that_takes_more_than_twice_what_its_uplink_carries_is_thin():
    assert is_thin(2.0 * MB, 50 * MB, 10.0)
    assert not is_thin(3.0 * MB, 50 * MB, 10.0)
    assert not is_thin(None, 50 * MB, 10.0)
    assert not is_thin(2.0 * MB, 0, 0.0)


def test_its_memory_is_bounded(meter):
    link = Link(meter, 100 * MB, 8)
    link.run(100)
    assert len(meter._buckets) <= 70
