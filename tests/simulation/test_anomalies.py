"""A few of the points at which a small life may go wrong, others each day. `python -m tests.simulation --anomalies` takes them all."""

from __future__ import annotations

from datetime import date

import pytest

from tests.simulation.test_seeds import run, show

POINTS = 4
"""Of each kind; there are some 1,500 in all."""


@pytest.mark.timeout(120)
def test_what_fails_once_fails_cleanly() -> None:
    ran = run("--anomalies", "--points", str(POINTS), "--chance", date.today().isoformat())
    assert ran.returncode == 0, show(ran)
