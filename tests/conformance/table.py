"""All rows, in the order of the list."""

from __future__ import annotations

from tests.conformance import rows_choosing, rows_message, rows_ranges, rows_storing

ROWS = [*rows_storing.ROWS, *rows_choosing.ROWS, *rows_ranges.ROWS, *rows_message.ROWS]
