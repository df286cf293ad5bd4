"""What came of it all: counts, and latencies in steps of a thousandth of themselves, so that a long run takes no more room than a short
one. Pure."""

from __future__ import annotations

from collections import Counter
from typing import Any

REASONS_MAX = 20
SERVERS_MAX = 1000
OTHERS = "others"
_EXACT_BITS = 10


class Latencies:
    """Of how many requests each latency was, in microseconds."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.count, self._sum, self.longest = 0, 0.0, 0.0

    def note(self, seconds: float) -> None:
        micros = int(seconds * 1e6)
        step = micros.bit_length() - _EXACT_BITS
        if step > 0:
            micros = micros >> step << step
        self._counts[micros] = self._counts.get(micros, 0) + 1
        self.count += 1
        self._sum += seconds
        if seconds > self.longest:
            self.longest = seconds

    def percentile(self, share: float) -> float:
        """Seconds, within a thousandth; 0 where there were none."""
        wanted, seen = share * self.count, 0
        for micros in sorted(self._counts):
            seen += self._counts[micros]
            if seen >= wanted:
                return micros / 1e6
        return 0.0

    def as_json(self) -> dict[str, float]:
        found = {"mean": self._sum / self.count if self.count else 0.0}
        found |= {f"p{percent}": self.percentile(percent / 100) for percent in (50, 90, 99)}
        return {name: round(value, 6) for name, value in (found | {"max": self.longest}).items()}


class Figures:
    def __init__(self) -> None:
        self.latencies = Latencies()
        self.bytes_count = 0
        self.redirects_count = 0
        self._statuses: Counter[int] = Counter()
        self._caches: Counter[str] = Counter()
        self._sources: dict[str, list[int]] = {}
        self._servers: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()

    @property
    def requests_count(self) -> int:
        return self.latencies.count

    @property
    def errors_count(self) -> int:
        return self._errors.total()

    def answered(self, server: str, status: int, cache: str, source: str, size: int, seconds: float) -> None:
        """size: of its body, of which `bytes_count` was told as it came."""
        self.latencies.note(seconds)
        self._statuses[status] += 1
        self._caches[cache] += 1
        counts = self._sources.get(source)
        if counts is None:
            source = source if len(self._sources) < REASONS_MAX else OTHERS
            counts = self._sources.setdefault(source, [0, 0])
        counts[0] += 1
        counts[1] += size
        self._servers[server if server in self._servers or len(self._servers) < SERVERS_MAX else OTHERS] += 1

    def failed(self, reason: str) -> None:
        self._errors[reason if reason in self._errors or len(self._errors) < REASONS_MAX else OTHERS] += 1

    def as_json(self, seconds: float) -> dict[str, Any]:
        """seconds: how long it went on."""
        return {
            "seconds": round(seconds, 3),
            "requests_count": self.requests_count,
            "requests_per_second": round(self.requests_count / seconds, 1) if seconds else 0.0,
            "bytes_count": self.bytes_count,
            "bytes_per_second": round(self.bytes_count / seconds) if seconds else 0,
            "latency_seconds": self.latencies.as_json(),
            "statuses": {str(status): count for status, count in sorted(self._statuses.items())},
            "caches": dict(self._caches.most_common()),
            "sources": {name: {"requests_count": count, "bytes_count": size} for name, (count, size) in self._sources.items()},
            "servers": dict(self._servers.most_common()),
            "redirects_count": self.redirects_count,
            "errors_count": self.errors_count,
            "errors": dict(self._errors.most_common()),
        }
