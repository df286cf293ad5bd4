"""Copies agree with their owner: what it has newer, they have soon."""

from __future__ import annotations

import pytest

from tests.kit.asking import ask
from tests.kit.files import MIB, bytes_of
from tests.kit.origin import whole
from tests.kit.stage import Stage
from tests.kit.waiting import eventually

KEPT = ("Cache-Control", "max-age=3600")
WITH_REFRESH = ("Cache-Control", "max-age=1, stale-while-revalidate=600")


@pytest.mark.parametrize("size", [20_000, 5 * MIB], ids=["small", "large"])
@pytest.mark.parametrize("asked_at", [0, 1], ids=["at-the-owner", "at-another-peer"])
def test_a_forced_refresh_is_news_for_all_copies(stage: Stage, size: int, asked_at: int) -> None:
    origin = stage.origin()
    cluster = stage.cluster(origin.url, peers=3)
    path = cluster.key_owned_by(cluster.peers[0], "/version-{}.bin")
    old, new = bytes_of("old", size), bytes_of("new", size)
    origin.on(path, whole(old, [KEPT, ("ETag", '"1"')]))
    assert all(ask(peer.url, path).body == old for peer in cluster.peers)
    origin.on(path, whole(new, [KEPT, ("ETag", '"2"')]))
    assert ask(cluster.peers[asked_at].url, path, fields=[("Cache-Control", "no-cache")]).body == new
    eventually(lambda: all(ask(peer.url, path).body == new for peer in cluster.peers), "all peers to serve the new version")
    # Besides the two versions' bodies only questions whether anything changed, while the word of it goes round.
    assert sum(dict(asked.fields).get("if-none-match") != '"2"' for asked in origin.asked(path)) == 2


def test_a_copy_that_may_be_served_stale_asks_its_owner_first(stage: Stage) -> None:
    origin = stage.origin()
    cluster = stage.cluster(origin.url, peers=3)
    owner, one, other = cluster.peers
    path = cluster.key_owned_by(owner, "/refreshed-{}.bin")
    origin.on(path, whole(b"old", [WITH_REFRESH, ("ETag", '"1"')]))
    assert all(ask(peer.url, path).body == b"old" for peer in cluster.peers)
    origin.on(path, whole(b"new", [("Cache-Control", "max-age=3600"), ("ETag", '"2"')]))
    eventually(lambda: ask(one.url, path).body == b"new", "the refresh to have come")
    assert ask(other.url, path).body == b"new"
