from __future__ import annotations

import random

from minicdn.core.backoff import Backoff


def test_waits_grow_to_the_bound_and_start_again_after_a_success() -> None:
    backoff, rng = Backoff(0.5, 4.0), random.Random(1)
    waits = [backoff.next_seconds(rng) for _ in range(200)]
    for wait, step in zip(waits, [0.5, 1, 2, 4, 4, 4], strict=False):
        assert step / 2 <= wait <= step
    assert all(2 <= wait <= 4 for wait in waits[4:])
    backoff.reset()
    assert backoff.next_seconds(rng) <= 0.5


def test_no_two_nodes_come_back_in_step() -> None:
    waits = {round(Backoff(0.5, 4.0).next_seconds(random.Random(seed)), 6) for seed in range(50)}
    assert len(waits) > 40
