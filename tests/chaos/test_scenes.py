"""Moments of faults that `scripts/chaos --scene all` shows for minutes (docs/reliability.md names the tests of the others)."""

from __future__ import annotations

import pytest

from tests.chaos.scenes import SCENES
from tests.kit.stage import Stage

SHORT_SECONDS = {"disk-full": 2.0, "read-only": 0.7, "clock-back": 0.5, "peers-apart": 3.0, "slow-clients": 1.0}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", SHORT_SECONDS)
def test_what_clients_see(stage: Stage, name: str) -> None:
    play, _ = SCENES[name]
    report = play(stage, SHORT_SECONDS[name])
    print("\n".join(report.lines()))
    assert not report.wrong, "\n".join(report.lines())
