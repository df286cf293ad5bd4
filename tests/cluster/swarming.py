"""What the tests of a swarm with somebody in it who does wrong have in common."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.kit.clients import CURL_PARTIAL_FILE, CurlDownload, Got
from tests.kit.files import MIB

SIZE = 24 * MIB
"""Larger than what streams through its owner."""
RATE_BYTES = 10 * MIB
"""Of each connection to the upstream: a healthy download takes some seconds, so that there is a middle of it."""
RATIO_MAX = 4.0
KEPT = 'add_header Cache-Control "max-age=3600";'


def at_once(urls: list[str]) -> list[Got]:
    return finished([CurlDownload(url) for url in urls])


def finished(started: list[CurlDownload]) -> list[Got]:
    with ThreadPoolExecutor(len(started)) as pool:
        return list(pool.map(CurlDownload.finish, started))


def is_right(got: Got, digest: str, size: int = SIZE) -> bool:
    return (got.code, got.size_bytes, got.sha256) == (0, size, digest)


def is_cut(got: Got, size: int = SIZE) -> bool:
    return got.code == CURL_PARTIAL_FILE and got.size_bytes < size
