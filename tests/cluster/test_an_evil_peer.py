"""A swarm with a peer in it who lies, keeps silent, or says no: right bytes or a clean cut, and seconds at most."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.swarming import KEPT, RATE_BYTES, RATIO_MAX, SIZE, at_once, is_cut, is_right
from tests.kit.clients import Got, need
from tests.kit.files import big_file
from tests.kit.stage import Stage
from tests.kit.waiting import eventually

QUESTIONS_MAX = 2000
"""For the 96 pieces of a file at two peers; who asks without a pause asks this often in a few seconds."""

pytestmark = pytest.mark.timeout(240)


class Evil:
    """Three peers, one of which is evil when told so, and files whose owner is another."""

    def __init__(self, stage: Stage) -> None:
        need("curl")
        self.nginx = stage.nginx(extra=KEPT, rate_bytes=RATE_BYTES)
        self.cluster = stage.cluster(self.nginx.url, peers=2)
        self._way = Path(stage.folder / "evil")
        self.be("")
        self.real = list(self.cluster.peers)
        env = {"EVIL": str(self._way)}
        self.evil = self.cluster.start_peer("evil", module="tests.cluster.evil_peer", env=env)
        self.cluster.wait_agreed()

    def be(self, way: str) -> None:
        self._way.write_text(way)

    def put(self, name: str, size: int = SIZE) -> tuple[str, str]:
        """Path and sha256 of a new file, owned by a peer that is real."""
        path = self.cluster.key_owned_by(self.real[0], f"/{name}-{{}}.bin")
        return path, big_file(self.nginx.root / path[1:], size, seed=name)

    def download(self, path: str) -> tuple[list[Got], float]:
        """At both real peers at once; with the seconds until both are done."""
        began = time.monotonic()
        return at_once([peer.url + path for peer in self.real]), time.monotonic() - began

    def wait_quiet(self) -> None:
        """Until no fill is left that a wrong half of a piece came into before: its next readers would be cut off, too."""
        eventually(lambda: all(peer.stats()["fills_count"] == 0 for peer in self.real), "the real peers to have no fill under way")

    def questions_count(self) -> int:
        return sum(peer.stats()["peer_requests_count"] for peer in self.real)


@pytest.fixture
def evil(stage: Stage) -> Iterator[Evil]:
    yield Evil(stage)


@pytest.mark.parametrize(
    "way",
    [
        "silent",
        "head only",
        "failed",
        "refused",
        "changed",
        "refers in a ring",
        "refers to the dead",
        "never has it",
        "wrong as holder",
    ],
)
def test_whoever_can_help_it_gets_all(evil: Evil, way: str) -> None:
    """None of this is wrong bytes that anybody has read: so nobody is cut off."""
    path, digest = evil.put("healthy")
    got, healthy_seconds = evil.download(path)
    assert all(is_right(one, digest) for one in got)
    before = evil.questions_count()
    evil.be(way)
    path, digest = evil.put("evil")
    got, seconds = evil.download(path)
    assert all(is_right(one, digest) for one in got), got
    assert seconds < RATIO_MAX * healthy_seconds
    assert evil.questions_count() - before < QUESTIONS_MAX


@pytest.mark.parametrize("way", ["wrong with a wrong digest", "half and silence", "cut"])
def test_wrong_bytes_of_an_owner_are_right_ones_or_a_cut(evil: Evil, way: str) -> None:
    """They may have been read before the digest came: then their reader is cut off, and the next one gets all."""
    path, digest = evil.put("healthy")
    got, healthy_seconds = evil.download(path)
    evil.be(way)
    path, digest = evil.put("evil")
    got, seconds = evil.download(path)
    assert all(is_right(one, digest) or is_cut(one) for one in got), got
    assert seconds < RATIO_MAX * healthy_seconds
    got, seconds = evil.download(path)
    assert all(is_right(one, digest) or is_cut(one) for one in got), got
    evil.be("")
    evil.wait_quiet()
    got, _ = evil.download(path)
    assert all(is_right(one, digest) for one in got), got
