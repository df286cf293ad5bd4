"""How what is left of an answer is let come."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from minicdn.node.reading import BLOCK_BYTES, PIECE_BLOCK_BYTES, let_come

KIB = 1024


@pytest.mark.parametrize(
    ("left_bytes", "is_piece", "said"),
    [
        (64 * KIB, False, []),
        (1024 * KIB, False, ["widen"]),
        (64 * 1024 * KIB, False, ["widen", (BLOCK_BYTES, False)]),
        (None, False, ["widen", (BLOCK_BYTES, False)]),
        (256 * KIB, True, ["widen", (PIECE_BLOCK_BYTES, True)]),
        (10, True, [(PIECE_BLOCK_BYTES, True)]),
    ],
)
def test_what_is_much_comes_in_blocks_and_only_pieces_wait_for_them(left_bytes: int | None, is_piece: bool, said: list[Any]) -> None:
    """A client's own download of a slow file has its first bytes at once; a connection that little came by stays fit for what is narrow."""
    heard: list[Any] = []
    arriving = SimpleNamespace(
        widen=lambda: heard.append("widen"), gather=lambda batch_bytes, is_sure: heard.append((batch_bytes, is_sure))
    )
    supply: Any = SimpleNamespace(arriving=arriving)
    let_come(supply, left_bytes, is_piece=is_piece)
    assert heard == said
