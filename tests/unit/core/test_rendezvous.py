"""Who owns a key: the same for everybody, and only as different as the lists are."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from math import inf, log, nan

import pytest

from minicdn.core import rendezvous
from minicdn.core.rendezvous import rank, score


@dataclass(frozen=True)
class Peer:
    id: str
    weight: float = 1.0


PEERS = [Peer(f"peer-{number}") for number in range(8)]


def test_nobody_owns_anything_where_nobody_is():
    assert rank("/a", []) == []
    assert rank("/a", [], 3) == []


def test_the_order_of_the_list_is_nothing():
    for key in ("/a", "/b?c=d", "/%20", "/é"):
        assert rank(key, PEERS) == rank(key, reversed(PEERS)) == rank(key, PEERS[3:] + PEERS[:3])


@pytest.mark.parametrize("count", [0, 1, 3, 8, 20])
def test_the_first_few_are_the_first_of_all(count):
    for number in range(50):
        assert rank(f"/{number}", PEERS, count) == rank(f"/{number}", PEERS)[:count]


@pytest.mark.parametrize("weight", [0.0, -1.0, nan])
def test_without_weight_a_member_owns_nothing(weight):
    listed = [*PEERS, Peer("idle", weight)]
    assert all("idle" not in [peer.id for peer in rank(f"/{number}", listed)] for number in range(50))


def test_any_weight_that_a_float_can_be_gives_an_order():
    listed = [Peer("a", 5e-324), Peer("b", 1.7e308), Peer("c", inf), Peer("d", 1.0)]
    assert sorted(peer.id for peer in rank("/x", listed)) == ["a", "b", "c", "d"]


def test_all_nodes_of_all_versions_agree():
    """Scores that were right once: a cluster may be of mixed versions while it is being updated."""
    assert [peer.id for peer in rank("/some/file.bin", PEERS)] == [
        peer.id
        for peer in sorted(
            PEERS, key=lambda peer: int.from_bytes(blake2b(peer.id.encode() + b"\0/some/file.bin", digest_size=8).digest(), "big")
        )
    ]


def test_names_that_are_no_utf_8_have_owners_too():
    assert len(rank("/\udcff", [Peer("a\udcfe"), Peer("b")])) == 2


def drawing(monkeypatch, drawn: int) -> float:
    class Hash:
        def digest(self) -> bytes:
            return drawn.to_bytes(8, "big")

    monkeypatch.setattr(rendezvous, "blake2b", lambda *_, **__: Hash())
    return score(b"/x", "a", 1.0)


@pytest.mark.parametrize("drawn", [0, 1, 1 << 20, (1 << 63) - 1, 1 << 63, (1 << 64) - 2, (1 << 64) - 1])
def test_every_draw_has_a_score_of_its_own(monkeypatch, drawn):
    """Neither an infinite score nor a zero; and no two draws that decide fall together, which a plain −ln(u) does beyond 53 bits."""
    found = drawing(monkeypatch, drawn)
    assert 0 < found < 46
    if drawn < 1 << 52:
        assert drawing(monkeypatch, drawn + 1) > found


@pytest.mark.parametrize("drawn", [1 << 60, 1 << 62, 3 << 61, 15 << 60])
def test_the_score_is_an_exponential_variate(monkeypatch, drawn):
    assert drawing(monkeypatch, drawn) == pytest.approx(-log(1 - drawn / 2**64), rel=1e-12)
