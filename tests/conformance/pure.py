"""pytest where neither httptools nor uvloop can be imported, as on a machine without their wheels: `python -m tests.conformance.pure …`.

One set-up is enough, a node alone: what is pure Python is how a node reads and writes HTTP.
"""

from __future__ import annotations

import re
import sys
from typing import Any

import pytest

from tests.conformance.kit_rows import ALONE
from tests.kit.pure import HIDDEN

LACKING = {
    "interim-.*goes-on": "httpx's own transport, which asks the upstream without httptools, swallows interim answers",
    "chunk-size-beyond-all-numbers": "h11 takes chunk sizes of up to twenty digits, and waits for the chunk",
    "chunk-extension-with-a-(?!bare-lf)": "h11 takes whatever stands behind a chunk's size",
    "silen": "takes its time, and is no question of HTTP",
}


class Pure:
    """Keeps what a node alone can do."""

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        kept = [item for item in items if f"[{ALONE}-" in item.name and not any(re.search(sign, item.name) for sign in LACKING)]
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept


def main(words: list[str]) -> Any:
    for name in HIDDEN:
        sys.modules[name] = None  # type: ignore[assignment]
    return pytest.main(words, plugins=[Pure()])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
