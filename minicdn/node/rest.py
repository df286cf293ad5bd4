"""An upstream that can't be reached is left alone for a moment, longer after each failure, so that it is not met by a crowd when it
comes back, and its clients hear at once what they would hear after a deadline.

The first failures in a row are free: a single refused connection is an accident. Silence rests nobody: it has cost its deadline already.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from minicdn.core.backoff import Backoff
from minicdn.errors import UpstreamError

FREE_FAILURES = 3
BASE_SECONDS, MAX_SECONDS = 0.05, 2.0


class Rest:
    """Of one upstream, at one node. monotonic: the node's clock."""

    def __init__(self, monotonic: Callable[[], float], rng: random.Random) -> None:
        self._monotonic = monotonic
        self._rng = rng
        self._backoff = Backoff(BASE_SECONDS, MAX_SECONDS)
        self._until = 0.0
        self._reason = ""

    def check(self) -> None:
        """Raises UpstreamError while the upstream is left alone."""
        left = self._until - self._monotonic()
        if left > 0:
            raise UpstreamError(f"{self._reason}; asked again in {left:.1f} s")

    def failed(self, error: UpstreamError) -> None:
        if error.timed_out:
            return
        seconds = self._backoff.next_seconds(self._rng)
        if self._backoff.failures_count > FREE_FAILURES:
            self._until, self._reason = self._monotonic() + seconds, str(error)

    def answered(self) -> None:
        """With whatever status: it is there."""
        if self._backoff.failures_count:
            self._backoff.reset()
            self._until = 0.0
