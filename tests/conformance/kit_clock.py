"""One time for all nodes of the process, moved by hand; each node reads it on a watch of its own, which may be set wrong."""

from __future__ import annotations

from minicdn.node.clock import Clock

START_AT = 1_790_000_000.25
"""A quarter past the second, so that nothing rests on whole seconds."""


class Time:
    def __init__(self) -> None:
        self.at = START_AT

    def move(self, seconds: float) -> None:
        self.at += seconds


class Watch(Clock):
    def __init__(self, time: Time, skew_seconds: float = 0.0) -> None:
        self._time = time
        self._skew_seconds = skew_seconds

    def wall(self) -> float:
        return self._time.at + self._skew_seconds

    def monotonic(self) -> float:
        return self._time.at - START_AT
