"""What is known of one run, and the figures that follow from it."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from typing import Any

from scripts.benchmarks.scenario import ORIGIN_LIMIT, Scenario


@dataclass
class Outcome:
    """Times count from the barrier; `finish_seconds` lacks the killed and the failed."""

    system: str
    scenario: Scenario
    finish_seconds: dict[str, float] = field(default_factory=dict)
    killed: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    wall_seconds: float = 0.0
    curl_seconds: float | None = None
    origin_requests: int = 0
    origin_log_bytes: int = 0
    origin_device_bytes: int = 0
    traffic: dict[str, dict[str, int]] = field(default_factory=dict)
    cpu_seconds: dict[str, float] = field(default_factory=dict)
    machine_cpu_seconds: float = 0.0
    clients: dict[str, dict[str, Any]] = field(default_factory=dict)
    stats: dict[str, dict[str, Any]] = field(default_factory=dict)
    timeline: list[dict[str, Any]] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        return not self.failed and bool(self.finish_seconds)

    @property
    def slowest_seconds(self) -> float:
        return max(self.finish_seconds.values(), default=0.0)

    @property
    def ratio(self) -> float:
        """Slowest ÷ ideal; where curl went first, ÷ curl's own time."""
        return self.slowest_seconds / (self.curl_seconds or self.scenario.ideal_seconds())

    @property
    def origin_files(self) -> float:
        """What the origin sent, in files: by its log, or by its device where it keeps none."""
        return (self.origin_log_bytes or self.origin_device_bytes) / self.scenario.size_bytes

    @property
    def is_within(self) -> bool:
        return self.is_whole and self.ratio <= self.scenario.limit and self.origin_files <= ORIGIN_LIMIT

    def uplink(self, host: str) -> float:
        """Bytes per second."""
        return dict(zip(self.scenario.peer_names(), self.scenario.uplinks(), strict=True)).get(host, self.scenario.rate)

    @property
    def own_cpu_share(self) -> float:
        """Of the machine's cores, what the run's processes used; 1 is all of them."""
        return self._share(sum(self.cpu_seconds.values()))

    @property
    def machine_cpu_share(self) -> float:
        """Of the machine's cores, what everybody used, strangers and the kernel's packet work included."""
        return self._share(self.machine_cpu_seconds)

    def _share(self, cpu_seconds: float) -> float:
        return cpu_seconds / (self.wall_seconds * (os.cpu_count() or 1)) if self.wall_seconds else 0.0

    def to_json(self) -> dict[str, Any]:
        names = ("slowest_seconds", "ratio", "origin_files", "own_cpu_share", "machine_cpu_share")
        figures = {"name": self.scenario.name, "ideal_seconds": self.scenario.ideal_seconds(), "limit": self.scenario.limit}
        return {**figures, **{name: getattr(self, name) for name in names}, **asdict(self)}
