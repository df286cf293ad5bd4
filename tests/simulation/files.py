"""What the origin has: files whose content says of which version each byte is, and when each version was the current one."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import lru_cache


@lru_cache(256)
def content(path: str, version: int, length: int) -> bytes:
    return random.Random(f"{path} {version}").randbytes(length)


@dataclass
class File:
    """has_validator: a strong ETag. is_chunked: its length is not announced. Changed by change(), at virtual times."""

    path: str
    length: int
    max_age: float
    has_validator: bool = True
    has_ranges: bool = True
    is_chunked: bool = False
    is_stored: bool = True
    versions: list[tuple[float, int]] = field(default_factory=list)
    """(since, length), version n is the n-th."""

    @property
    def version(self) -> int:
        return len(self.versions) - 1

    def change(self, now: float, length: int | None = None) -> None:
        self.versions.append((now, self.length if length is None else length))

    def bytes_of(self, version: int) -> bytes:
        return content(self.path, version, self.versions[version][1])

    def over_at(self, version: int) -> float:
        """When this version was no longer the current one."""
        return self.versions[version + 1][0] if version < self.version else float("inf")

    def etag(self, version: int) -> str:
        return f'"v{version}"'

    @property
    def cache_control(self) -> str:
        return f"max-age={self.max_age:g}" if self.is_stored else "no-store"
