"""Some seconds of what `scripts/chaos` does for minutes."""

from __future__ import annotations

import pytest

from tests.chaos.storm import storm
from tests.kit.stage import Stage


@pytest.mark.timeout(120)
def test_kill_9_at_random_moments_under_load(stage: Stage) -> None:
    outcome = storm(stage.folder / "storm", stage.nginx(), seconds=3, peers=3, clients=6, seed=1)
    print("\n".join(outcome.lines()))
    assert outcome.kills_count >= 1 and len(outcome.figures.seen) > 100
    assert outcome.is_good, "\n".join(outcome.lines())
