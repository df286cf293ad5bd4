"""All rows, in the order of the list."""

from __future__ import annotations

from tests.conformance import rows_storing

ROWS = [*rows_storing.ROWS]
