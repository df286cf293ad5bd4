"""Keys whose answers turned out to be for one client each: nobody waits for another's, and no owner is asked for them, for a while."""

from __future__ import annotations

from collections.abc import Callable

from cachetools import TTLCache

from minicdn.core.decide import is_of_the_moment
from minicdn.core.ruling import ABOUT_ONE_REQUEST

PASS_SECONDS = 60.0
PASS_KEYS_MAX = 10_000


class PrivateKeys:
    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._noted: TTLCache[str, bool] = TTLCache(PASS_KEYS_MAX, PASS_SECONDS, timer=monotonic)
        self._has_noted = False
        """Ever: without, there is nothing to look for, three times for each request."""

    def __contains__(self, key: str) -> bool:
        return self._has_noted and key in self._noted

    def note(self, key: str, status: int) -> None:
        """Answered with that status, which nobody else may have. An upstream's trouble says nothing of what comes next: a crowd of which
        each asked for himself would meet it as soon as it is back. Nor does an answer to one request's range or condition say that others
        are answered for themselves."""
        if not is_of_the_moment(status) and status not in ABOUT_ONE_REQUEST:
            self._noted[key] = self._has_noted = True
