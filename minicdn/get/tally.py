"""Where the bytes came from, how often something went wrong, and both for a person and for a program."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

PEER, UPSTREAM = "peer", "upstream"
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


@dataclass(slots=True)
class SourceTally:
    kind: str
    bytes_received: int = 0
    failures_count: int = 0


@dataclass(slots=True)
class Tally:
    """Counts of one download. peers: URLs of what counts as a peer; all others count as the upstream."""

    peers: frozenset[str] = frozenset()
    sources: dict[str, SourceTally] = field(default_factory=dict)
    resumed_bytes: int = 0
    retries_count: int = 0
    restarts_count: int = 0
    verified_by: str | None = None

    def of(self, url: str) -> SourceTally:
        return self.sources.setdefault(url, SourceTally(PEER if url in self.peers else UPSTREAM))

    def received(self, url: str, size: int) -> None:
        self.of(url).bytes_received += size

    def failed(self, url: str) -> None:
        self.of(url).failures_count += 1
        self.retries_count += 1

    def bytes_of(self, kind: str) -> int:
        return sum(source.bytes_received for source in self.sources.values() if source.kind == kind)

    def peers_count(self) -> int:
        return sum(source.kind == PEER and source.bytes_received > 0 for source in self.sources.values())

    def as_json(self) -> dict[str, Any]:
        return {
            "bytes_peer": self.bytes_of(PEER),
            "bytes_upstream": self.bytes_of(UPSTREAM),
            "sources": [
                {"url": url, "kind": source.kind, "bytes": source.bytes_received, "failures_count": source.failures_count}
                for url, source in self.sources.items()
            ],
            "resumed_bytes": self.resumed_bytes,
            "retries_count": self.retries_count,
            "restarts_count": self.restarts_count,
            "verified_by": self.verified_by,
        }


def progress_line(name: str, held_bytes: int, length: int | None, bytes_per_second: float, tally: Tally) -> str:
    """One line of less than a terminal's usual width."""
    amount = size_text(held_bytes) if length is None else f"{size_text(held_bytes)} of {size_text(length)}"
    share = f"{100 * held_bytes // length:3d} %  " if length else ""
    left = ""
    if length is not None and bytes_per_second > 0:
        left = f"  {time_text((length - held_bytes) / bytes_per_second)} left"
    peers = f"{tally.peers_count()} peers {size_text(tally.bytes_of(PEER))}"
    return f"{name[:24]}  {share}{amount}  {size_text(bytes_per_second)}/s{left}  ({peers}, upstream {size_text(tally.bytes_of(UPSTREAM))})"


def size_text(size: float) -> str:
    unit = 0
    while size >= 1000 and unit < len(_UNITS) - 1:
        size /= 1024
        unit += 1
    return f"{size:.0f} {_UNITS[unit]}" if unit == 0 or size >= 100 else f"{size:.1f} {_UNITS[unit]}"


def time_text(seconds: float) -> str:
    minutes, rest = divmod(int(min(seconds, 359_999)), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"
