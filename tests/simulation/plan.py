"""What a seed decides: how many peers, which files, which faults and how often."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

from minicdn.settings import KIB, MIB, Settings
from tests.simulation.files import File
from tests.simulation.origin import ADDRESS, PORT, Trouble

FAULTS = (
    "partition", "blink", "cut", "kill", "power", "freeze", "leave", "manager_away", "origin_away", "origin_flaky", "slow", "liar",
    "cancel",
)  # fmt: skip
SILENCING = frozenset(("partition", "blink", "cut", "freeze", "manager_away", "slow", "lists"))
LATER_SEED = 2000
"""What was thought of later happens from this seed on, and with dice of its own: the others stay what they are."""
NEWER_SEED = 3000
"""The same, once more; and these are short, so that there may be more of them."""
GRACE_SECONDS = 40.0
LONG_LEASE_SECONDS = 600.0
"""A lease that nobody gives back is there to be seen."""
STREAMED_BYTES_MAX = 1 * MIB


@dataclass
class Plan:
    """faults: which kinds happen; every_seconds: how often, on average. requests_count: in the time of faults."""

    seed: int
    peers_count: int
    files: list[File]
    faults: tuple[str, ...]
    every_seconds: float
    requests_count: int
    gap_seconds: float
    change_seconds: float
    trouble: Trouble = field(default_factory=Trouble)
    settings: Settings = field(default_factory=Settings)
    network: dict[str, tuple[float, float]] = field(default_factory=dict)
    skew_seconds: tuple[float, ...] = ()
    crowd_count: int = 0
    """How many ask for one file at once, before anything else happens."""

    @property
    def is_calm(self) -> bool:
        return not self.faults

    @property
    def is_heard(self) -> bool:
        """What a node tells the manager arrives, all the while that both are there."""
        return SILENCING.isdisjoint(self.faults)

    @property
    def is_roomy(self) -> bool:
        """All files fit into memory and disk at once."""
        return self.settings.disk_bytes >= 64 * MIB and self.settings.memory_bytes >= 4 * MIB


def plan_of(seed: int) -> Plan:
    rng = random.Random(f"plan {seed}")
    peers_count = rng.randint(3, 6)
    faults = () if rng.random() < 0.2 else tuple(kind for kind in FAULTS if rng.random() < rng.choice((0.2, 0.5)))
    if faults and seed >= LATER_SEED and random.Random(f"full {seed}").random() < 0.25:
        faults = (*faults, "full")
    small_bytes = 64 * KIB
    settings = Settings(
        upstream=f"http://{ADDRESS}:{PORT}",
        memory_bytes=rng.choice((256 * KIB, 4 * MIB)),
        disk_bytes=rng.choice((6 * MIB, 64 * MIB)),
        small_bytes=small_bytes,
        grace_seconds=GRACE_SECONDS,
        negative_seconds=2.0,
        upstream_read_seconds=8.0,
        peer_read_seconds=12.0,
        client_stall_seconds=30.0,
        lease_seconds=60.0,
    )
    is_wide = rng.random() < 0.3
    network = {
        "delay_seconds": (0.02, 0.08) if is_wide else (0.0002, 0.003),
        "bytes_per_second": rng.choice(((50e6, 120e6), (2e6, 20e6), (0.5e6, 4e6))),
    }
    trouble = Trouble()
    if "origin_flaky" in faults:
        trouble = Trouble(*(rng.choice((0.0, 0.0, 0.05, 0.3)) for _ in range(4)), stall_seconds=rng.choice((2.0, 12.0)))
    plan = Plan(
        seed=seed,
        peers_count=peers_count,
        files=[_file(rng, number) for number in range(rng.randint(3, 7))],
        faults=faults,
        every_seconds=rng.choice((2.0, 6.0, 15.0)),
        requests_count=rng.choice((20, 40, 60)),
        gap_seconds=rng.choice((0.02, 0.3, 1.0)),
        change_seconds=rng.choice((3.0, 15.0, 60.0)),
        trouble=trouble,
        settings=settings,
        network=network,
        skew_seconds=tuple(rng.choice((0.0, 0.0, 0.0, rng.uniform(-900, 900))) for _ in range(peers_count + 1)),
    )
    return plan if seed < NEWER_SEED else _newer(plan, random.Random(f"newer {seed}"))


def _newer(plan: Plan, rng: random.Random) -> Plan:
    """Shorter; and: lists that differ, an origin away for longer than the grace, crowds for one file, more small files than fit."""
    plan.requests_count = rng.choice((10, 16, 24, 40))
    plan.crowd_count = rng.choice((0, 0, 4, 8))
    grace_seconds = rng.choice((3.0, 12.0, GRACE_SECONDS))
    if rng.random() < 0.25:
        small = (File(f"/small-{number}", rng.randint(20, 63) * KIB, rng.choice((5.0, 600.0))) for number in range(8))
        plan.files = [*plan.files, *small]
    if not plan.is_calm:
        plan.faults = (*plan.faults, *(kind for kind in ("lists", "origin_gone") if rng.random() < 0.3))
    if "origin_gone" in plan.faults:
        grace_seconds, plan.every_seconds, plan.change_seconds = 3.0, 3.0, 3.0
        plan.gap_seconds = rng.choice((1.0, 3.0))
    plan.settings = replace(plan.settings, grace_seconds=grace_seconds, lease_seconds=LONG_LEASE_SECONDS)
    return plan


def _file(rng: random.Random, number: int) -> File:
    kind = rng.random()
    length = rng.choice((0, 1, 700, 20 * KIB, 63 * KIB)) if kind < 0.4 else rng.randint(65 * KIB, 900 * KIB) if kind < 0.7 else 0
    length = length or (rng.randint(1 * MIB, 3 * MIB) if kind >= 0.7 else 0)
    return File(
        path=f"/file-{number}",
        length=length,
        max_age=rng.choice((1.0, 5.0, 20.0, 600.0)),
        has_validator=rng.random() < 0.85,
        has_ranges=rng.random() < 0.85,
        is_chunked=rng.random() < 0.15,
        is_stored=rng.random() < 0.93,
    )
