"""Which pieces may be asked: the first few that nobody is known to have, and all that somebody has."""

from __future__ import annotations

from minicdn.core.window import AHEAD_MIN, Window

ALL = (1 << 100) - 1


def test_the_first_few_that_nobody_has_and_whatever_lies_between() -> None:
    window = Window(8)
    window.add(0, 100)
    assert window.look(ALL, ALL) == 0xFF
    assert window.look(ALL, ALL) == 0
    assert window.look(ALL, ALL & ~0b1111) == 0xF00, "four of them are somewhere: four more may be loaded"
    assert window.mask == 0xFFF


def test_one_that_does_not_come_holds_nobody_up() -> None:
    window = Window(8)
    window.add(0, 100)
    window.look(1 | ALL & ~0xFFFF, ALL & ~0xFFFE)
    assert window.mask.bit_length() == 16 + 7
    window.look(1, 1)
    assert window.mask == ALL, "when all is heard of, all may be asked"


def test_each_reader_has_a_front_of_its_own() -> None:
    window = Window(16)
    window.add(0, 50)
    window.add(90, 100)
    window.look(ALL, ALL)
    assert window.mask == 0xFF | 0xFF << 90
    window.look(ALL >> 90 << 90, ALL)
    assert window.mask == 0x3FF << 90, "the first has all it wants"
    for start in range(20, 60):
        window.add(start, start + 10)
    window.look(ALL, ALL)
    assert window.mask >> 90 == (1 << AHEAD_MIN) - 1
