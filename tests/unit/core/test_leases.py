from __future__ import annotations

from minicdn.core.leases import Leases, Verdict


def test_so_many_get_a_lease_and_the_others_hear_who_they_are() -> None:
    leases = Leases(2, 300)
    assert leases.take("/a", "anna", 100) == Verdict(True, ("anna",), 300)
    assert leases.take("/a", "bob", 110) == Verdict(True, ("anna", "bob"), 300)
    assert leases.take("/a", "carl", 120) == Verdict(False, ("anna", "bob"), 280)
    assert leases.take("/b", "carl", 120).is_granted, "another key"


def test_a_lease_that_is_given_back_is_free_for_another() -> None:
    leases = Leases(1, 300)
    leases.take("/a", "anna", 100)
    assert leases.release("/a", "anna")
    assert not leases.release("/a", "anna")
    assert leases.take("/a", "bob", 101).is_granted
    assert not leases.release("/a", "anna"), "it is another's now"
    assert not leases.take("/a", "anna", 102).is_granted


def test_a_lease_ends_by_itself() -> None:
    leases = Leases(1, 300)
    leases.take("/a", "anna", 100)
    assert not leases.take("/a", "bob", 399.9).is_granted
    assert leases.take("/a", "bob", 400).is_granted
    assert len(leases) == 1


def test_who_asks_again_holds_it_for_longer_and_takes_nobodys_place() -> None:
    leases = Leases(2, 300)
    for at in (100, 200):
        assert leases.take("/a", "anna", at).holders == ("anna",)
    leases.take("/a", "bob", 250)
    assert leases.take("/a", "anna", 390).is_granted
    leases.expire(550)
    assert leases.take("/a", "carl", 551) == Verdict(True, ("anna", "carl"), 300)


def test_a_node_that_is_gone_holds_nothing() -> None:
    leases = Leases(1, 300)
    for key in ("/a", "/b"):
        leases.take(key, "anna", 100)
    leases.take("/c", "bob", 100)
    leases.release_all("anna")
    assert [leases.take(key, "carl", 101).is_granted for key in ("/a", "/b", "/c")] == [True, True, False]


def test_their_number_has_a_bound() -> None:
    leases = Leases(1, 300, leases_max=10)
    for number in range(100):
        assert leases.take(f"/{number}", "anna", 100).is_granted
    assert len(leases) == 10
    assert not leases.take("/99", "bob", 101).is_granted
    assert leases.take("/0", "bob", 101).is_granted, "the oldest was forgotten"


def test_where_none_may_be_given_nobody_gets_one() -> None:
    assert Leases(0, 300).take("/a", "anna", 100) == Verdict(False, (), 300)
