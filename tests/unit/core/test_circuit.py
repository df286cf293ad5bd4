"""A peer's circuit, step by step: what who comes when may do, after what was learned."""

from __future__ import annotations

import random

import pytest

from minicdn.core.circuit import LOOK_SECONDS, TRIAL_SECONDS, Circuit, Step


class Full:
    """Chance at its end: each rest is the whole step."""

    def random(self) -> float:
        return 1.0


FULL: random.Random = Full()  # type: ignore[assignment]

STORIES = {
    "nothing failed": ["free", "free"],
    "a failure opens it at once": ["fail", "rest", "at 0.9", "rest"],
    "then it is looked for, once": ["fail", "at 1", "look", "rest", "rest"],
    "who looks says nothing: the next one looks": ["fail", "at 1", "look", f"at {1 + LOOK_SECONDS}", "look", "rest"],
    "found, one question goes": ["fail", "at 1", "look", "answered", "trial", "rest"],
    "the trial says nothing: the next one goes": ["fail", "at 1", "look", "answered", "trial", f"at {1 + TRIAL_SECONDS}", "trial"],
    "the trial fails: it rests twice as long": ["fail", "at 1", "look", "answered", "trial", "fail", "at 2.9", "rest", "at 3", "look"],
    "not found: it rests twice as long": ["fail", "at 1", "look", "lost", "at 2.9", "rest", "at 3", "look"],
    "those who fail together count once": ["fail", "fail", "fail", "at 0.9", "rest", "at 1", "look"],
    "an answer to a look without a failure is no news": ["answered", "free"],
    "a look that was late finds nothing new": ["fail", "at 1", "look", "answered", "at 1.5", "answered", "trial"],
}


@pytest.mark.parametrize("story", STORIES)
def test_what_who_comes_may_do(story: str) -> None:
    circuit, now = Circuit(1.0, 8.0), 0.0
    for step in STORIES[story]:
        match step.split():
            case ["at", seconds]:
                now = float(seconds)
            case ["fail"]:
                circuit.fail(now, FULL)
            case ["lost"]:
                circuit.look_failed(now, FULL)
            case ["answered"]:
                circuit.answered(now)
            case [wanted]:
                assert circuit.step(now) is Step(wanted), "looking changes nothing"
                assert circuit.take(now) is Step(wanted)


def test_rests_grow_to_the_bound() -> None:
    circuit, now, rests = Circuit(0.5, 5.0), 100.0, []
    circuit.fail(now, FULL)
    for _ in range(8):
        rests.append(circuit.until_at - now)
        now = circuit.until_at
        assert circuit.take(now) is Step.LOOK
        circuit.look_failed(now, FULL)
    assert rests == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0, 5.0]


def test_rests_are_drawn_between_half_the_step_and_all_of_it() -> None:
    rests = []
    for seed in range(300):
        circuit = Circuit(4.0, 4.0)
        circuit.fail(0.0, random.Random(seed))
        rests.append(circuit.until_at)
    assert 2.0 <= min(rests) < 2.1 and 3.9 < max(rests) <= 4.0
