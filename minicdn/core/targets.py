"""Where Prometheus finds a cluster's nodes: its HTTP service discovery (http_sd_configs), a list of targets with labels.

Labels in two underscores say how a node is scraped and are gone afterwards; so no label of a target meets one of a metric. The role is
there for who wants to keep it (relabel_configs).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

METRICS_PATH = "/_metrics"
USUAL_PORTS = {"http": 80, "https": 443}


def target_of_node(url: str, role: str) -> dict[str, Any]:
    """url: in the spelling of nodeurl.py. The port is always named: whether a scraper fills it in depends on its version."""
    parts = urlsplit(url)
    address = parts.netloc if parts.port is not None else f"{parts.netloc}:{USUAL_PORTS[parts.scheme]}"
    labels = {"__scheme__": parts.scheme, "__metrics_path__": METRICS_PATH, "__meta_minicdn_role": role}
    return {"targets": [address], "labels": labels}


def targets(manager_url: str | None, peer_urls: Iterable[str]) -> list[dict[str, Any]]:
    """The manager first, unless it does not know its URL yet."""
    managers = [] if manager_url is None else [target_of_node(manager_url, "manager")]
    return [*managers, *(target_of_node(url, "peer") for url in peer_urls)]
