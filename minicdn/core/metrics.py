"""What a node counts and measures as Prometheus reads it: the text exposition format 0.0.4 (docs/adr/0013-metrics.md).

Names follow from those of counters.py by one rule: `minicdn_` before them, no `_count` behind them, and `_total` behind each that only
grows. The four of bodies' bytes that clients got are one metric with a label, since one adds them up: `bytes_disk` is
`minicdn_client_bytes_total{source="disk"}`. Meanings are those of counters.py; what `/_stats` has not is in OTHERS.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from minicdn.core.counters import COUNTERS, GAUGES
from minicdn.core.roster import SeatView
from minicdn.core.value import value_class

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
COUNTER, GAUGE = "counter", "gauge"
CLIENT_BYTES = "minicdn_client_bytes_total"
OTHERS: dict[str, str] = {
    CLIENT_BYTES: "body bytes sent to clients, by where they came from (source: memory, disk, peer or upstream)",
    "minicdn_build_info": "always 1; its labels say which version runs here, and in which role",
    "minicdn_ready": "1 while this node is ready, as /_health says it, else 0",
    "minicdn_memory_budget_bytes": "what the memory cache may take (--memory)",
    "minicdn_disk_budget_bytes": "what the disk cache may take (--disk)",
    "minicdn_peers_unlisted": "peers that report to the manager but are not listed, as they can't be reached or sent wrong bytes",
    "minicdn_peer_uplink_bytes_per_second": "at the manager: what a peer's uplink was measured to carry; 0: not known yet",
    "minicdn_peer_share": "at the manager: a peer's share of the pieces of large files, 1 being the usual one",
}

Labels = tuple[tuple[str, str], ...]


@value_class
class Metric:
    """kind: COUNTER or GAUGE. samples: labels and the number, each with other labels."""

    name: str
    kind: str
    meaning: str
    samples: tuple[tuple[Labels, float], ...]


def metric_name(name: str) -> tuple[str, Labels]:
    """Of a counter or a gauge of `/_stats`, with the labels that belong to it."""
    if name not in COUNTERS:
        return "minicdn_" + name.removesuffix("_count"), ()
    if name.startswith("bytes_"):
        return CLIENT_BYTES, (("source", name.removeprefix("bytes_")),)
    return f"minicdn_{name.removesuffix('_count')}_total", ()


def metrics_of(stats: Mapping[str, float]) -> list[Metric]:
    """All of `/_stats`. KeyError for a number that has no meaning in counters.py."""
    samples: dict[str, list[tuple[Labels, float]]] = {}
    about: dict[str, tuple[str, str]] = {}
    for name, value in stats.items():
        metric, labels = metric_name(name)
        samples.setdefault(metric, []).append((labels, value))
        kind, meaning = (COUNTER, COUNTERS[name]) if name in COUNTERS else (GAUGE, GAUGES[name])
        about[metric] = kind, OTHERS.get(metric, meaning)
    return [Metric(name, *about[name], tuple(found)) for name, found in samples.items()]


def gauge(name: str, value: float, labels: Labels = ()) -> Metric:
    """One of OTHERS."""
    return Metric(name, GAUGE, OTHERS[name], ((labels, value),))


def metrics_of_peers(seats: Iterable[SeatView]) -> list[Metric]:
    """What a manager knows of each peer, listed or not, by its URL."""
    found = [((("peer", seat.member.url),), seat) for seat in seats]
    values: dict[str, list[tuple[Labels, float]]] = {
        "minicdn_peer_uplink_bytes_per_second": [(labels, round(seat.uplink)) for labels, seat in found],
        "minicdn_peer_share": [(labels, seat.member.share) for labels, seat in found],
    }
    unlisted = gauge("minicdn_peers_unlisted", sum(not seat.is_listed for _, seat in found))
    return [unlisted, *(Metric(name, GAUGE, OTHERS[name], tuple(samples)) for name, samples in values.items() if samples)]


def exposition(metrics: Iterable[Metric]) -> str:
    lines: list[str] = []
    for metric in metrics:
        lines.append(f"# HELP {metric.name} {_escaped(metric.meaning)}")
        lines.append(f"# TYPE {metric.name} {metric.kind}")
        lines += [f"{metric.name}{_braced(labels)} {value}" for labels, value in metric.samples]
    return "\n".join(lines) + "\n"


def _braced(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value).replace(chr(34), chr(92) + chr(34))}"' for name, value in labels) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")
