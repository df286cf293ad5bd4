"""What a seed decides: how many peers, which files, which faults and how often."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from minicdn.settings import KIB, MIB, Settings
from tests.simulation.files import File
from tests.simulation.origin import ADDRESS, PORT, Trouble

FAULTS = (
    "partition", "blink", "cut", "kill", "power", "freeze", "leave", "manager_away", "origin_away", "origin_flaky", "slow", "liar",
    "cancel",
)  # fmt: skip
LATER_SEED = 2000
"""What was thought of later happens from this seed on, and with dice of its own: the others stay what they are."""
NEWER_SEED = 3000
"""The same, once more; and these are short, so that there may be more of them."""
GRACE_SECONDS = 40.0
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

    @property
    def is_calm(self) -> bool:
        return not self.faults

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
    newer = random.Random(f"newer {seed}") if seed >= NEWER_SEED else None
    if faults and newer is not None:
        faults = (*faults, *(kind for kind in ("lists", "origin_gone") if newer.random() < 0.3))
    small_bytes = 64 * KIB
    settings = Settings(
        upstream=f"http://{ADDRESS}:{PORT}",
        memory_bytes=rng.choice((256 * KIB, 4 * MIB)),
        disk_bytes=rng.choice((6 * MIB, 64 * MIB)),
        small_bytes=small_bytes,
        grace_seconds=newer.choice((3.0, 12.0, GRACE_SECONDS)) if newer is not None else GRACE_SECONDS,
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
    return Plan(
        seed=seed,
        peers_count=peers_count,
        files=[_file(rng, number) for number in range(rng.randint(3, 7))],
        faults=faults,
        every_seconds=rng.choice((2.0, 6.0, 15.0)),
        requests_count=rng.choice((20, 40, 60)) if newer is None else newer.choice((10, 16, 24, 40)),
        gap_seconds=rng.choice((0.02, 0.3, 1.0)),
        change_seconds=rng.choice((3.0, 15.0, 60.0)),
        trouble=trouble,
        settings=settings,
        network=network,
        skew_seconds=tuple(rng.choice((0.0, 0.0, 0.0, rng.uniform(-900, 900))) for _ in range(peers_count + 1)),
    )


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
