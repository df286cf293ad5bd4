"""No line of the list without a row, no row without a line; and the counts, for whoever runs with -s."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.conformance.bad_input import BAD
from tests.conformance.kit_rows import ALONE, FAR, SET_UPS
from tests.conformance.lines import LINES
from tests.conformance.table import ROWS

CLAIMS = [(line, claim) for line, (_, claims) in LINES.items() for claim in claims]
COVERED = Counter((row.line, row.claim) for row in ROWS) + Counter(("bad input", bad.claim) for bad in BAD)


@pytest.mark.parametrize(("line", "claim"), CLAIMS, ids=[f"{line}: {claim}" for line, claim in CLAIMS])
def test_every_claim_has_a_row(line: str, claim: str) -> None:
    assert COVERED[(line, claim)] > 0


def test_every_row_belongs_to_a_claim() -> None:
    assert not set(COVERED) - set(CLAIMS)


def test_ids_are_unique() -> None:
    for found in ([row.id for row in ROWS], [bad.id for bad in BAD]):
        assert [name for name, count in Counter(found).items() if count > 1] == []


def test_every_row_cites_a_clause() -> None:
    allowed = ("RFC ", "draft-", "No-Vary-Search", "none: ", "house rule")
    assert [found.id for found in (*ROWS, *BAD) if not found.clause.startswith(allowed)] == []


def test_counts_by_section(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print("\n" + counts())


def counts() -> str:
    """Rows by section and set-up, and in brackets how many of them are expected to fail."""
    lines = [f"{'':32}" + "".join(f"{name:>14}" for name in SET_UPS)]
    for section in dict.fromkeys(section for section, _ in LINES.values()):
        rows = [row for row in ROWS if LINES[row.line][0] == section]
        lines.append(_counted(section, [(name in row.only, name in row.only and name in row.xfail) for name in SET_UPS for row in rows]))
    doors = [name in (ALONE, FAR) for name in SET_UPS]
    reasons = [reason for bad in BAD for reason in (bad.xfail, bad.xfail_behind)]
    lines.append(_counted("bad input at the socket", [(runs, runs and bool(reason)) for runs in doors for reason in reasons]))
    return "\n".join(lines)


def _counted(title: str, found: list[tuple[bool, bool]]) -> str:
    share = len(found) // len(SET_UPS)
    parts = [found[start : start + share] for start in range(0, len(found), share)]
    cells = [f"{sum(runs for runs, _ in part)} ({sum(fails for _, fails in part)})" for part in parts]
    return f"{title:32}" + "".join(f"{cell:>14}" for cell in cells)
