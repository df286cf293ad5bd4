from hypothesis import assume, given, settings
from hypothesis import strategies as st

from minicdn.core.uplink import UplinkMeter
from tests.unit.core.test_uplink import Link

RATES = st.floats(min_value=200_000, max_value=120_000_000)


@settings(max_examples=40, deadline=None)
@given(rate=RATES, flows_count=st.integers(1, 12), buffer_bytes=st.sampled_from([0, 64 * 1024, 256 * 1024, 300 * 1024]))
def test_a_link_that_is_kept_busy_is_measured_within_15_percent(rate, flows_count, buffer_bytes):
    assume(flows_count * 300_000 / rate <= 1.0)  # a window in which not every flow has sent several times tells less than that
    meter = UplinkMeter()
    link = Link(meter, rate, flows_count, buffer_bytes)
    # Buffers fill at once in the beginning; what is asked about is the time after that.
    link.run(6 + 20 * flows_count * 300_000 / rate)
    measured = meter.rate(link.now)
    assert measured is not None and abs(measured / rate - 1) <= 0.15


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 2), st.floats(0, 2), st.integers(0, 10**7), st.booleans()), max_size=200))
def test_whatever_is_told_it_stays_bounded_and_positive(steps):
    meter, now, under_way = UplinkMeter(), 0.0, []
    for pause, wait, size, is_last_first in steps:
        now += pause
        under_way.append(meter.sending(now))
        if len(under_way) > 3:
            now += wait
            meter.sent(under_way.pop(-1 if is_last_first else 0), size, now)
        assert meter.waiting_count == len(under_way)
        for known in (meter.rate(now), meter.best(now)):
            assert known is None or known > 0
    assert len(meter._buckets) <= 70
