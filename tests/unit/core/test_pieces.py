"""How a file is cut and dealt."""

from __future__ import annotations

import pytest

from minicdn.core.pieces import KIB, MIB, Backups, Dealer, Pieces, backups, deal, piece_bytes, shares


@pytest.mark.parametrize(
    ("length", "size"),
    [(1, 256 * KIB), (64 * MIB, 256 * KIB), (128 * MIB + 1, 512 * KIB), (1 << 30, 2 * MIB), (10 << 30, 16 * MIB), (1 << 40, 16 * MIB)],
)
def test_the_size_follows_the_length_within_its_bounds(length: int, size: int) -> None:
    assert piece_bytes(length) == size


def test_spans_cover_the_file_and_the_last_is_shorter() -> None:
    pieces = Pieces(1000, 300)
    assert [pieces.span(index) for index in range(pieces.count)] == [(0, 300), (300, 600), (600, 900), (900, 1000)]
    assert list(pieces.touching(299, 301)) == [0, 1]
    assert list(pieces.touching(5, 5)) == []
    assert list(pieces.within(1, 900)) == [1, 2]
    assert list(pieces.within(600, 1000)) == [2, 3]
    assert list(pieces.within(301, 599)) == []


def test_all_get_the_same_number_of_pieces() -> None:
    assert shares(deal("/file", 256, [Dealer(f"http://peer{number}:9000") for number in range(8)]), 8) == [32] * 8


def test_weights_are_honoured_and_who_has_none_owns_nothing() -> None:
    dealers = [Dealer("http://a:1", 3.0), Dealer("http://b:1", 1.0), Dealer("http://c:1", 0.0)]
    assert shares(deal("/file", 400, dealers), 3) == [300, 100, 0]
    assert deal("/file", 4, [Dealer("http://c:1", 0.0)]) == []
    assert 2 not in backups("/file", 0, dealers)


def test_backups_are_the_same_remembered() -> None:
    dealers = [Dealer(f"http://{number}:1", number % 3) for number in range(100)]
    remembered = Backups("/file", dealers)
    for index in (0, 7, 7):
        wanted = [dealers[place].url for place in backups("/file", index, dealers)]
        assert remembered.urls(index) == wanted[: Backups.KEPT]
