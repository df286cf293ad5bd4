"""Which bytes are there: a set of half-open spans [start, end), kept sorted, disjoint and merged.

The progress of every Body is one of these. Almost always it holds a single span (a body filled in order), so the case
"append to the last one" is the quick one, and a single span takes the least room: a tuple of one start, which is nearly always the
same, and one of one end. A body filled by pieces holds a few hundred spans at most, in lists.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator

_AT_ZERO = (0,)


class SpanSet:
    """Spans of bytes. Adding is O(log n) plus what it swallows; asking is O(log n)."""

    __slots__ = ("_ends", "_starts")

    def __init__(self, spans: Iterable[tuple[int, int]] = ()) -> None:
        self._starts: list[int] | tuple[int, ...] = ()
        self._ends: list[int] | tuple[int, ...] = ()
        for start, end in spans:
            self.add(start, end)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(list(zip(self._starts, self._ends, strict=True)))

    def __repr__(self) -> str:
        return f"SpanSet({list(self)})"

    def __bool__(self) -> bool:
        return bool(self._starts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SpanSet) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    @property
    def total_bytes(self) -> int:
        return sum(self._ends) - sum(self._starts)

    def add(self, start: int, end: int) -> None:
        """Take [start, end) in, merging with neighbours it touches. An empty span changes nothing."""
        if not 0 <= start <= end:
            raise ValueError(f"not a span: [{start}, {end})")
        if start == end:
            return
        ends = self._ends
        if not ends:
            self._starts, self._ends = (start,) if start else _AT_ZERO, (end,)
            return
        if start == ends[-1]:
            if isinstance(ends, tuple):
                self._ends = (end,)
            else:
                ends[-1] = end
            return
        starts, ends = self._as_lists()
        first = bisect_right(ends, start - 1)
        last = bisect_right(starts, end)
        if first < last:
            start = min(start, starts[first])
            end = max(end, ends[last - 1])
        starts[first:last] = [start]
        ends[first:last] = [end]

    def remove(self, start: int, end: int) -> None:
        """Take [start, end) out, splitting what it cuts. An empty span changes nothing."""
        if start >= end:
            return
        starts, ends = self._as_lists()
        first = bisect_right(ends, start)
        last = bisect_right(starts, end - 1)
        if first >= last:
            return
        rests = [(starts[first], start), (end, ends[last - 1])]
        rests = [(low, high) for low, high in rests if low < high]
        starts[first:last] = [low for low, _ in rests]
        ends[first:last] = [high for _, high in rests]

    def _as_lists(self) -> tuple[list[int], list[int]]:
        if isinstance(self._ends, tuple):
            self._starts, self._ends = list(self._starts), list(self._ends)
        return self._starts, self._ends  # type: ignore[return-value]

    def reach(self, start: int) -> int:
        """How far one can read on from `start` without a gap; `start` itself where that byte is not there."""
        index = bisect_right(self._starts, start) - 1
        if index >= 0 and self._ends[index] > start:
            return self._ends[index]
        return start

    def covers(self, start: int, end: int) -> bool:
        return start >= end or self.reach(start) >= end

    def gaps(self, start: int, end: int) -> list[tuple[int, int]]:
        """What of [start, end) is missing, in order."""
        missing = []
        while start < end:
            held_until = self.reach(start)
            if held_until > start:
                start = held_until
                continue
            index = bisect_right(self._starts, start)
            gap_end = min(end, self._starts[index]) if index < len(self._starts) else end
            missing.append((start, gap_end))
            start = gap_end
        return missing
