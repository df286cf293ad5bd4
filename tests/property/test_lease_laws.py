"""Leases against the plainest model there is: a list of who took what, and when."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from minicdn.core.leases import Leases

TTL = 10.0
steps = st.lists(
    st.tuples(st.sampled_from(["take", "release", "gone"]), st.sampled_from("ab"), st.sampled_from("ABCDE"), st.integers(0, 6)),
    max_size=60,
)


@given(steps, st.integers(1, 3))
def test_never_more_than_so_many_hold_a_key_and_nobody_is_refused_without_need(steps, count_max):
    leases, held, now = Leases(count_max, TTL), {}, 0.0
    for what, key, holder, pause in steps:
        now += pause
        held = {lease: ends_at for lease, ends_at in held.items() if ends_at > now}
        if what == "release":
            leases.release(key, holder)
            held.pop((key, holder), None)
        elif what == "gone":
            leases.release_all(holder)
            held = {lease: ends_at for lease, ends_at in held.items() if lease[1] != holder}
        else:
            others = {other for one, other in held if one == key}
            verdict = leases.take(key, holder, now)
            assert verdict.is_granted is (holder in others or len(others) < count_max)
            if verdict.is_granted:
                held[key, holder] = now + TTL
            assert set(verdict.holders) == {other for one, other in held if one == key}
            assert len(verdict.holders) <= count_max
            assert 0 < verdict.seconds <= TTL
    leases.expire(now + TTL)
    assert len(leases) == 0
