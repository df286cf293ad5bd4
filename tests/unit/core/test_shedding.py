"""Who is served, who is heard, and who is sent away; and when memory is short."""

from __future__ import annotations

import pytest

from minicdn.core.shedding import PLACES_MAX, Admission, admit, is_short, places_of, reserve_of

MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("wanted", "files_max", "places"),
    [
        (0, 1024, 270),
        (0, 256, 16),
        (0, 20_000, 9165),
        (0, 1 << 20, PLACES_MAX),
        (0, None, PLACES_MAX),
        (100, 1024, 100),
        (5000, 1024, 270),
        (100_000, None, 46_080),
    ],
)
def test_places_are_what_descriptors_allow(wanted: int, files_max: int | None, places: int) -> None:
    assert places_of(wanted, files_max, 320) == places


@pytest.mark.parametrize("files_max", [512, 1024, 4096, 65536, 1 << 20])
def test_everybody_may_have_a_file_open_beside_the_socket(files_max: int) -> None:
    places = places_of(0, files_max, 64)
    assert 2 * (places + reserve_of(places)) + 64 <= files_max


@pytest.mark.parametrize(
    ("count", "found"),
    [(1, Admission.FREE), (100, Admission.FREE), (101, Admission.RESERVE), (116, Admission.RESERVE), (117, Admission.NONE)],
)
def test_a_place_the_reserve_or_nothing(count: int, found: Admission) -> None:
    assert admit(count, 100) is found
    assert admit(count, 0) is Admission.FREE, "0 is no bound"


@pytest.mark.parametrize(
    ("free", "total", "was_short", "found"),
    [
        (99, 2000, False, True),
        (101, 2000, False, False),
        (101, 2000, True, True),
        (149, 2000, True, True),
        (151, 2000, True, False),
        (300, 64_000, False, False),
        (255, 64_000, False, True),
    ],
)
def test_a_twentieth_is_kept_free_and_a_quarter_gib_at_most(free: int, total: int, was_short: bool, found: bool) -> None:
    assert is_short(free * MIB, total * MIB, was_short=was_short) is found
