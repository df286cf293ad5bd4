"""The picker of a crowd: few questions at a time, of whoever has something, and of owners for what nobody has."""

from __future__ import annotations

import random

from minicdn.core.crowd import AHEAD, FLIGHTS_MAX, POLLS_MAX, CrowdPicker, picker_for
from minicdn.core.picker import Picker
from minicdn.core.pieces import Dealer, Pieces, deal
from minicdn.core.tracker import CROWD

MIB = 1 << 20
COUNT = 100
PIECES = Pieces(COUNT * 16 * MIB, 16 * MIB)
DEALERS = [Dealer(f"http://{number:03d}:1") for number in range(COUNT)]
OWNED = deal("/file", COUNT, DEALERS)
ME = "http://me:1"


def picker() -> CrowdPicker:
    made = CrowdPicker("/file", PIECES, DEALERS, OWNED, ME)
    made.want(range(COUNT), 0.0)
    return made


def owner(index: int) -> str:
    return DEALERS[OWNED[index]].url


def test_a_crowd_begins_beyond_so_many_members() -> None:
    assert type(picker_for("/file", PIECES, DEALERS[:CROWD], OWNED, ME)) is Picker
    assert type(picker_for("/file", PIECES, DEALERS[: CROWD + 1], OWNED, ME)) is CrowdPicker


def test_where_uplinks_differ_it_begins_sooner_and_where_pieces_are_small_never() -> None:
    uneven = [Dealer("http://slow:1", 0.2), *DEALERS[:8]]
    assert type(picker_for("/file", PIECES, uneven, OWNED, ME)) is CrowdPicker
    assert type(picker_for("/file", Pieces(64 * MIB, MIB // 4), DEALERS, OWNED, ME)) is Picker


def test_what_nobody_has_is_asked_of_its_owner_and_only_the_first_few() -> None:
    asked = [errand for errand in picker().errands(0.0, random.Random(1)) if errand.indices]
    assert all(errand.is_owners and errand.url == owner(errand.indices[0]) for errand in asked)
    assert {errand.indices[0] for errand in asked} == set(range(AHEAD))


def test_what_somebody_has_is_asked_of_him_and_makes_room_for_more() -> None:
    picker_, rng = picker(), random.Random(1)
    picker_.errands(0.0, rng)
    for dealer in DEALERS:
        picker_.knows(dealer.url, (1 << 20) - 1)
    asked = picker_.errands(1.0, rng)
    indices = {errand.indices[0] for errand in asked}
    assert picker_.flights_count == FLIGHTS_MAX
    assert indices and all(errand.is_owners == (errand.indices[0] >= 20) for errand in asked)


def test_a_refusal_keeps_its_place_for_a_moment() -> None:
    picker_, rng = picker(), random.Random(1)
    picker_.errands(0.0, rng)
    for dealer in DEALERS:
        picker_.knows(dealer.url, (1 << 90) - 1)
    picker_.errands(1.0, rng)
    refused = [errand for errand in picker_.errands(2.0, rng) if errand.indices]
    for index in range(AHEAD):
        picker_.refused(index, owner(index), [], 0.5, 2.0, rng)
    assert refused == [] and picker_.errands(2.0, rng) == []
    wakes_at = picker_.next_at()
    assert wakes_at is not None and wakes_at > 2.0
    assert any(errand.indices for errand in picker_.errands(10.0, rng))


def test_who_knows_of_nothing_asks_a_few_what_they_have() -> None:
    picker_, rng = picker(), random.Random(1)
    polls = [errand for second in range(10) for errand in picker_.errands(float(second), rng) if not errand.indices]
    assert len(polls) == POLLS_MAX, "and no more, until one has answered"
    picker_.knows(polls[0].url or "", 0)
    picker_.failed(polls[1].url, [], 10.0)
    more = [errand for second in range(10, 20) for errand in picker_.errands(float(second), rng) if not errand.indices]
    assert len(more) == 2


def test_what_others_have_is_not_loaded_anew_when_its_owner_is_gone() -> None:
    picker_, rng = picker(), random.Random(1)
    gone = owner(0)
    picker_.errands(0.0, rng)
    for dealer in DEALERS:
        if dealer.url != gone:
            picker_.knows(dealer.url, (1 << COUNT) - 1)
    picker_.failed(gone, [0], 0.5)
    picker_.failed(gone, [], 0.5)
    asked = picker_.errands(0.6, rng)
    assert [errand.is_owners for errand in asked if errand.indices == (0,)] in ([], [False])


def test_all_arrives_when_everybody_has_it() -> None:
    picker_, rng, now = picker(), random.Random(1), 0.0
    while not picker_.is_done:
        now += 0.1
        for errand in picker_.errands(now, rng):
            picker_.knows(errand.url or "", (1 << COUNT) - 1)
            for index in errand.indices:
                picker_.received(index, errand.url, 16 * MIB, now)
        assert now < 100.0
