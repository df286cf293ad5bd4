from __future__ import annotations

import pytest

from minicdn.core.journal import ENTRIES_MAX, JOURNAL_BYTES_MAX, Entry, Journal, Mark
from minicdn.core.purging import Purge


def purge(number: int) -> Purge:
    return Purge(frozenset((f"/{number}",)))


def journal_of(count: int, id: str = "abc") -> Journal:
    journal = Journal(id)
    for number in range(1, count + 1):
        journal.add(f"token{number}", purge(number))
    return journal


def numbers(journal: Journal, mark: Mark | None) -> list[int] | None:
    found = journal.since(mark)
    return None if found is None else [entry.number for entry in found]


def test_who_was_away_learns_what_it_missed_in_order() -> None:
    journal = journal_of(5)
    assert numbers(journal, Mark("abc", 0)) == [1, 2, 3, 4, 5]
    assert numbers(journal, Mark("abc", 3)) == [4, 5]
    assert numbers(journal, journal.mark) == []


@pytest.mark.parametrize("mark", [None, Mark("other", 3), Mark("abc", 6)], ids=["no mark", "another journal", "from the future"])
def test_a_mark_that_names_nothing_here_is_unknown(mark: Mark | None) -> None:
    assert journal_of(5).since(mark) is None


def test_only_the_last_are_kept_and_older_marks_are_unknown() -> None:
    journal = journal_of(ENTRIES_MAX + 5)
    assert len(journal.to_wire()["entries"]) == ENTRIES_MAX
    assert len(journal.since(Mark("abc", 5))) == ENTRIES_MAX
    assert journal.since(Mark("abc", 4)) is None
    assert journal.find("token5") is None and journal.find("token6") is not None


def test_bytes_are_bounded_too_but_the_last_one_stays() -> None:
    journal = Journal("abc")
    huge = Purge(frozenset(f"/{number}/{'a' * 8000}" for number in range(100)))
    assert huge.cost_bytes * 3 > JOURNAL_BYTES_MAX
    for number in range(10):
        journal.add(f"t{number}", huge)
    assert numbers(journal, Mark("abc", 8)) == [9, 10]
    assert journal.since(Mark("abc", 7)) is None


def test_the_same_purge_has_one_entry_however_often_it_comes() -> None:
    journal = journal_of(2)
    assert journal.add("token1", purge(1)).number == 1
    assert journal.mark == Mark("abc", 2)


def test_a_restarted_journal_knows_its_old_marks_and_none_that_were_lost() -> None:
    journal = journal_of(3)
    kept = journal.to_wire()
    lost = journal.add("lost", purge(4))
    again = Journal.from_wire(kept)
    assert numbers(again, Mark("abc", 2)) == [3]
    assert again.since(Mark("abc", lost.number)) is None
    assert numbers(again, again.mark) == []
    before = again.mark
    new = again.add("new", purge(5))
    assert new.before == before.number > lost.number
    assert numbers(again, before) == [new.number] and numbers(again, Mark("abc", 3)) == [new.number]
    assert again.find("token3") is not None


def test_a_journal_restarted_without_news_does_not_use_its_numbers_again() -> None:
    first = Journal.from_wire(Journal("abc").to_wire())
    second = Journal.from_wire(first.to_wire())
    assert first.mark.number < second.mark.number


@pytest.mark.parametrize(
    "plain",
    [
        None, {}, {"id": "abc", "floor": 3, "last": 2, "entries": []}, {"id": "x y", "floor": 0, "last": 0, "entries": []},
        {"id": "abc", "floor": 0, "last": 0, "entries": [[1, 0, "t", {}]]}, {"id": "abc", "floor": 0, "last": 5, "entries": [7]},
        {"id": "abc", "floor": 0, "last": 5, "entries": [[1, 2, "t", Purge().to_wire()]]},
    ],
)  # fmt: skip
def test_what_is_no_journal(plain: object) -> None:
    with pytest.raises(ValueError):
        Journal.from_wire(plain)


def test_marks_come_through_text() -> None:
    assert Mark.parse(str(Mark("abc", 7))) == Mark("abc", 7)
    for text in (None, "", "abc", "abc.", ".7", "abc.-1", "ABC.1", "abc.1x", "abc.٣"):
        assert Mark.parse(text) is None
    assert Mark("a", 2).is_ahead_of(Mark("a", 1)) and Mark("a", 1).is_ahead_of(None) and Mark("b", 1).is_ahead_of(Mark("a", 9))
    assert not Mark("a", 1).is_ahead_of(Mark("a", 1))


def test_an_entry_comes_through_the_wire() -> None:
    entry = journal_of(2).since(Mark("abc", 1))[0]
    assert Entry.from_wire(entry.to_wire()) == entry


@pytest.mark.parametrize("text", ["", "a.1", "A.1", "a.1\n", "f" * 32 + "." + "9" * 15, "f" * 33 + ".1", "a." + "1" * 16, None, b"a.1", 7])
def test_a_mark_is_read_alike_each_time(text: object) -> None:
    first, again = Mark.parse(text), Mark.parse(text)
    assert first == again and (first is None or str(first) == text)
    assert (first is None) == (text not in ("a.1", "f" * 32 + "." + "9" * 15))
