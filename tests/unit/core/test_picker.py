"""A requester's decisions, one by one."""

from __future__ import annotations

import random

import pytest

from minicdn.core.flights import Errand
from minicdn.core.picker import LOST_STALLS, STALL_FACTOR, STALL_SECONDS_MIN, Picker
from minicdn.core.pieces import Dealer, Pieces, share_of
from minicdn.core.sources import FLIGHTS_PER_SOURCE, FLIGHTS_UNPROVEN

ME, A, B = "http://me:1", "http://a:1", "http://b:1"
SIZE = 100


def picker_of(count: int = 9, urls: tuple[str, ...] = (A, B), me: str | None = None) -> Picker:
    """Pieces are dealt in turns."""
    picker = Picker("/file", Pieces(count * SIZE, SIZE), [Dealer(url) for url in urls], [index % len(urls) for index in range(count)], me)
    picker.want(range(count), 0.0)
    return picker


def asked(errands: list[Errand]) -> list[tuple[str | None, int, bool]]:
    return [(errand.url, index, errand.is_owners) for errand in errands for index in errand.indices]


def rng() -> random.Random:
    return random.Random(1)


def test_each_piece_is_asked_of_its_owner_in_file_order_and_the_unproven_get_few() -> None:
    found = asked(picker_of().errands(0.0, rng()))
    assert found == [(A, 0, True), (A, 2, True), (B, 1, True), (B, 3, True)]
    assert len(found) == 2 * FLIGHTS_UNPROVEN


def test_who_brought_something_gets_more() -> None:
    picker = picker_of(20)
    picker.errands(0.0, rng())
    for index in (0, 2):
        picker.received(index, A, SIZE, 1.0)
    assert [index for _, index, _ in asked(picker.errands(1.0, rng()))] == [4, 6, 8, 10]
    assert picker.sources.get(A).flights_count == FLIGHTS_PER_SOURCE


def test_who_is_referred_asks_the_holder() -> None:
    picker = picker_of(4)
    picker.errands(0.0, rng())
    picker.refused(0, A, ["http://c:1"], 1.0, 0.1, rng())
    assert ("http://c:1", 0, False) in asked(picker.errands(0.1, rng()))


@pytest.mark.parametrize(("is_thin", "then"), ((True, [(B, 0, False)]), (False, [(B, 13, True)])))
def test_who_is_thin_may_name_a_holder_that_is_asked_for_all_it_can_give_of_its_own(
    is_thin: bool, then: list[tuple[str, int, bool]]
) -> None:
    picker = picker_of(20)
    picker.errands(0.0, rng())
    for index in (1, 3):
        picker.received(index, B, SIZE, 1.0)
    picker.errands(1.0, rng())
    assert picker.sources.get(B).flights_count == FLIGHTS_PER_SOURCE
    picker.knows(A, 0, is_thin=is_thin)
    for index in (0, 2):
        picker.refused(index, A, [B], 1.0, 1.1, rng())
    picker.received(5, B, SIZE, 1.2)
    found = asked(picker.errands(1.2, rng()))
    assert [one for one in found if one[0] == B] == then, "before its own, and once: the other one rests"


def thin_picker(*, is_thin: bool) -> Picker:
    """A has said of its uplink that it is thin, B has brought something."""
    picker = picker_of(40)
    picker.sources.is_thin = is_thin
    picker.knows(A, 0, is_thin=True)
    picker.errands(0.0, rng())
    for index in (1, 3):
        picker.received(index, B, SIZE, 1.0)
    for index in (0, 2):
        picker.gave_up([index], A, 1.0)
    return picker


def test_who_can_pass_on_takes_all_it_can_from_who_cannot() -> None:
    picker = thin_picker(is_thin=False)
    picker.tick(1.0, rng())
    assert picker.sources.get(A).flights_count == FLIGHTS_PER_SOURCE


def test_who_cannot_pass_on_takes_from_another_such_only_while_little_else_comes() -> None:
    picker = thin_picker(is_thin=True)
    picker.tick(1.0, rng())
    assert (picker.sources.get(A).flights_count, picker.sources.get(B).flights_count) == (0, FLIGHTS_PER_SOURCE)
    for index in range(5, 40, 2):
        picker.have(index)
    assert {url for url, _, _ in asked(picker.tick(2.0, rng()))} == {A}, "it must not wait for ever"


def test_who_cannot_pass_on_takes_a_little_from_another_such_when_all_has_been_had_by_somebody() -> None:
    picker = thin_picker(is_thin=True)
    picker.knows(B, (1 << 40) - 1)
    picker.tick(1.0, rng())
    assert (picker.sources.get(A).flights_count, picker.sources.get(B).flights_count) == (1, FLIGHTS_PER_SOURCE)


def test_a_share_is_beside_the_average_and_nothing_for_who_owns_nothing() -> None:
    dealers = [Dealer(A, 1.0), Dealer(B, 3.0)]
    assert (share_of(A, dealers), share_of(B, dealers), share_of(ME, dealers), share_of(None, [])) == (0.5, 1.5, 0.0, 0.0)


def test_who_is_refused_and_knows_no_holder_waits_and_asks_again() -> None:
    picker = picker_of(1, (A,))
    picker.errands(0.0, rng())
    picker.refused(0, A, [], 1.0, 0.0, rng())
    assert asked(picker.errands(0.1, rng())) == []
    assert picker.next_at() is not None
    assert asked(picker.errands(2.0, rng())) == [(A, 0, True)]


def test_a_node_is_never_its_own_holder() -> None:
    picker = picker_of(2, (A, ME), ME)
    picker.errands(0.0, rng())
    picker.refused(0, A, [ME], 1.0, 0.0, rng())
    assert picker.sources.get(ME).have_mask == 0
    assert all(is_owners for url, _, is_owners in asked(picker.errands(5.0, rng())) if url == ME)


def test_the_idle_give_what_they_hold_of_others() -> None:
    picker = picker_of(20)
    picker.errands(0.0, rng())
    picker.knows("http://c:1", 1 << 7)
    assert ("http://c:1", 7, False) in asked(picker.errands(0.0, rng()))


def test_what_only_owners_may_give_is_not_asked_of_others() -> None:
    picker = picker_of(20)
    picker.distrust(7, A, 0.0)
    picker.knows("http://c:1", 1 << 7)
    assert ("http://c:1", 7, False) not in asked(picker.errands(0.0, rng()))


def test_others_stand_in_for_one_that_is_gone_and_the_upstream_for_all() -> None:
    picker = picker_of(2)
    picker.errands(0.0, rng())
    for now in (0.0, 0.0, 0.0):
        picker.failed(A, [0], now)
    assert (B, 0, True) in asked(picker.errands(0.0, rng()))
    for _ in range(3):
        picker.failed(B, [0, 1], 0.0)
    assert {url for url, _, _ in asked(picker.errands(0.0, rng()))} == {None}


def test_a_silent_source_is_taken_for_gone_while_others_give() -> None:
    picker, late = picker_of(4), STALL_SECONDS_MIN * STALL_FACTOR + 1.0
    picker.errands(0.0, rng())
    picker.received(1, B, SIZE, 0.1)
    picker.moved(3, B, late)
    found = asked(picker.tick(late, rng()))
    assert {index for url, index, _ in found if url == B} == {0, 2}
    assert picker.sources.get(A).flights_count == 0


def test_a_late_piece_is_asked_of_a_second_source_and_who_loses_is_named() -> None:
    picker, late = picker_of(4), STALL_SECONDS_MIN + 1.0
    picker.errands(0.0, rng())
    picker.received(1, B, SIZE, 0.1)
    picker.received(2, A, SIZE, 0.1)
    picker.moved(3, B, late)
    assert (B, 0, True) in asked(picker.tick(late, rng()))
    assert picker.received(0, B, SIZE, late) == [A, B]
    assert picker.sources.get(A).flights_count == 0


def test_a_flight_that_is_far_too_late_is_lost_and_its_piece_asked_anew() -> None:
    picker, late = picker_of(1, (A,)), STALL_SECONDS_MIN * STALL_FACTOR * LOST_STALLS * 2
    picker.sources.took(A, SIZE, 0.1)
    picker.errands(0.0, rng())
    picker.sources.get(A).moved_at = 1.0
    assert asked(picker.tick(late, rng())) == [(A, 0, True)]
    assert picker.flights_count == 1


def test_what_nobody_wants_any_more_is_not_asked_again() -> None:
    picker = picker_of(2)
    picker.errands(0.0, rng())
    picker.unwant([0, 1])
    picker.failed(A, [0], 0.0)
    picker.received(1, B, SIZE, 0.1)
    assert asked(picker.tick(60.0, rng())) == []
    assert picker.is_done
    assert not picker.is_held(0)
    assert picker.is_held(1)


def test_a_damaged_piece_is_fetched_again() -> None:
    picker = picker_of(1, (A,))
    picker.errands(0.0, rng())
    picker.received(0, A, SIZE, 0.1)
    assert picker.is_done
    picker.lose(0, 0.2)
    assert not picker.is_done
    assert asked(picker.errands(0.2, rng())) == [(A, 0, True)]


def test_what_others_learned_is_kept_by_the_next_picker() -> None:
    first, second = picker_of(), picker_of()
    first.sources.took(A, SIZE, 1.0)
    second.sources = first.sources
    second.errands(0.0, rng())
    assert second.sources.get(A).flights_count == second.flights_count - second.sources.get(B).flights_count
