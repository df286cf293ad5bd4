"""Laws of a swarm's decisions: the deal is fair, the same everywhere, and calm; the picker loses no piece, whatever happens."""

from __future__ import annotations

import random
from collections import Counter
from math import ceil, fsum

from hypothesis import given, settings
from hypothesis import strategies as st

from minicdn.core.picker import FLIGHTS_MAX, FLIGHTS_PER_PIECE, HEDGES_MAX, Errand, Picker
from minicdn.core.pieces import Dealer, Pieces, deal, deal_in_turns, shares
from minicdn.core.wants import FLYING, WANTED

SIZE = 100
weights = st.lists(st.sampled_from([0.0, 0.2, 1.0, 3.5]), min_size=1, max_size=12).filter(any)


def dealers_of(found: list[float]) -> list[Dealer]:
    return [Dealer(f"http://peer{number}:1", weight) for number, weight in enumerate(found)]


DEALS = st.sampled_from([deal, deal_in_turns])


@given(DEALS, weights, st.integers(0, 120))
def test_no_owner_has_more_than_its_weighted_share_rounded_up(deal, found, count):
    owned = deal("/file", count, dealers_of(found))
    assert len(owned) == count
    for has, weight in zip(shares(owned, len(found)), found, strict=True):
        assert has <= ceil(count * weight / fsum(found))


@given(st.integers(1, 12), st.integers(0, 120))
def test_in_turns_nobody_comes_twice_before_all_have_come(members, count):
    owned = deal_in_turns("/file", count, dealers_of([1.0] * members))
    assert all(len(set(owned[at : at + members])) == len(owned[at : at + members]) for at in range(0, count, members))


@given(DEALS, weights, st.integers(0, 60), st.randoms(use_true_random=False))
def test_the_deal_does_not_depend_on_the_order_of_the_members(deal, found, count, rng):
    dealers = dealers_of(found)
    mixed = rng.sample(dealers, len(dealers))
    assert [dealers[one].url for one in deal("/file", count, dealers)] == [mixed[one].url for one in deal("/file", count, mixed)]


@given(st.integers(4, 16), st.integers(0, 1000))
@settings(max_examples=30)
def test_a_leaver_moves_few_pieces_of_others(members, number):
    dealers, count = dealers_of([1.0] * members), 256
    before, after = deal(f"/{number}", count, dealers), deal(f"/{number}", count, dealers[1:])
    moved = sum(dealers[old].url != dealers[1:][new].url for old, new in zip(before, after, strict=True) if old)
    assert moved <= 0.15 * count


class World:
    """Sources that answer as chance has it. can_give: those that may ever give a piece; None is the upstream."""

    def __init__(self, seed: int, count: int, members: int, can_give: set[str | None], is_member: bool) -> None:
        self.rng = random.Random(seed)
        self.now = 0.0
        self.dealers = dealers_of([1.0] * members)
        self.can_give = can_give
        self.me = self.dealers[0].url if is_member else None
        owned = deal("/file", count, self.dealers)
        self.picker = Picker("/file", Pieces(count * SIZE, SIZE), self.dealers, owned, self.me)
        self.under_way: list[tuple[str | None, int]] = []

    def carry(self, errands: list[Errand]) -> None:
        for errand in errands:
            assert errand.indices
            assert errand.is_owners or errand.url not in (self.me, None), "a node is no holder for itself"
            self.under_way += [(errand.url, index) for index in errand.indices]

    def step(self, harm: float) -> None:
        """One thing happens, and the picker is asked what to do next."""
        self.now += self.rng.random() * 0.4
        if self.under_way:
            self.happen(*self.under_way.pop(self.rng.randrange(len(self.under_way))), harm)
        self.carry(self.picker.errands(self.now, self.rng))
        if self.rng.random() < 0.2:
            self.carry(self.picker.tick(self.now, self.rng))
        self.check()

    def happen(self, url: str | None, index: int, harm: float) -> None:
        picker, now, rng = self.picker, self.now, self.rng
        if url not in self.can_give:
            kind = "failed"
        elif rng.random() >= harm:
            kind = "received"
        else:
            kind = rng.choice(["failed", "refused", "absent", "lied", "gave_up", "silence", "knows"])
        if url in (None, self.me) and kind in ("refused", "absent", "lied", "knows", "silence"):
            kind = "failed"
        if kind == "received" and not picker.is_held(index):
            picker.received(index, url, SIZE, now)
        elif kind == "failed":
            picker.failed(url, [index], now)
        elif kind == "refused":
            picker.refused(index, url, rng.sample([one.url for one in self.dealers], 2), 0.1, now, rng)
        elif kind == "absent":
            picker.refused(index, url, [], 0.0, now, rng)
        elif kind == "lied":
            picker.lied(url, index, now)
        elif kind == "gave_up":
            picker.gave_up([index], url, now)
        elif kind == "knows":
            picker.knows(url, rng.getrandbits(picker.pieces.count))
            picker.gave_up([index], url, now)

    def check(self) -> None:
        picker = self.picker
        queued = {index for url in picker.sources.urls() for queue in queues(picker, url) for _, index in queue}
        queued |= {index for _, index in picker._resting}
        flights: Counter[str | None] = Counter()
        for index in range(picker.pieces.count):
            own = picker._flights.of(index)
            assert bool(own) == (picker._state[index] == FLYING)
            assert len(own) <= FLIGHTS_PER_PIECE
            assert picker._state[index] != WANTED or index in queued, "wanted, and nobody will be asked"
            flights.update(flight.url for flight in own)
        assert flights.total() == picker.flights_count <= FLIGHTS_MAX + HEDGES_MAX
        assert all(picker.sources.get(url).flights_count == flights[url] for url in list(picker.sources.urls()))
        assert picker._flights.hedges_count <= HEDGES_MAX
        missing = sum(state in (WANTED, FLYING) for state in picker._state)
        assert missing == picker._wants.missing_mask.bit_count()
        assert picker.is_done == (missing == 0)
        assert picker._wants.mask == sum(1 << index for index, state in enumerate(picker._state) if state == WANTED)


def queues(picker: Picker, url: str | None) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    source = picker.sources.get(url)
    return source.own, source.referred


@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(2, 6), st.booleans(), st.integers(0, 6))
@settings(max_examples=60, deadline=None)
def test_a_piece_is_in_one_state_and_all_come_if_anybody_can_give(seed, count, members, is_member, able):
    """However bad it is for a while; and after that, one single source is enough, also the upstream."""
    urls = [f"http://peer{number}:1" for number in range(1, members)]
    world = World(seed, count, members, {None, *urls}, is_member)
    for _ in range(4):
        first = world.rng.randrange(count)
        world.picker.want(range(first, world.rng.randrange(first, count) + 1), world.now)
        for _ in range(20):
            world.step(0.6)
        world.picker.unwant([world.rng.randrange(count)])
        world.picker.lose(world.rng.randrange(count), world.now)
        world.check()
    world.picker.want(range(count), world.now)
    world.can_give = {None if able >= len(urls) else urls[able]}
    for _ in range(20_000):
        if world.picker.is_done:
            break
        world.step(0.0)
    assert world.picker.is_done


def test_two_readers_far_apart_are_both_served_first():
    """A Range at the end of a large file does not wait for all that comes before it."""
    dealers = dealers_of([1.0] * 3)
    picker = Picker("/file", Pieces(5000 * SIZE, SIZE), dealers, deal("/file", 5000, dealers), None)
    picker.want(range(4000), 0.0)
    picker.want([4990, 4997], 0.0)
    rng, held = random.Random(1), []
    for turn in range(400):
        for errand in picker.errands(turn / 10, rng):
            for index in errand.indices:
                held.append(index)
                picker.received(index, errand.url, SIZE, turn / 10)
        if 4997 in held:
            break
    assert {4990, 4997} <= set(held)
    assert max(index for index in held if index < 4000) < 200
