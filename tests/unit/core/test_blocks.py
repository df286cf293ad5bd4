"""Blocks grow while they come quickly, and no byte waits long for others."""

from __future__ import annotations

import pytest

from minicdn.core.blocks import FIRST_BYTES, QUICK_SECONDS, QUIET_SECONDS, Blocks

MOST = 256 * 1024


def played(rate: float, seconds: float, packet_bytes: int = 1448) -> tuple[Blocks, int]:
    """Packets at that rate, taken in blocks. Returns them, and how many times somebody was woken."""
    blocks, waiting, wakes = Blocks(MOST, 0.0), 0, 0
    for number in range(1, int(rate * seconds / packet_bytes)):
        waiting += packet_bytes
        if waiting >= blocks.bytes:
            blocks.came(waiting, number * packet_bytes / rate)
            waiting, wakes = 0, wakes + 1
    return blocks, wakes


@pytest.mark.parametrize(("rate", "low", "high"), [(12.5e6, MOST, MOST), (2e6, 32 * 1024, 128 * 1024), (100e3, 1, 1)])
def test_blocks_are_what_comes_in_a_moment(rate: float, low: int, high: int) -> None:
    blocks, _ = played(rate, 5)
    assert low <= blocks.bytes <= high
    assert blocks.bytes / rate < QUIET_SECONDS, "or each would look like a pause"


def test_a_quick_body_wakes_seldom() -> None:
    _, wakes = played(12.5e6, 5)
    assert wakes < 12.5e6 * 5 / MOST + 20


def test_after_a_pause_nothing_waits() -> None:
    blocks, _ = played(12.5e6, 1)
    blocks.quiet(100.0)
    assert blocks.bytes == 1
    blocks.came(FIRST_BYTES, 100.0 + QUICK_SECONDS)
    assert blocks.bytes == FIRST_BYTES


def test_what_becomes_slow_comes_in_smaller_blocks() -> None:
    blocks, _ = played(12.5e6, 1)
    for number in range(30):
        blocks.came(blocks.bytes, 10.0 + number)
    assert blocks.bytes == 1
