"""Dialogues of a peer and its manager: what the manager answers, and what becomes of the peer."""

from __future__ import annotations

import asyncio
import random

import pytest

from minicdn.core.nodeurl import parse_node_url
from minicdn.core.roster import PeerList
from minicdn.node import membership as module
from minicdn.node.membership import Membership, follow_pause_seconds, retry_max_seconds
from minicdn.settings import Settings
from minicdn.wire.manager import ManagerRefused, ManagerUnreachable
from minicdn.wire.messages import Join, JoinAnswer, Renew, RenewAnswer, SharedSettings
from tests.unit.node.fakes import SHARED, FakeClock, FakeNode, ScriptedManager, joined, news

AWAY = ManagerUnreachable("no route")
UNKNOWN = RenewAnswer("unknown")


class Story:
    """One peer, `me`, through one script to its end."""

    def __init__(self, *script, clock: FakeClock | None = None, advertise: str | None = None) -> None:
        self.node = FakeNode("me", clock)
        self.manager = ScriptedManager(*script)
        self.lines: list[str] = []
        self.learned: list[SharedSettings] = []
        self.membership = Membership(
            self.node,
            self.manager,
            Settings(role="peer", renew_seconds=0.02, advertise=advertise),
            port=11001,
            learn=lambda shared, url: self.learned.append(shared),
            uplink=lambda: 1000.0 * len(self.manager.calls),
            say=self.lines.append,
            rng=random.Random(1),
        )

    def told(self) -> Story:
        async def run() -> None:
            running = asyncio.ensure_future(self.membership.run())
            over = asyncio.ensure_future(self.manager.is_over.wait())
            await asyncio.wait({running, over}, timeout=20, return_when=asyncio.FIRST_COMPLETED)
            assert over.done() and not running.done(), "the script did not come to its end"
            running.cancel()
            await asyncio.wait({running})

        asyncio.run(run())
        return self

    @property
    def calls(self) -> list[str]:
        return [type(call).__name__ for call in self.manager.calls]


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    monkeypatch.setattr(module, "RETRY_BASE_SECONDS", 0.001)
    monkeypatch.setattr(module, "RETRY_MAX_SECONDS", 0.002)


def test_a_peer_joins_with_its_port_and_follows_the_list_and_the_settings() -> None:
    story = Story(joined("life.1", "me"), news("life.2", "me", "bob")).told()
    assert story.calls == ["Join", "Renew", "Renew"]
    join, first, second = story.manager.calls
    assert (join.id, join.port, join.advertise) == ("me", 11001, None)
    assert (first.epoch, first.settings_version, second.epoch) == ("life.1", "v1", "life.2")
    assert [found.epoch for found in story.node.lists] == ["life.1", "life.2"]
    assert story.learned == [SHARED]
    assert story.membership.has_joined
    assert story.membership.url == "http://10.0.0.5:11001"


def test_joins_and_renewals_tell_of_the_uplink() -> None:
    story = Story(joined("life.1", "me"), RenewAnswer("ok")).told()
    assert [call.uplink for call in story.manager.calls] == [0, 1000, 2000]
    assert story.manager.calls[0].may_ask_upstream


def test_an_advertised_url_goes_with_the_join() -> None:
    story = Story(joined("life.1", "me"), advertise="https://laptop.example").told()
    assert story.manager.calls[0].advertise == parse_node_url("https://laptop.example")


def test_a_manager_that_is_not_there_yet_is_waited_for_with_one_line() -> None:
    story = Story(AWAY, AWAY, AWAY, joined("life.1", "me")).told()
    waiting = [line for line in story.lines if "waiting for the manager" in line]
    assert len(waiting) == 1
    assert "no route" in waiting[0]
    assert story.membership.has_joined


def test_the_line_comes_again_after_a_long_while() -> None:
    clock = FakeClock()

    def later() -> ManagerUnreachable:
        clock.now += module.SAY_AGAIN_SECONDS
        return AWAY

    story = Story(AWAY, AWAY, later, AWAY, clock=clock).told()
    assert len([line for line in story.lines if "waiting" in line]) == 2


def test_an_unreachable_peer_is_told_what_to_do_and_keeps_trying() -> None:
    no = JoinAnswer("unreachable", "no answer within 3 s", "http://10.0.0.5:11001")
    story = Story(no, no, joined("life.1", "me")).told()
    advice = [line for line in story.lines if "--advertise" in line and "open port 11001" in line]
    assert len(advice) == 1
    assert "http://10.0.0.5:11001" in advice[0] and "no answer within 3 s" in advice[0]
    assert story.calls == ["Join", "Join", "Join", "Renew"]


def test_a_peer_that_has_not_joined_is_not_ready() -> None:
    story = Story(JoinAnswer("full", "the list is full")).told()
    assert not story.membership.has_joined
    assert story.node.lists == []


def test_the_last_list_stays_while_the_manager_is_away() -> None:
    story = Story(joined("life.1", "me", "bob"), AWAY, AWAY, RenewAnswer("ok")).told()
    assert story.node.peers.epoch == "life.1"
    assert story.calls == ["Join", "Renew", "Renew", "Renew", "Renew"]
    assert len([line for line in story.lines if "lost the manager" in line and "2 peers" in line]) == 1
    assert "the manager answers again" in story.lines


def test_a_restarted_manager_knows_nobody_and_is_joined_at_once() -> None:
    story = Story(joined("life.1", "me"), AWAY, UNKNOWN, joined("new.1", "me")).told()
    assert story.calls == ["Join", "Renew", "Renew", "Join", "Renew"]
    assert story.node.peers.epoch == "new.1"


def test_a_manager_that_forgets_after_each_join_is_not_asked_in_a_circle() -> None:
    clock = FakeClock()
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def noting(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    story = Story(*[joined("life.1", "me"), UNKNOWN] * 3, clock=clock)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.asyncio, "sleep", noting)
        story.told()
    after_unknown = pauses[1::2]
    assert after_unknown[0] == 0
    assert all(seconds >= SHARED.renew_seconds / 2 for seconds in after_unknown[1:])


def test_after_a_restart_of_the_manager_the_old_list_stays_until_the_new_one_has_settled() -> None:
    clock = FakeClock()

    def settled() -> RenewAnswer:
        clock.now += 5
        return RenewAnswer("ok")

    story = Story(
        joined("life.7", "me", "bob", "carl"), UNKNOWN,
        joined("new.1", "me", settles_seconds=4.0), news("new.2", "bob", "me"), news("new.3", "bob", "carl", "me"), settled,
        clock=clock,
    )  # fmt: skip
    story.told()
    assert [found.epoch for found in story.node.lists] == ["life.7", "new.3"]
    renewals = [call for call in story.manager.calls if isinstance(call, Renew)]
    assert [call.epoch for call in renewals] == ["life.7", "new.1", "new.2", "new.3", "new.3"]


def test_a_half_list_is_not_adopted_when_its_manager_dies_meanwhile() -> None:
    clock = FakeClock()

    def later() -> ManagerUnreachable:
        clock.now += 60
        return AWAY

    story = Story(
        joined("life.7", "me", "bob"), UNKNOWN, joined("new.1", "me", settles_seconds=4.0), later, AWAY, news("new.2", "bob", "me"),
        clock=clock,
    ).told()  # fmt: skip
    assert [found.epoch for found in story.node.lists] == ["life.7", "new.2"]


def test_a_fresh_peer_takes_the_list_of_a_fresh_manager_as_it_is() -> None:
    story = Story(joined("new.1", "me", settles_seconds=4.0)).told()
    assert story.node.peers.epoch == "new.1"


def test_changed_settings_are_learned_with_the_next_renewal() -> None:
    changed = SharedSettings(**{**SHARED.to_wire(), "version": "v2", "upstream": "https://other.example"})
    story = Story(joined("life.1", "me"), RenewAnswer("ok", settings=changed)).told()
    assert [shared.upstream for shared in story.learned] == ["https://files.example.com", "https://other.example"]
    assert story.manager.calls[-1].settings_version == "v2"


def test_a_peer_that_is_listed_no_longer_says_so_once_and_says_when_it_is_again() -> None:
    unlisted = news("life.2", "bob", is_listed=False, reason="no answer within 3 s")
    story = Story(joined("life.1", "me", "bob"), unlisted, RenewAnswer("ok", is_listed=False), news("life.3", "bob", "me")).told()
    assert len([line for line in story.lines if "any more (no answer within 3 s)" in line]) == 1
    assert "the manager lists this peer again" in story.lines


def test_a_refused_message_is_said_and_tried_again() -> None:
    story = Story(ManagerRefused("id is missing"), joined("life.1", "me")).told()
    assert any("id is missing" in line for line in story.lines)
    assert story.membership.has_joined


def test_a_loopback_url_is_warned_about_once() -> None:
    answer = JoinAnswer("joined", "", "http://127.0.0.1:11001", PeerList("life.1"), SHARED)
    story = Story(answer, UNKNOWN, answer).told()
    assert len([line for line in story.lines if "only this machine" in line]) == 1


def test_leaving_takes_this_node_off_its_own_list_and_says_goodbye() -> None:
    story = Story(joined("life.1", "me", "bob")).told()
    asyncio.run(story.membership.leave())
    assert story.manager.left == ["me"]
    assert [member.id for member in story.node.peers.members] == ["bob"]


def test_leaving_works_without_a_manager_and_without_a_seat() -> None:
    story = Story(joined("life.1", "me")).told()
    story.manager.leave_error = AWAY
    asyncio.run(story.membership.leave())
    assert any("without a goodbye" in line for line in story.lines)

    never = Story(JoinAnswer("full", "the list is full")).told()
    never.manager.calls.clear()
    never.membership._may_be_seated = False
    asyncio.run(never.membership.leave())
    assert never.manager.left == []


def test_a_join_under_way_is_followed_by_a_goodbye_too() -> None:
    story = Story().told()
    assert isinstance(story.manager.calls[0], Join)
    asyncio.run(story.membership.leave())
    assert story.manager.left == ["me"]


def test_pauses_and_retries_grow_with_the_cluster_and_have_bounds(monkeypatch) -> None:
    monkeypatch.setattr(module, "RETRY_MAX_SECONDS", 2.0)
    assert follow_pause_seconds(8, 5.0) < 0.2
    assert follow_pause_seconds(100_000, 5.0) == 2.5
    assert retry_max_seconds(8) == 2.0
    assert retry_max_seconds(100_000) == 8.0
