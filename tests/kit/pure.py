"""minicdn where neither httptools nor uvloop can be imported: `python -m tests.kit.pure manager …`."""

from __future__ import annotations

import runpy
import sys

HIDDEN = ("httptools", "uvloop")

if __name__ == "__main__":
    for name in HIDDEN:
        sys.modules[name] = None  # type: ignore[assignment]
    runpy.run_module("minicdn", run_name="__main__", alter_sys=True)
