"""How much of minicdn's own code one request takes: Python's instructions, counted one by one.

Unlike time, the count is the same on a busy machine and an idle one. It differs between Python versions, so a figure belongs to one.
Code of other packages and of the standard library is not counted: it changes without us. Nor is the simulation's.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import FrameType
from typing import Any

import minicdn

ROOT = str(Path(minicdn.__file__).parent)
STAGE = f"{ROOT}/testing"
REPEATS = 8


class Counting:
    """`with Counting() as counted`: instructions of this thread meanwhile, by file."""

    def __init__(self) -> None:
        self.by_file: Counter[str] = Counter()

    @property
    def total(self) -> int:
        return self.by_file.total()

    def __enter__(self) -> Counting:
        sys.settrace(self._called)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _called(self, frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(ROOT) or frame.f_code.co_filename.startswith(STAGE):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._executed

    def _executed(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "opcode":
            self.by_file[frame.f_code.co_filename[len(ROOT) + 1 :]] += 1
        return self._executed


async def least_of(work: Callable[[int], Awaitable[None]]) -> Counting:
    """The least of several times: a timer of the node's own may have fallen into the others. The first two only warm up."""
    found = []
    for number in range(REPEATS + 2):
        with Counting() as counted:
            await work(number)
        found.append(counted)
    return min(found[2:], key=lambda counted: counted.total)
