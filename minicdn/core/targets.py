"""Where Prometheus finds a cluster's nodes: its HTTP service discovery (http_sd_configs), groups of targets with labels.

Labels in two underscores say how a node is scraped and are gone afterwards; so no label of a target meets one of a metric. The role is
there for who wants to keep it (relabel_configs).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

METRICS_PATH = "/_metrics"
USUAL_PORTS = {"http": "80", "https": "443"}


def targets(manager_url: str | None, peer_urls: Iterable[str]) -> list[dict[str, Any]]:
    """The manager first, unless it does not know its URL yet; then peers, by scheme. URLs are in the spelling of nodeurl.py."""
    groups: dict[tuple[str, str], list[str]] = {}
    for role, urls in (("manager", [] if manager_url is None else [manager_url]), ("peer", peer_urls)):
        for url in urls:
            scheme, _, place = url.partition("://")
            groups.setdefault((role, scheme), []).append(_with_port(scheme, place))
    return [
        {"targets": found, "labels": {"__scheme__": scheme, "__metrics_path__": METRICS_PATH, "__meta_minicdn_role": role}}
        for (role, scheme), found in groups.items()
    ]


def _with_port(scheme: str, place: str) -> str:
    """Always named: whether a scraper fills it in depends on its version. place: host, or host:port."""
    has_port = ":" in place and not place.endswith("]")
    return place if has_port else f"{place}:{USUAL_PORTS[scheme]}"
