"""Seconds of what `scripts/fuzz` does by the million."""

from __future__ import annotations

import pytest

from tests.fuzz.__main__ import fuzz
from tests.kit.stage import Stage

COUNTS = {"http": 1500, "rpc": 1500, "messages": 4000, "index": 200}


@pytest.mark.parametrize("kind", COUNTS)
def test_bad_input_at_random(stage: Stage, kind: str) -> None:
    ran = fuzz(kind, stage, 2026, COUNTS[kind], 30)
    print(ran.line())
    assert not ran.wrong, ran.wrong[:5]
    assert ran.requests_count >= COUNTS[kind] and len(ran.statuses) > 1
