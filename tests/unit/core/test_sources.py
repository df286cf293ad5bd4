"""Whom a requester asks, and whom it leaves alone."""

from __future__ import annotations

import random

from minicdn.core.sources import LIES_MAX, SAMPLE_MAX, Sources

A, B = "http://a:1", "http://b:1"


def test_who_fails_rests_longer_each_time_and_who_gives_is_forgiven() -> None:
    sources = Sources(None)
    source = sources.get(A)
    source.fail(0.0)
    assert not source.is_resting(0.0)
    source.fail(0.0)
    first = source.resting_until
    source.fail(0.0)
    assert source.resting_until > first > 0.0
    sources.took(A, 1000, 1.0)
    source.fail(100.0)
    assert not source.is_resting(100.0)


def test_who_is_silent_rests_at_once() -> None:
    source = Sources(None).get(A)
    source.silent(0.0)
    assert source.is_resting(0.5)


def test_who_lies_too_often_is_shunned() -> None:
    source = Sources(None).get(A)
    source.have_mask = 7
    assert [source.lie(0.0) for _ in range(LIES_MAX)] == [False] * (LIES_MAX - 1) + [True]
    assert source.have_mask == 0
    assert source.is_resting(60.0)


def test_only_holders_with_room_are_chosen_and_nobody_that_is_excluded() -> None:
    sources, rng = Sources(None), random.Random(1)
    sources.get(A).have_mask = 1
    sources.get(B).have_mask = 2
    assert sources.choose(0, 0.0, rng, besides=(), room=4) is sources.get(A)
    assert sources.choose(0, 0.0, rng, besides=(A,), room=4) is None
    sources.get(A).flights_count = 4
    assert sources.choose(0, 0.0, rng, besides=(), room=4) is None
    assert sources.choose(2, 0.0, rng, besides=(), room=4) is None


def test_the_quick_are_chosen_more_often() -> None:
    sources, rng = Sources(None), random.Random(1)
    for url, seconds in ((A, 1.0), (B, 9.0)):
        sources.get(url).have_mask = 1
        sources.took(url, 1000, seconds)
    chosen = [sources.choose(0, 0.0, rng, besides=(), room=4) for _ in range(300)]
    assert chosen.count(sources.get(A)) > 2 * chosen.count(sources.get(B))


def test_of_a_thousand_only_some_are_looked_at() -> None:
    sources, rng = Sources(None), random.Random(1)
    for number in range(1000):
        sources.get(f"http://{number}:1").have_mask = 1
    chosen = {sources.choose(0, 0.0, rng, besides=(), room=4).url for _ in range(200)}
    assert len(sources._sample(rng)) == SAMPLE_MAX
    assert len(chosen) > 100
