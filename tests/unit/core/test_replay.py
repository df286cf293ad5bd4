from __future__ import annotations

from minicdn.core.replay import WINDOW_BITS, Replays, Verdict

START = 1_000_000.0


def replays(**more: int) -> Replays:
    return Replays(START, 300.0, **more)


def test_a_message_counts_once_and_others_may_overtake_it() -> None:
    found = replays()
    for number in (5, 3, 4, 9, 6):
        assert found.take(b"anna", number, START + 1, START + 1) is Verdict.NEW
    for number in (5, 3, 4, 9, 6):
        assert found.take(b"anna", number, START + 1, START + 1) is Verdict.REPEATED
    assert found.take(b"ben", 5, START + 1, START + 1) is Verdict.NEW


def test_what_falls_out_of_the_window_is_refused() -> None:
    found = replays()
    assert found.take(b"anna", 1, START + 1, START + 1) is Verdict.NEW
    assert found.take(b"anna", 1 + WINDOW_BITS, START + 1, START + 1) is Verdict.NEW
    assert found.take(b"anna", 1, START + 1, START + 1) is Verdict.TOO_OLD
    assert found.take(b"anna", 2, START + 1, START + 1) is Verdict.NEW
    assert found.take(b"anna", 10**12, START + 1, START + 1) is Verdict.NEW
    assert found.take(b"anna", 10**12, START + 1, START + 1) is Verdict.REPEATED


def test_what_was_said_before_the_start_is_refused() -> None:
    """The window of a restarted receiver is empty; its clock is not."""
    found = replays()
    assert found.take(b"anna", 1, START - 0.1, START + 1) is Verdict.TOO_OLD
    assert found.take(b"anna", 1, START, START + 1) is Verdict.TOO_OLD
    assert found.take(b"anna", 3, START + 0.1, START + 1) is Verdict.NEW
    assert found.take(b"anna", 2, START - 0.1, START + 1) is Verdict.TOO_OLD, "although she is known by now"


def test_a_clock_that_is_set_back_shuts_nobody_out_for_long() -> None:
    found = replays()
    back = START - 100_000
    assert found.take(b"anna", 1, back, back) is Verdict.TOO_OLD
    assert found.take(b"anna", 2, back + 301, back + 301) is Verdict.NEW


def test_the_silent_are_forgotten_once_their_messages_are_too_old_anyway() -> None:
    found = replays(senders_max=2)
    found.take(b"anna", 1, START + 1, START + 1)
    found.take(b"ben", 1, START + 302, START + 302)
    assert len(found) == 1
    assert found.take(b"anna", 9, START + 303, START + 303) is Verdict.NEW


def test_who_is_forgotten_for_want_of_room_can_not_be_repeated_either() -> None:
    found = replays(senders_max=2)
    for at, sender in enumerate((b"anna", b"ben", b"carl"), start=1):
        assert found.take(sender, 1, START + at, START + 3) is Verdict.NEW
    assert len(found) == 2
    assert found.take(b"anna", 1, START + 1, START + 3) is Verdict.TOO_OLD
    assert found.take(b"anna", 2, START + 4, START + 4) is Verdict.NEW
    assert len(found) == 2
