"""The plan of a large download, driven by a clock of its own: who is asked for what, and who stands in."""

from __future__ import annotations

import pytest

from minicdn.core.pieces import Dealer, Pieces, deal
from minicdn.core.spans import SpanSet
from minicdn.get.plan import FLIGHTS_PER_SOURCE, HEDGES_MAX, SILENT_SECONDS, Flight, Plan

PIECES = Pieces(64 * 1000 - 300, 1000)
PEERS = tuple(Dealer(f"http://peer{number}") for number in range(4))
LAST = "http://upstream/file"


class Run:
    """A plan with its held bytes; time stands still unless a test moves it."""

    def __init__(self, *, peers: tuple[Dealer, ...] = PEERS, held: SpanSet | None = None, **options) -> None:
        self.held = held if held is not None else SpanSet()
        self.plan = Plan("/file", PIECES, peers, self.held, last=LAST, **options)
        self.now = 100.0
        self.flying: list[Flight] = []

    def next(self) -> list[Flight]:
        begun = self.plan.next(self.now)
        self.flying += begun
        return begun

    def tick(self, seconds: float = 0.25) -> list[Flight]:
        self.now += seconds
        begun = self.plan.tick(self.now)
        self.flying += begun
        return begun

    def bring(self, flight: Flight, size: int | None = None) -> list[Flight]:
        """Its next bytes; all if not told, and then it has ended."""
        start = flight.at
        size = flight.end - start if size is None else size
        self.held.add(start, start + size)
        useless = self.plan.moved(flight, size, self.now)
        if self.plan.is_over(flight):
            self.end(flight)
        return useless

    def end(self, flight: Flight) -> None:
        self.flying.remove(flight)
        self.plan.ended(flight, self.now)

    def fail(self, flight: Flight, **options) -> None:
        self.flying.remove(flight)
        self.plan.failed(flight, self.now, **options)

    def url(self, flight: Flight) -> str:
        return self.plan.url_of(flight)

    def at(self, url: str) -> list[Flight]:
        return [flight for flight in self.flying if self.url(flight) == url]

    def bring_all(self, besides: str = "") -> None:
        """Everybody but one brings what it is asked for, until nothing new is asked."""
        while True:
            self.next()
            able = [flight for flight in self.flying if self.url(flight) != besides]
            if not able:
                return
            for flight in able:
                if flight in self.flying:
                    for useless in self.bring(flight):
                        if useless in self.flying:
                            self.end(useless)


def test_pieces_are_asked_of_their_owners_in_file_order_a_few_at_a_time() -> None:
    run = Run()
    begun = run.next()
    owned = deal("/file", PIECES.count, PEERS)
    assert len(begun) == FLIGHTS_PER_SOURCE * len(PEERS)
    for place, peer in enumerate(PEERS):
        mine = [index for index, owner in enumerate(owned) if owner == place]
        assert [flight.start for flight in run.at(peer.url)] == [index * PIECES.size for index in mine[:FLIGHTS_PER_SOURCE]]
    assert run.next() == [], "the window is full"


def test_all_bytes_are_asked_once_where_nobody_fails() -> None:
    run = Run()
    asked = SpanSet()
    while not run.plan.is_done:
        for flight in run.next():
            assert asked.gaps(flight.start, flight.end) == [(flight.start, flight.end)]
            asked.add(flight.start, flight.end)
        run.bring(run.flying[0])
    assert list(asked) == [(0, PIECES.length)]


def test_only_what_is_missing_is_asked() -> None:
    run = Run(held=SpanSet([(0, 30_500), (40_000, PIECES.length)]))
    run.next()
    assert sorted((flight.start, flight.end) for flight in run.flying)[0] == (30_500, 31_000)
    assert len(run.flying) == 10
    run.bring_all()
    assert run.plan.is_done


def test_the_opening_answer_counts_as_a_flight() -> None:
    run = Run()
    flight = run.plan.adopt(PEERS[2].url, 0, 4000, run.now)
    assert flight is not None
    run.flying.append(flight)
    assert min(other.start for other in run.next()) == 4000
    run.bring(flight, 2500)
    run.fail(flight)
    run.now += 1
    run.bring_all()
    assert run.plan.is_done
    assert run.plan.adopt("http://stranger", 0, 1000, run.now) is None


def test_an_opening_answer_that_is_shorter_than_a_piece() -> None:
    run = Run()
    flight = run.plan.adopt(PEERS[2].url, 0, 400, run.now)
    assert flight is not None
    run.flying.append(flight)
    run.bring(flight)
    assert min((other.start, other.end) for other in run.next()) == (400, 1000)
    run.bring_all()
    assert run.plan.is_done


def test_what_a_dead_peer_leaves_goes_to_others() -> None:
    run = Run()
    run.next()
    dead = PEERS[0].url
    for flight in run.at(dead):
        run.fail(flight)
    assert not any(run.url(flight) == dead for flight in run.next())
    run.bring_all()
    assert run.plan.is_done


def test_four_flights_that_end_with_one_peer_are_one_failure() -> None:
    run = Run(peers=PEERS[:1])
    run.next()
    for flight in run.at(PEERS[0].url):
        run.fail(flight)
    run.now += 0.6
    run.tick()
    assert any(run.url(flight) == PEERS[0].url for flight in run.next())


def test_the_upstream_is_asked_when_no_peer_is_left() -> None:
    run = Run()
    run.next()
    for flight in list(run.flying):
        run.fail(flight, is_final=True)
    assert not run.plan.is_hopeless
    assert {run.url(flight) for flight in run.next()} == {LAST}
    run.bring_all()
    assert run.plan.is_done


def test_hopeless_when_nobody_is_left() -> None:
    run = Run()
    for _ in range(200):
        run.next()
        for flight in list(run.flying):
            run.fail(flight)
        run.tick(0.9)
        for flight in list(run.flying):
            run.fail(flight)
        if run.plan.is_hopeless:
            return
    raise AssertionError("it never gave up")


def test_who_has_nothing_left_takes_over_from_the_slowest() -> None:
    run = Run()
    run.next()
    slow = PEERS[1].url
    run.bring_all(besides=slow)
    assert {run.url(flight) for flight in run.flying} == {slow}
    assert len(run.flying) == FLIGHTS_PER_SOURCE, "all that waited for it was taken over"


def test_a_slow_peer_has_fewer_in_flight() -> None:
    run = Run()
    slow = PEERS[1].url
    for _ in range(3):
        run.next()
        for peer in PEERS:
            flight = run.at(peer.url)[0]
            run.bring(flight, 100 if peer.url == slow else None)
        run.tick()
    for flight in run.at(slow)[1:]:
        run.fail(flight)
    run.now += 1
    assert run.plan._room(run.plan._sources[1], run.plan._usual_speed(run.now)) == 1
    assert run.plan._room(run.plan._sources[0], run.plan._usual_speed(run.now)) == FLIGHTS_PER_SOURCE


def test_a_silent_flight_gets_a_second_one_from_where_it_stands() -> None:
    run = Run()
    run.next()
    silent = run.at(PEERS[0].url)[0]
    run.bring(silent, 300)
    hedges: list[Flight] = []
    for _ in range(int(SILENT_SECONDS / 0.25) + 1):
        for peer in PEERS[1:]:
            run.bring(run.at(peer.url)[0], 1)
        hedges += run.tick()
    assert 0 < len(hedges) <= HEDGES_MAX
    hedge = next(hedge for hedge in hedges if hedge.end == silent.end)
    assert (hedge.start, run.url(hedge) != PEERS[0].url) == (silent.start + 300, True)
    assert run.bring(hedge) == [silent], "which is of no use now"
    run.end(silent)
    assert not any(run.url(flight) == PEERS[0].url for flight in run.next()), "it is left alone for a while"


def test_where_all_are_silent_nobody_is_hedged() -> None:
    run = Run()
    run.next()
    for _ in range(40):
        assert run.tick() == []


def test_a_pause_of_our_own_is_nobodys_silence() -> None:
    run = Run()
    run.next()
    for flight in run.flying:
        run.bring(flight, 1)
    run.tick()
    run.now += 30.0
    run.bring(run.at(PEERS[1].url)[0], 1)
    assert run.tick(0.0) == []


def test_a_flight_far_slower_than_most_is_hedged_at_the_end() -> None:
    run = Run()
    slow = PEERS[0].url
    run.bring_all(besides=slow)
    crawling = run.at(slow)
    hedges: list[Flight] = []
    for _ in range(20):
        for flight in crawling:
            if flight in run.flying:
                run.bring(flight, 1)
        hedges += run.tick()
    assert hedges
    assert all(run.url(hedge) != slow for hedge in hedges)


def test_the_look_ahead_is_kept_to() -> None:
    run = Run(look_ahead=3)
    assert {flight.start for flight in run.next()} <= {0, 1000, 2000}
    while not run.plan.is_done:
        run.bring(run.flying[-1])
        first_missing = run.held.reach(0)
        assert all(flight.start < first_missing + 3 * PIECES.size for flight in run.next())


def test_a_last_answer_that_is_short_is_asked_again() -> None:
    run = Run()
    run.next()
    flight = run.flying[0]
    run.bring(flight, 10)
    run.end(flight)
    run.bring_all()
    assert run.plan.is_done


@pytest.mark.parametrize("peers", [(), PEERS[:1]])
def test_few_sources(peers: tuple[Dealer, ...]) -> None:
    run = Run(peers=peers)
    run.bring_all()
    assert run.plan.is_done
