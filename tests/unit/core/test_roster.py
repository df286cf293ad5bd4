from __future__ import annotations

import random
from collections import Counter

import pytest

from minicdn.core.roster import LEFT_MAX, PROBE_FAILURES_MAX, JoinVerdict, Member, PeerList, Roster, owners

ANNA = Member("anna", "http://10.0.0.1:11001")
BOB = Member("bob", "http://10.0.0.2:11001")
CARL = Member("carl", "http://10.0.0.3:11001")


def roster_of(*members: Member, at: float = 100.0, **options) -> Roster:
    roster = Roster("life", **options)
    for member in members:
        assert roster.join(member, at) is JoinVerdict.SEATED
    return roster


def ids(roster: Roster) -> list[str]:
    return [member.id for member in roster.peer_list().members]


def test_the_list_is_sorted_by_id_whatever_the_order_of_joins() -> None:
    assert ids(roster_of(CARL, ANNA, BOB)) == ["anna", "bob", "carl"]


def test_who_renews_stays_and_who_is_silent_for_the_window_goes() -> None:
    roster = roster_of(ANNA, BOB, window_seconds=15)
    assert roster.renew("anna", 110)
    assert roster.expire(114.9) == []
    assert roster.expire(115) == [BOB]
    assert roster.expire(124.9) == []
    assert roster.expire(125) == [ANNA]
    assert ids(roster) == []


def test_who_is_not_seated_is_told_to_join() -> None:
    roster = roster_of(ANNA, window_seconds=15)
    assert not roster.renew("bob", 101)
    roster.expire(120)
    assert not roster.renew("anna", 121)


def test_every_change_of_the_list_has_a_new_epoch_and_nothing_else_has() -> None:
    roster = roster_of(ANNA)
    epochs = [roster.epoch]

    def changed() -> bool:
        epochs.append(roster.epoch)
        assert roster.peer_list().epoch == roster.epoch
        return epochs[-1] != epochs[-2]

    roster.join(BOB, 101)
    assert changed()
    roster.join(BOB, 102)
    assert not changed(), "joined again, unchanged"
    roster.renew("anna", 103)
    assert not changed()
    roster.expire(104)
    assert not changed(), "nobody was late"
    roster.leave("nobody", 104)
    assert not changed()
    roster.leave("bob", 104)
    assert changed()
    roster.expire(200)
    assert changed()
    assert len(set(epochs)) == 4


def test_a_new_life_of_the_manager_has_other_epochs() -> None:
    one, two = Roster("one"), Roster("two")
    assert one.epoch != two.epoch
    assert one.peer_list().incarnation == "one"


def test_a_new_process_at_the_same_url_takes_the_seat_of_the_old() -> None:
    roster = roster_of(ANNA)
    assert roster.join(Member("anna2", ANNA.url), 101) is JoinVerdict.SEATED
    assert ids(roster) == ["anna2"]
    assert not roster.renew("anna", 102)


def test_a_peer_with_a_new_address_is_listed_once_under_the_new_one() -> None:
    roster = roster_of(ANNA)
    roster.join(Member("anna", "http://10.9.9.9:11001"), 101)
    assert [member.url for member in roster.peer_list().members] == ["http://10.9.9.9:11001"]
    assert roster.join(Member("dora", ANNA.url), 102) is JoinVerdict.SEATED, "the old URL is free again"
    assert len(roster.peer_list().members) == 2


def test_a_full_list_takes_nobody_new_but_renewals_and_replacements() -> None:
    roster = roster_of(ANNA, BOB, peers_max=2)
    assert not roster.may_join("carl", CARL.url)
    assert roster.join(CARL, 101) is JoinVerdict.FULL
    assert roster.join(ANNA, 101) is JoinVerdict.SEATED
    assert roster.join(Member("bob2", BOB.url), 101) is JoinVerdict.SEATED
    assert ids(roster) == ["anna", "bob2"]


def test_a_join_that_was_still_being_probed_when_its_goodbye_came_lists_nobody() -> None:
    roster = Roster("life")
    assert not roster.leave("anna", 100)
    assert roster.join(ANNA, 101) is JoinVerdict.LEFT
    assert ids(roster) == []


def test_goodbyes_are_remembered_for_a_bounded_number_of_peers() -> None:
    roster = Roster("life")
    roster.leave("anna", 100)
    for number in range(LEFT_MAX):
        roster.leave(f"other{number}", 101)
    assert roster.join(ANNA, 102) is JoinVerdict.SEATED


def test_some_failed_probes_in_a_row_take_a_live_peer_off_the_list_and_one_passed_brings_it_back() -> None:
    roster = roster_of(ANNA, BOB)
    for _ in range(PROBE_FAILURES_MAX - 1):
        assert not roster.probe_failed("anna", ANNA.url, 101)
    assert not roster.probe_passed("anna", ANNA.url, 101), "it never was off the list"
    for _ in range(PROBE_FAILURES_MAX - 1):
        assert not roster.probe_failed("anna", ANNA.url, 102)
    assert roster.probe_failed("anna", ANNA.url, 103)
    assert ids(roster) == ["bob"]
    assert roster.renew("anna", 104), "it keeps its seat"
    assert not roster.is_listed("anna")
    assert [view.is_listed for view in roster.seats(104)] == [False, True]
    assert roster.probe_passed("anna", ANNA.url, 105)
    assert ids(roster) == ["anna", "bob"]


def test_the_result_of_a_probe_of_an_old_address_says_nothing_about_the_new_one() -> None:
    roster = roster_of(ANNA)
    roster.join(Member("anna", "http://10.9.9.9:11001"), 101)
    for _ in range(PROBE_FAILURES_MAX):
        assert not roster.probe_failed("anna", ANNA.url, 102)
    assert ids(roster) == ["anna"]


def test_probes_are_due_once_per_period_and_few_at_a_time() -> None:
    roster = roster_of(ANNA, BOB, CARL, probe_every_seconds=30)
    assert roster.take_due_probes(129, 2) == []
    assert len(roster.take_due_probes(130, 2)) == 2
    assert len(roster.take_due_probes(130, 2)) == 1
    assert roster.take_due_probes(131, 2) == []
    assert len(roster.take_due_probes(160, 9)) == 3


def test_after_its_own_absence_the_manager_blames_nobody() -> None:
    roster = roster_of(ANNA, window_seconds=15)
    roster.excuse(500)
    assert roster.expire(501) == []
    assert roster.expire(515) == [ANNA]


def test_expiry_looks_at_every_late_seat_even_behind_one_that_joined_earlier() -> None:
    roster = roster_of(ANNA, BOB, CARL, window_seconds=15)
    roster.renew("carl", 108)
    roster.renew("anna", 110)
    assert roster.expire(116) == [BOB]
    assert roster.expire(124) == [CARL]


def test_each_listed_member_is_chosen_as_often_and_no_other() -> None:
    roster = roster_of(ANNA, BOB, CARL, Member("dora", "http://10.0.0.4:11001"))
    roster.leave("bob", 101)
    rng = random.Random(7)
    chosen = Counter(roster.choose(rng).id for _ in range(3000))
    assert set(chosen) == {"anna", "carl", "dora"}
    assert min(chosen.values()) > 900
    assert Roster("empty").choose(rng) is None


@pytest.mark.parametrize("seed", range(20))
def test_a_random_life_keeps_choice_list_and_epoch_in_step(seed: int) -> None:
    rng = random.Random(seed)
    roster = Roster("life", window_seconds=15, peers_max=8)
    now, before = 0.0, PeerList("life.0")
    for _ in range(300):
        now += rng.random() * 3
        id = f"p{rng.randrange(12)}-{int(now) // 60}"
        url = f"http://10.0.0.{rng.randrange(10)}:1"
        step = rng.randrange(6)
        if step < 2:
            roster.join(Member(id, url), now)
        elif step == 2:
            roster.renew(id, now)
        elif step == 3 and rng.random() < 0.3:
            roster.leave(id, now)
        elif step == 4 and (found := roster.find(id)) is not None:
            rng.choice([roster.probe_failed, roster.probe_passed])(id, found.url, now)
        else:
            roster.expire(now)
        after = roster.peer_list()
        assert (after.members == before.members) or (after.epoch != before.epoch)
        assert len({member.url for member in after.members}) == len(after.members) <= 8
        assert {view.member for view in roster.seats(now) if view.is_listed} == set(after.members)
        if after.members:
            assert roster.choose(rng) in after.members
        before = after


def test_a_list_without_somebody_keeps_the_epoch() -> None:
    listed = roster_of(ANNA, BOB).peer_list()
    assert listed.without("anna") == PeerList(listed.epoch, (BOB,))


MB = 1_000_000.0


def shares_of(roster: Roster) -> dict[str, float]:
    return {member.id: member.share for member in roster.peer_list().members}


def test_a_slow_uplink_lowers_a_share_once_it_is_known_and_that_is_one_new_epoch() -> None:
    roster = roster_of(ANNA, BOB, CARL)
    assert not roster.reweigh(100)
    for id, uplink in (("anna", 10 * MB), ("bob", 11 * MB), ("carl", 2 * MB)):
        roster.renew(id, 101, uplink)
    before = roster.epoch
    assert roster.reweigh(102)
    assert roster.epoch != before
    assert shares_of(roster) == {"anna": 1, "bob": 1, "carl": pytest.approx(0.19, abs=0.01)}
    assert {member.weight for member in roster.peer_list().members} == {1}, "owners of keys stay where they are"
    assert roster.choose(random.Random(1)) in roster.peer_list().members
    assert roster.find("carl").share == shares_of(roster)["carl"]


def test_noise_is_no_news_and_news_is_seldom() -> None:
    roster = roster_of(ANNA, BOB, CARL)
    for id in ("anna", "bob", "carl"):
        roster.renew(id, 100, 10 * MB)
    assert not roster.reweigh(101)
    roster.renew("carl", 102, 7 * MB)
    assert not roster.reweigh(103)
    roster.renew("carl", 104, 5 * MB)
    assert roster.reweigh(105)
    roster.renew("carl", 106, 10 * MB)
    assert not roster.reweigh(114), "so soon"
    assert roster.reweigh(116)
    assert set(shares_of(roster).values()) == {1}


def test_a_newcomer_gets_a_quarter_until_it_is_measured_or_no_longer_new() -> None:
    roster = roster_of(ANNA, BOB)
    for id in ("anna", "bob"):
        roster.renew(id, 100, 10 * MB)
    roster.join(CARL, 200)
    assert shares_of(roster)["carl"] == 0.25
    assert not roster.reweigh(229)
    assert roster.reweigh(230) and shares_of(roster)["carl"] == 0.5
    assert roster.reweigh(260) and shares_of(roster)["carl"] == 1
    roster.join(Member("dora", "http://10.0.0.4:11001"), 300, 20 * MB)
    assert shares_of(roster)["dora"] == 2, "it brings what it measured before"


def test_who_joins_again_keeps_its_share_and_a_new_process_its_urls_uplink() -> None:
    roster = roster_of(ANNA, BOB, CARL)
    for id, uplink in (("anna", 10 * MB), ("bob", 10 * MB), ("carl", 2 * MB)):
        roster.renew(id, 101, uplink)
    roster.reweigh(102)
    epoch = roster.epoch
    roster.join(CARL, 103)
    assert roster.epoch == epoch
    roster.join(Member("carl2", CARL.url), 104)
    assert shares_of(roster)["carl2"] == 0.2
    roster.renew("carl2", 105)
    assert not roster.reweigh(200), "who says nothing new is what it was"


def test_who_may_not_ask_the_upstream_owns_neither_keys_nor_pieces() -> None:
    roster = roster_of(ANNA, Member("bob", BOB.url, 0.0))
    assert shares_of(roster) == {"anna": 1, "bob": 0}
    roster.renew("bob", 101, 10 * MB)
    assert not roster.reweigh(102)
    members = roster.peer_list().members
    assert {owner.id for number in range(50) for owner in owners(f"/{number}", members)} == {"anna"}
    assert owners("/a", [member for member in members if member.id == "bob"]) == []


def test_an_unlisted_seat_comes_back_with_the_share_that_is_right_by_then() -> None:
    roster = roster_of(ANNA, BOB, CARL)
    for _ in range(PROBE_FAILURES_MAX):
        roster.probe_failed("carl", CARL.url, 101)
    for id, uplink in (("anna", 10 * MB), ("bob", 10 * MB), ("carl", 2 * MB)):
        roster.renew(id, 102, uplink)
    assert roster.reweigh(103)
    assert roster.probe_passed("carl", CARL.url, 104)
    assert shares_of(roster) == {"anna": 1, "bob": 1, "carl": 0.2}
