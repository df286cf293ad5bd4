"""Laws of ownership: who leaves moves only its own keys, shares follow weights, and no order of the list matters."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minicdn.core import rendezvous
from minicdn.core.rendezvous import rank, score


@dataclass(frozen=True)
class Peer:
    id: str
    weight: float = 1.0


weights = st.floats(min_value=1e-3, max_value=1e3)
members = st.lists(st.builds(Peer, st.text(min_size=1, max_size=8), weights), min_size=1, max_size=12, unique_by=lambda peer: peer.id)
keys = st.text(max_size=20)


@given(keys, members, st.randoms(use_true_random=False))
def test_everybody_is_ranked_once_whatever_the_order(key, listed, rng):
    shuffled = rng.sample(listed, len(listed))
    assert rank(key, shuffled) == rank(key, listed)
    assert sorted(peer.id for peer in rank(key, listed)) == sorted(peer.id for peer in listed)


@given(keys, members, st.data())
def test_who_leaves_changes_nobody_elses_place(key, listed, data):
    leaver = data.draw(st.sampled_from(listed))
    rest = [peer for peer in listed if peer != leaver]
    assert rank(key, rest) == [peer for peer in rank(key, listed) if peer != leaver]


@given(keys, members, st.data(), st.floats(min_value=1.001, max_value=100))
def test_who_gets_more_weight_only_moves_forward(key, listed, data, factor):
    chosen = data.draw(st.sampled_from(listed))
    heavier = [replace(peer, weight=peer.weight * factor) if peer == chosen else peer for peer in listed]
    before = [peer.id for peer in rank(key, listed)]
    after = [peer.id for peer in rank(key, heavier)]
    assert after.index(chosen.id) <= before.index(chosen.id)
    before.remove(chosen.id)
    after.remove(chosen.id)
    assert before == after


@given(keys, members, st.floats(min_value=0.01, max_value=100))
def test_only_the_ratio_of_weights_counts(key, listed, factor):
    scaled = [replace(peer, weight=peer.weight * factor) for peer in listed]
    assert [peer.id for peer in rank(key, scaled)] == [peer.id for peer in rank(key, listed)]


def by_definition(key: str, listed: list[Peer]) -> list[Peer]:
    name = key.encode("utf-8", "surrogateescape")
    return sorted((peer for peer in listed if peer.weight > 0), key=lambda peer: (score(name, peer.id, peer.weight), peer.id))


few_weights = st.sampled_from([1.0] * 40 + [0.0, 0.5, 2.0])
names = st.text(st.characters(min_codepoint=1, max_codepoint=0x24F), min_size=1, max_size=8) | st.sampled_from(["a\udcfe", "ab", "a"])
mixed = st.lists(st.builds(Peer, names, few_weights), max_size=90, unique_by=lambda peer: peer.id)


@settings(deadline=None)
@given(keys | st.just("/\udcff"), mixed, st.none() | st.integers(0, 4))
def test_the_order_is_that_of_the_scores(key, listed, count):
    assert rank(key, listed, count) == by_definition(key, listed)[:count]
    assert rank(key, iter(listed), count) == by_definition(key, listed)[:count]


TOP = 1 << 64


class Named:
    """A hash that is told by the member's name: the later the name, the smaller the number."""

    def __init__(self, data: bytes, digest_size: int) -> None:
        self._name = data.partition(b"\0")[0]

    def copy(self) -> Named:
        return self

    def update(self, data: bytes) -> None: ...

    def digest(self) -> bytes:
        return (TOP - 1 - int(self._name)).to_bytes(8, "big")


places = st.sampled_from([0, 1 << 20, 1 << 40, 1 << 52, 1 << 62, 1 << 63, 3 << 62, TOP - (1 << 40), TOP - 1])
steps = st.integers(0, 40).flatmap(lambda bits: st.integers(-(1 << bits), 1 << bits))
draws = st.lists(st.builds(lambda place, step: min(max(place + step, 0), TOP - 1), places, steps), min_size=1, max_size=80, unique=True)


@settings(deadline=None)
@given(draws, st.none() | st.integers(0, 4))
def test_the_order_is_that_of_the_scores_however_near_the_draws_are(drawn, count):
    """Floats fall together where draws do not, and then names decide."""
    listed = [Peer(f"{TOP - 1 - number:020}") for number in drawn]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rendezvous, "blake2b", Named)
        patch.setattr(rendezvous, "_begun", lambda member_id: Named(member_id.encode(), 8))
        assert rank("/x", listed, count) == by_definition("/x", listed)[:count]


def shares(listed: list[Peer], keys_count: int, seed: int) -> Counter[str]:
    rng = random.Random(seed)
    return Counter(rank(f"/file-{rng.getrandbits(64):x}", listed, 1)[0].id for _ in range(keys_count))


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("listed", [[1.0] * 8, [1.0, 1.0, 2.0, 4.0], [0.2, 1.0, 1.0, 1.0], [5.0] * 50], ids=str)
def test_shares_follow_weights(listed, seed):
    """Within five standard deviations of a fair draw; the seeds are fixed, so it holds always or never."""
    count = 60_000 // len(listed)  # as much work for each list
    peers = [Peer(f"10.0.0.{number}:11001", weight) for number, weight in enumerate(listed)]
    found = shares(peers, count, seed)
    for peer in peers:
        share = peer.weight / sum(listed)
        assert abs(found[peer.id] - count * share) < 5 * (count * share * (1 - share)) ** 0.5


@pytest.mark.parametrize("seed", [1, 2])
def test_the_keys_of_a_leaver_spread_over_all_others(seed):
    rng = random.Random(seed)
    peers = [Peer(f"peer-{number}") for number in range(6)]
    heirs = Counter(
        rank(key, peers[1:], 1)[0].id for key in (f"/{rng.getrandbits(64):x}" for _ in range(6000)) if rank(key, peers, 1)[0] is peers[0]
    )
    count = sum(heirs.values())
    assert len(heirs) == 5
    assert all(abs(heir - count / 5) < 5 * (count * 0.2 * 0.8) ** 0.5 for heir in heirs.values())


def test_backups_are_as_evenly_spread_as_owners():
    peers = [Peer(f"peer-{number}") for number in range(8)]
    for place in range(8):
        found = Counter(rank(f"/{number}", peers)[place].id for number in range(3000))
        assert all(abs(count - 375) < 5 * (3000 * (1 / 8) * (7 / 8)) ** 0.5 for count in found.values())
