"""Waiting for something to become true, with a deadline and a reason."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class NeverHappened(AssertionError):
    """A condition that did not come true by its deadline."""


def eventually(condition: Callable[[], T], what: str, *, deadline_seconds: float = 20.0, show: Callable[[], str] | None = None) -> T:
    """Poll `condition` until its value is true, and return that value.

    what: completes "waited in vain for …". show: gives text worth reading when it failed (a process's output).
    An exception inside the condition counts as not yet, and is told if the deadline comes.
    """
    ends_at = time.monotonic() + deadline_seconds
    pause_seconds, last = 0.01, "nothing"
    while True:
        try:
            value = condition()
            if value:
                return value
            last = repr(value)[:500]
        except (OSError, ValueError, LookupError, AssertionError) as error:
            last = f"{type(error).__name__}: {error}"
        if time.monotonic() >= ends_at:
            shown = f"\n{show()}" if show else ""
            raise NeverHappened(f"waited in vain for {what} ({deadline_seconds:g} s; last seen: {last}){shown}")
        time.sleep(pause_seconds)
        pause_seconds = min(pause_seconds * 1.5, 0.2)


def always(condition: Callable[[], Any], what: str, *, for_seconds: float) -> None:
    """The condition holds now and at each look during the given time; for what must *not* happen meanwhile."""
    ends_at = time.monotonic() + for_seconds
    while time.monotonic() < ends_at:
        assert condition(), f"did not stay so: {what}"
        time.sleep(0.1)
