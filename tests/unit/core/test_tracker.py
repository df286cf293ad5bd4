"""Slots, and who is named to those who get none."""

from __future__ import annotations

import random

import pytest

from minicdn.core.tracker import (
    HOLDERS_MAX,
    OPEN_MAX,
    RETRY_SECONDS_MIN,
    SLOTS_MAX,
    SLOTS_MIN,
    SLOTS_UNMEASURED,
    STREAMING_SECONDS_MAX,
    Tracker,
    is_full,
    retry_seconds,
    slots_for,
    streaming_seconds,
)

KIB = 1024


def test_slots_follow_the_uplink_within_bounds() -> None:
    assert slots_for(None) == SLOTS_UNMEASURED
    assert slots_for(1.0) == SLOTS_MIN
    assert slots_for(1e12) == SLOTS_MAX
    assert slots_for(20e6 / 8) < slots_for(100e6 / 8)


def test_flows_that_wait_for_their_source_take_no_slot_but_are_not_unbounded() -> None:
    assert not is_full(0, OPEN_MAX - 1, None)
    assert is_full(0, OPEN_MAX, None)
    assert is_full(SLOTS_UNMEASURED, SLOTS_UNMEASURED, None)


def test_those_named_least_come_first_and_nobody_is_named_to_itself() -> None:
    tracker, rng = Tracker(), random.Random(1)
    assert tracker.refer(0, "http://z:1", rng) == []
    for url in ("http://a:1", "http://b:1", "http://c:1"):
        tracker.took(0, url)
    first = [tracker.refer(0, "http://z:1", rng)[0] for _ in range(6)]
    assert sorted(first) == ["http://a:1", "http://a:1", "http://b:1", "http://b:1", "http://c:1", "http://c:1"]
    assert "http://a:1" not in tracker.refer(0, "http://a:1", rng)


def test_who_left_is_not_named_and_holders_are_bounded() -> None:
    tracker, rng = Tracker(), random.Random(1)
    tracker.took(0, "http://a:1")
    tracker.took(1, "http://a:1")
    tracker.left(0, "http://a:1")
    assert tracker.refer(0, "http://z:1", rng) == []
    tracker.forget("http://a:1")
    assert tracker.refer(1, "http://z:1", rng) == []
    for number in range(2 * HOLDERS_MAX):
        tracker.took(2, f"http://{number}:1")
    named = {tracker.refer(2, "http://z:1", rng)[0] for _ in range(4 * HOLDERS_MAX)}
    assert len(named) == HOLDERS_MAX


def test_who_is_slower_lets_wait_longer() -> None:
    assert retry_seconds(1e6, 256 * KIB, 2) > retry_seconds(1e7, 256 * KIB, 2)


def test_in_a_crowd_all_flows_count_and_slots_are_fewer() -> None:
    assert is_full(0, SLOTS_UNMEASURED, None, in_crowd=True)
    assert slots_for(100e6 / 8, in_crowd=True) < slots_for(100e6 / 8)
    assert slots_for(20e6 / 8, in_crowd=True) < slots_for(100e6 / 8, in_crowd=True)


def test_who_streams_is_asked_again_when_he_will_have_done_with_that() -> None:
    assert streaming_seconds(0.95, 5.7) == pytest.approx(0.3)
    assert streaming_seconds(0.5, 5.0) == STREAMING_SECONDS_MAX == streaming_seconds(0.0, 0.0)
    assert streaming_seconds(1.0, 6.0) == RETRY_SECONDS_MIN
