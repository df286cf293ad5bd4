"""A swarm in which somebody dies, freezes, comes or leaves in the middle: right bytes, and seconds at most."""

from __future__ import annotations

import signal
import time

import pytest

from tests.cluster.swarming import KEPT, RATE_BYTES, RATIO_MAX, SIZE, at_once, finished, is_cut, is_right
from tests.kit.clients import CURL_PARTIAL_FILE, CurlDownload, Got, need
from tests.kit.cluster import Cluster
from tests.kit.files import MIB, big_file
from tests.kit.nginx import Nginx
from tests.kit.program import Minicdn
from tests.kit.stage import Stage

pytestmark = pytest.mark.timeout(240)


def big(stage: Stage, peers: int, **options) -> tuple[Nginx, Cluster]:
    """The upstream gives half of what it gives elsewhere: what a node waits for one that is frozen is no part of a download's time."""
    need("curl")
    nginx = stage.nginx(extra=KEPT, rate_bytes=RATE_BYTES // 2)
    return nginx, stage.cluster(nginx.url, peers=peers, **options)


def timed(cluster_peers: list[Minicdn], path: str) -> tuple[list[Got], float]:
    began = time.monotonic()
    return at_once([peer.url + path for peer in cluster_peers]), time.monotonic() - began


def test_two_of_five_killed_at_forty_percent(stage: Stage) -> None:
    nginx, cluster = big(stage, 5)
    digests = [big_file(nginx.root / f"{name}.bin", SIZE, seed=name) for name in ("a", "b")]
    _, healthy_seconds = timed(cluster.peers, "/a.bin")
    *alive, fourth, fifth = cluster.peers
    began = time.monotonic()
    running = [CurlDownload(peer.url + "/b.bin") for peer in alive]
    doomed = [CurlDownload(peer.url + "/b.bin") for peer in (fourth, fifth)]
    running[0].read_until(SIZE * 2 // 5)
    fourth.kill()
    fifth.kill()
    got = finished(running)
    seconds = time.monotonic() - began
    for one in doomed:
        one.kill()
    assert all(is_right(one, digests[1]) for one in got), got
    assert seconds < RATIO_MAX * healthy_seconds


@pytest.mark.parametrize("is_files_owner", [False, True], ids=["an owner of pieces", "the file's owner"])
def test_one_frozen_for_the_whole_download(stage: Stage, is_files_owner: bool) -> None:
    """Frozen when all have the deal: it accepts connections, and says nothing."""
    nginx, cluster = big(stage, 3)
    digests = [big_file(nginx.root / f"{name}.bin", SIZE, seed=name) for name in ("a", "b")]
    _, healthy_seconds = timed(cluster.peers, "/a.bin")
    owner, *others = cluster.owners_of("/b.bin")
    frozen = owner if is_files_owner else others[0]
    alive = [peer for peer in cluster.peers if peer is not frozen]
    began = time.monotonic()
    running = [CurlDownload(peer.url + "/b.bin") for peer in alive]
    for one in running:
        one.read_until(2 * MIB)
    frozen.signal(signal.SIGSTOP)
    got = finished(running)
    seconds = time.monotonic() - began
    assert all(is_right(one, digests[1]) for one in got), got
    assert seconds < RATIO_MAX * healthy_seconds


def test_a_peer_that_comes_and_one_that_leaves_in_the_middle(stage: Stage) -> None:
    nginx, cluster = big(stage, 3)
    digest = big_file(nginx.root / "a.bin", SIZE)
    leaver = cluster.owners_of("/a.bin")[2]
    stay = [peer for peer in cluster.peers if peer is not leaver]
    running = [CurlDownload(peer.url + "/a.bin") for peer in stay]
    running[0].read_until(4 * MIB)
    newcomer = cluster.start_peer("newcomer").wait_ready()
    running.append(CurlDownload(newcomer.url + "/a.bin"))
    running[0].read_until(10 * MIB)
    leaver.interrupt()
    assert all(is_right(one, digest) for one in finished(running))
    assert leaver.wait() == 0


def test_a_peer_restarted_in_the_middle_goes_on_with_what_it_has(stage: Stage) -> None:
    nginx, cluster = big(stage, 3)
    digest = big_file(nginx.root / "a.bin", SIZE)
    restarted, *others = reversed(cluster.owners_of("/a.bin"))
    running = [CurlDownload(peer.url + "/a.bin") for peer in others]
    doomed = CurlDownload(restarted.url + "/a.bin")
    doomed.read_until(SIZE // 3)
    restarted.kill()
    again = cluster.start_peer("again", cache_dir=restarted.cache_dir, port=restarted.port).wait_ready()
    assert doomed.finish().code == CURL_PARTIAL_FILE
    running.append(CurlDownload(again.url + "/a.bin"))
    assert all(is_right(one, digest) for one in finished(running))


def test_one_that_may_not_ask_the_upstream_never_does(stage: Stage) -> None:
    nginx, cluster = big(stage, 2)
    digest = big_file(nginx.root / "a.bin", SIZE)
    barred = cluster.start_peer("barred", no_back_to_source=True)
    cluster.wait_agreed()
    one = CurlDownload(barred.url + "/a.bin")
    one.read_until(SIZE // 4)
    cluster.peers[0].kill()
    assert is_right(one.finish(), digest)
    path = "/b.bin"
    big_file(nginx.root / "b.bin", SIZE, seed="b")
    one = CurlDownload(barred.url + path)
    one.read_until(SIZE // 4)
    cluster.peers[1].kill()
    assert is_cut(one.finish()), "nobody is left who may ask"
    assert barred.stats()["upstream_requests_count"] == 0
