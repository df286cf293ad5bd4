from __future__ import annotations

from minicdn.core.accusing import ACCUSED_MAX, WINDOW_SECONDS, Accusations, Ruling


def take(found: Accusations, accuser: str, accused: str, now: float = 0.0, *, seats: int = 9, shunned: int = 0) -> Ruling:
    return found.take(accuser, accused, now, seats_count=seats, shunned_count=shunned)


def test_once_is_noted_and_twice_is_enough() -> None:
    found = Accusations()
    assert take(found, "anna", "evil") is Ruling.NOTED
    assert take(found, "ben", "evil", 10.0) is Ruling.SHUNNED
    assert take(found, "ben", "evil", 20.0) is Ruling.NOTED, "back on the list, it begins anew"


def test_the_same_accuser_may_be_lied_to_twice() -> None:
    found = Accusations()
    assert [take(found, "anna", "evil"), take(found, "anna", "evil")] == [Ruling.NOTED, Ruling.SHUNNED]


def test_lies_far_apart_do_not_add_up() -> None:
    found = Accusations()
    take(found, "anna", "evil")
    assert take(found, "ben", "evil", WINDOW_SECONDS + 1) is Ruling.NOTED


def test_one_accusers_word_counts_for_two_peers() -> None:
    found = Accusations()
    shunned = [f"peer{number}" for number in range(9) if [take(found, "evil", f"peer{number}") for _ in range(5)].count(Ruling.SHUNNED)]
    assert len(shunned) == ACCUSED_MAX
    assert take(found, "evil", "peer8") is Ruling.IGNORED
    assert take(found, "evil", "peer8", WINDOW_SECONDS + 1) is Ruling.NOTED


def test_many_liars_empty_no_more_than_a_third_of_the_list() -> None:
    found, shunned = Accusations(), set()
    for accuser in range(9):
        for accused in (accuser, accuser, (accuser + 1) % 9, (accuser + 1) % 9):
            if take(found, f"evil{accuser}", f"peer{accused}", shunned=len(shunned)) is Ruling.SHUNNED:
                shunned.add(accused)
    assert len(shunned) == 3


def test_of_two_peers_one_may_go() -> None:
    found = Accusations()
    take(found, "anna", "evil", seats=2)
    assert take(found, "anna", "evil", seats=2) is Ruling.SHUNNED
    take(found, "evil", "anna", seats=2, shunned=1)
    assert take(found, "evil", "anna", seats=2, shunned=1) is Ruling.NOTED


def test_nobody_accuses_himself() -> None:
    assert take(Accusations(), "anna", "anna") is Ruling.IGNORED
