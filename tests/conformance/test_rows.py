"""Every row on every set-up."""

from __future__ import annotations

import pytest

from tests.conformance.kit_play import Play
from tests.conformance.kit_rows import SET_UPS, Row
from tests.conformance.kit_stage import Stage
from tests.conformance.table import ROWS


def _cases() -> list[object]:
    """By set-up, so that a report reads as three tables."""
    return [
        pytest.param(row, set_up, id=f"{set_up}-{row.id}", marks=_marks(row, set_up))
        for set_up in SET_UPS
        for row in ROWS
        if set_up in row.only
    ]


def _marks(row: Row, set_up: str) -> list[pytest.MarkDecorator]:
    return [pytest.mark.xfail(strict=True, reason=row.xfail[set_up])] if set_up in row.xfail else []


@pytest.mark.parametrize(("row", "set_up"), _cases())
def test_row(stage_of_nodes: Stage, row: Row, set_up: str) -> None:
    Play(stage_of_nodes, row, set_up).run()
