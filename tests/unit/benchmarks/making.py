"""Outcomes as a run would leave them."""

from __future__ import annotations

from typing import Any

from scripts.benchmarks.outcome import Outcome
from scripts.benchmarks.scenario import Scenario


def outcome(slowest_seconds: float, *, system: str = "minicdn", scenario: Scenario | None = None, **more: Any) -> Outcome:
    """Everybody finished; the origin sent the file once."""
    scenario = scenario or Scenario()
    finish = {name: slowest_seconds - 0.1 * index for index, name in enumerate(scenario.peer_names())}
    facts = {"finish_seconds": finish, "wall_seconds": slowest_seconds, "origin_log_bytes": scenario.size_bytes}
    return Outcome(system, scenario, **{**facts, **more})
