"""The upstream of a node that must not ask it (--no-back-to-source): whoever asks here hears why there is no answer.

It stands where the upstream would, so that no way leads around it: fills, parts, pieces, refreshes, and methods that pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from minicdn.core.message import Fields
from minicdn.errors import UpstreamError
from minicdn.node.patience import PatientUpstream


class ForbiddenUpstream(PatientUpstream):
    """has_owners: whether any listed peer may ask the upstream."""

    def __init__(self, has_owners: Callable[[], bool]) -> None:  # in no way like the one whose place it takes
        self._has_owners = has_owners

    def begin(self, *_: Any, **__: Any) -> None:
        """Nothing goes out; send() says why."""

    def tail(self, fields: Fields) -> bytes:
        return b""

    def now(self) -> float:
        return 0.0

    async def send(self, *_: Any, **__: Any) -> NoReturn:
        """Raises UpstreamError, always."""
        if not self._has_owners():
            raise UpstreamError("no peer in the list may ask the upstream: all of them run with --no-back-to-source")
        raise UpstreamError("this node may not ask the upstream (--no-back-to-source), and nobody who may has answered")
