from __future__ import annotations

import random

from minicdn.core.rest import Rest, Turn


class Full:
    """Chance at its end: each wait is the whole step."""

    def random(self) -> float:
        return 1.0


def failing(rest: Rest, now: float, rng: object = None) -> float:
    """One more failure. Returns how long the rest is."""
    turn = rest.take(now)
    assert turn in (Turn.FREE, Turn.TRIAL)
    assert rest.fail(turn, now, rng or Full())  # type: ignore[arg-type]
    return rest.left_seconds(now)


def test_the_first_failure_is_free_and_waits_grow_to_the_bound() -> None:
    rest, now, waits = Rest(0.05, 2.0), 100.0, []
    for _ in range(40):
        waits.append(failing(rest, now))
        now = rest.until_at
    assert [round(wait, 6) for wait in waits] == [0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6] + [2.0] * 33


def test_waits_are_drawn_from_nothing_up_to_the_step() -> None:
    waits = []
    for seed in range(300):
        rest, rng = Rest(0.05, 2.0), random.Random(seed)
        for _ in range(10):
            waits.append(failing(rest, rest.until_at, rng))
        assert waits[-1] <= 2.0
    last = waits[9::10]
    assert min(last) < 0.1 and max(last) > 1.9
    assert 0.8 < sum(last) / len(last) < 1.2


def test_nobody_goes_during_a_rest_and_one_after_it() -> None:
    rest = Rest(0.05, 2.0)
    failing(rest, 0.0)
    failing(rest, 0.0)
    assert rest.take(0.049) is Turn.REST
    assert rest.take(0.05) is Turn.TRIAL
    assert [rest.take(0.05), rest.take(9.0)] == [Turn.WAIT, Turn.WAIT]
    rest.give_up()
    assert rest.take(9.0) is Turn.TRIAL


def test_those_who_fail_together_count_once() -> None:
    rest = Rest(0.05, 2.0)
    turns = [rest.take(0.0) for _ in range(64)]
    assert [rest.fail(turn, 1.0, Full()) for turn in turns] == [True] + [False] * 63  # type: ignore[arg-type]
    assert rest.failures_count == 1


def test_a_success_clears_it() -> None:
    rest = Rest(0.05, 2.0)
    for _ in range(6):
        failing(rest, rest.until_at)
    assert rest.reach() == 6
    assert [rest.take(0.0) for _ in range(3)] == [Turn.FREE] * 3
    assert rest.reach() == 0
    assert failing(rest, 0.0) == 0.0
