"""What a swarm is asked to do, and how fast it could be done at best.

Every link has the same rate each way, but for some peers whose uplink is slow. The bound is the fluid one (Kumar and Ross 2006):
the origin must send the file once, each peer must receive it once, and all uplinks together must carry N copies.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from minicdn.values import parse_size

__all__ = ["SCENARIOS", "Scenario", "parse_kill", "parse_rate", "parse_size", "parse_slow"]

MIB = 1 << 20
MBIT = 1_000_000 // 8
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmg])bit", re.IGNORECASE)
_UNITS = {"k": 1_000, "m": 1_000_000, "g": 1_000_000_000}

ORIGIN_LIMIT = 1.03
"""Bytes that the origin may send, in files."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """Rates are bytes per second. The first `slow_count` peers have a slow uplink; `kill_count` peers die at `kill_at` × ideal."""

    peers: int = 8
    size_bytes: int = 64 * MIB
    rate: float = 100.0 * MBIT
    slow_count: int = 0
    slow_rate: float = 20.0 * MBIT
    kill_count: int = 0
    kill_at: float = 0.4

    def peer_names(self) -> list[str]:
        return [f"peer{number}" for number in range(1, self.peers + 1)]

    def uplinks(self) -> list[float]:
        return [self.slow_rate] * self.slow_count + [self.rate] * (self.peers - self.slow_count)

    def ideal_seconds(self) -> float:
        return ideal_seconds(self.size_bytes, self.rate, self.rate, self.uplinks())

    @property
    def kill_after_seconds(self) -> float:
        return self.kill_at * self.ideal_seconds()

    @property
    def is_beside_curl(self) -> bool:
        """One peer alone can't be faster than the plain download: it is compared with that instead."""
        return self.peers == 1

    @property
    def limit(self) -> float:
        """What slowest ÷ ideal (with one peer: ÷ curl's own time) must not pass."""
        if self.is_beside_curl:
            return 1.05
        return 1.3 if self.kill_count else 1.2 if self.slow_count else 1.15

    @property
    def name(self) -> str:
        words = [f"N={self.peers}", show_size(self.size_bytes)]
        if self.slow_count:
            words.append(f"{self.slow_count} uplinks {show_rate(self.slow_rate)}")
        if self.kill_count:
            words.append(f"{self.kill_count} killed at {self.kill_at:g}")
        return ", ".join(words)

    def check(self) -> None:
        """ValueError where it makes no sense."""
        if self.peers < 1 or self.peers > 200:
            raise ValueError("between 1 and 200 peers")
        if self.slow_count > self.peers or self.kill_count >= self.peers:
            raise ValueError("more slow or killed peers than peers")


SCENARIOS = (
    Scenario(peers=1),
    Scenario(),
    Scenario(slow_count=4),
    Scenario(kill_count=2),
    Scenario(peers=16),
)
"""The whole table."""

BY_N = tuple(replace(SCENARIOS[1], peers=count) for count in (1, 2, 4, 8, 16))
"""For the chart: time by number of peers."""


def ideal_seconds(size_bytes: int, origin_rate: float, slowest_downlink: float, uplinks: list[float]) -> float:
    copies = len(uplinks) * size_bytes
    return max(size_bytes / origin_rate, size_bytes / slowest_downlink, copies / (origin_rate + sum(uplinks)))


def parse_rate(text: str) -> float:
    """Bytes per second, from tc's way of writing: 100mbit, 20mbit, 1gbit."""
    match = _RATE.fullmatch(text.strip())
    if not match or float(match[1]) == 0:
        raise ValueError(f"{text!r} is not a rate; write for example 100mbit")
    return float(match[1]) * _UNITS[match[2].lower()] / 8


def parse_slow(text: str) -> tuple[int, float]:
    """`4:20mbit`: how many peers, and their uplink."""
    count, colon, rate = text.partition(":")
    if not colon or not count.isdecimal():
        raise ValueError(f"{text!r} is not a count and a rate; write for example 4:20mbit")
    return int(count), parse_rate(rate)


def parse_kill(text: str) -> tuple[int, float]:
    """`2@0.4`: how many peers, and when as a share of the ideal time."""
    match = re.fullmatch(r"(\d+)@(\d+(?:\.\d+)?)", text.strip())
    if not match:
        raise ValueError(f"{text!r} is not a count and a share of the ideal time; write for example 2@0.4")
    return int(match[1]), float(match[2])


def show_rate(rate: float) -> str:
    return f"{rate * 8 / 1e6:g}mbit"


def show_size(size_bytes: int) -> str:
    for unit, name in ((1 << 30, "GiB"), (MIB, "MiB"), (1 << 10, "KiB")):
        if size_bytes >= unit and size_bytes % unit == 0:
            return f"{size_bytes // unit} {name}"
    return f"{size_bytes} B"
