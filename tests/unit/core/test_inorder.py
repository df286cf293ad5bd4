"""Whom a requester asks for what, where one node has streamed the file to the owners of its pieces."""

from __future__ import annotations

import random

from minicdn.core.inorder import InOrderPicker
from minicdn.core.pieces import Dealer, Pieces
from minicdn.core.sources import FLIGHTS_PER_SOURCE

STREAMER, SLOW = "http://streamer:1", "http://slow:1"
QUICK = ("http://a:1", "http://b:1", "http://c:1")
SIZE, COUNT = 100, 40


def stolen_by(me: str) -> list[int]:
    """What it asks the streamer for, in order, where the slow owner of all has brought the last piece only."""
    dealers = [Dealer(url) for url in (STREAMER, SLOW, *QUICK)]
    picker = InOrderPicker("/file", Pieces(COUNT * SIZE, SIZE), dealers, [1] * COUNT, me, STREAMER)
    picker.want(range(COUNT), 0.0)
    picker.errands(0.0, random.Random(1))
    picker.received(COUNT - 1, SLOW, SIZE, 1.0)
    found: list[int] = []
    for now in range(2, 2 + COUNT):
        for errand in picker.errands(float(now), random.Random(1)):
            if errand.url == STREAMER:
                assert not errand.is_owners
                found += errand.indices
        for index in found:
            picker.received(index, STREAMER, SIZE, now + 0.5)
    return found


def test_each_begins_at_another_place_of_what_is_late() -> None:
    first = [set(stolen_by(me)[:4]) for me in QUICK]
    assert all(len(one) == 4 for one in first)
    assert not (first[0] & first[1] or first[1] & first[2] or first[0] & first[2])


def test_none_of_what_is_late_is_left_out() -> None:
    for me in QUICK:
        found = stolen_by(me)
        assert len(found) == len(set(found))
        assert len(found) >= COUNT - 1 - FLIGHTS_PER_SOURCE  # the others are under way at their owner
