"""kill -9 on an owner, on the manager, on a peer: what clients elsewhere see is right files."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.cluster.doors import KEPT
from tests.kit.asking import ask
from tests.kit.clients import CurlDownload, download_all, need
from tests.kit.cluster import Cluster
from tests.kit.files import MIB, big_file, bytes_of
from tests.kit.origin import held, whole
from tests.kit.stage import Stage
from tests.kit.waiting import always, eventually

WINDOW_SECONDS = 15.0
"""After so long a silence a peer is out."""
BRIEF = {"renew": "1s", "window": "5s"}
"""A third of that, where it is not about the time that nobody has asked for."""


def redirected_to(cluster: Cluster, times: int = 30) -> set[str]:
    """The peers that the manager names in so many redirects."""
    found = set()
    for _ in range(times):
        answer = ask(cluster.url, "/x")
        assert answer.status == 302
        found.add(answer["Location"].removesuffix("/x"))
    return found


@pytest.mark.parametrize("extra", ["", "max_ranges 0;"], ids=["with-ranges", "without-ranges"])
@pytest.mark.timeout(240)
def test_owner_killed_in_the_middle(stage: Stage, extra: str) -> None:
    need("curl")
    nginx = stage.nginx(rate_bytes=4 * MIB, extra=extra)
    size = 24 * MIB
    digest = big_file(nginx.root / "big.bin", size)
    cluster = stage.cluster(nginx.url, peers=3, memory="64MiB")
    owner, *others = cluster.owners_of("/big.bin")
    started = [CurlDownload(peer.url + "/big.bin") for peer in others for _ in range(2)]
    for one in started:
        one.read_until(5 * MIB)
    owner.kill()
    with ThreadPoolExecutor(len(started)) as pool:
        got = list(pool.map(CurlDownload.finish, started))
    assert {(one.code, one.size_bytes, one.sha256) for one in got} == {(0, size, digest)}
    after = download_all([peer.url + "/big.bin" for peer in others])
    assert {one.sha256 for one in after} == {digest}


def test_keys_of_a_dead_owner_within_the_window(stage: Stage) -> None:
    nginx = stage.nginx()
    for number in range(60):
        nginx.put(f"{number}.bin", bytes_of(str(number), 3000 if number % 2 else 5 * MIB))
    cluster = stage.cluster(nginx.url, peers=3)
    dead, *alive = cluster.peers
    owned = [f"/{number}.bin" for number in range(60) if cluster.owner_of(f"/{number}.bin") is dead]
    assert len(owned) > 5
    dead.kill()
    for number, path in enumerate(owned):
        answer = alive[number % 2].ask(path)
        assert (answer.status, answer.is_whole) == (200, True)
        assert answer.body == (nginx.root / path[1:]).read_bytes()
    assert dead.url in {member["url"] for member in cluster.manager.json("/_peers")["peers"]}, "all this was within the window"


@pytest.mark.timeout(180)
def test_an_owner_that_dies_before_its_answer(stage: Stage) -> None:
    origin, body = stage.origin(), bytes_of("waited", 3000)
    gate = origin.gate()
    path = origin.on("/silent", held(gate, whole(body, [KEPT])))
    cluster = stage.cluster(origin.url, peers=3)
    owner, *others = cluster.owners_of(path)
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(ask, others[n % 2].url, path) for n in range(8)]
        origin.wait_asked(path)
        owner.kill()
        gate.open()
        assert all(one.result().body == body for one in answers)


def test_a_dead_peer_leaves_the_redirects_within_the_window(stage: Stage) -> None:
    nginx = stage.nginx()
    cluster = stage.cluster(nginx.url, peers=3)
    dead, *alive = cluster.peers
    assert redirected_to(cluster) == {peer.url for peer in cluster.peers}
    dead.kill()
    cluster.wait_agreed(alive, deadline_seconds=WINDOW_SECONDS + 6)
    assert redirected_to(cluster) == {peer.url for peer in alive}


def test_a_frozen_peer_leaves_and_comes_back(stage: Stage) -> None:
    nginx = stage.nginx()
    cluster = stage.cluster(nginx.url, peers=2, **BRIEF)
    frozen, alive = cluster.peers
    frozen.signal(signal.SIGSTOP)
    cluster.wait_listed([alive], deadline_seconds=WINDOW_SECONDS / 3 + 6)
    frozen.signal(signal.SIGCONT)
    cluster.wait_agreed(deadline_seconds=30)


def test_a_frozen_owner_holds_nobody_for_longer_than_its_membership(stage: Stage) -> None:
    """A laptop that goes to sleep accepts connections and says nothing. Once it is out of the list, nobody waits for it."""
    nginx = stage.nginx()
    cluster = stage.cluster(nginx.url, peers=2, renew="1s", window="3s")
    frozen, alive = cluster.peers
    path = cluster.key_owned_by(frozen)
    nginx.put(path, b"from upstream, then")
    frozen.signal(signal.SIGSTOP)
    answer = alive.ask(path, deadline_seconds=15)
    assert (answer.status, answer.body) == (200, b"from upstream, then")


@pytest.mark.timeout(120)
def test_a_frozen_owner_costs_some_seconds_once_and_the_others_nothing(stage: Stage) -> None:
    """Long before it leaves the list; and it is asked again when it is back."""
    origin = stage.origin()
    cluster = stage.cluster(origin.url, peers=2, window="60s")
    frozen, alive = cluster.peers
    paths = [cluster.key_owned_by(frozen, f"/{number}-{{}}") for number in range(22)]
    for path in paths:
        origin.on(path, whole(path.encode()))
    frozen.signal(signal.SIGSTOP)
    began_at = time.monotonic()
    assert alive.ask(paths[0], deadline_seconds=20).body == paths[0].encode()
    first_seconds, began_at = time.monotonic() - began_at, time.monotonic()
    assert all(alive.ask(path, deadline_seconds=20).body == path.encode() for path in paths[1:21])
    others_seconds = time.monotonic() - began_at
    assert others_seconds < 3 < 20 > first_seconds, (first_seconds, others_seconds)
    assert frozen.url in {member["url"] for member in cluster.manager.json("/_peers")["peers"]}
    assert alive.stats()["peers_spared_count"] >= 20
    frozen.signal(signal.SIGCONT)

    def is_asked() -> bool:
        received = alive.stats()["peer_received_bytes"]
        assert alive.ask(f"{paths[21]}?{time.monotonic()}").status in (200, 404)
        return alive.stats()["peer_received_bytes"] > received

    eventually(is_asked, "the owner to be asked again")
    assert alive.output.count("can't be talked to") <= 1, alive.show()


@pytest.mark.timeout(180)
def test_the_manager_dies_and_comes_back(stage: Stage) -> None:
    need("curl")
    nginx = stage.nginx(rate_bytes=4 * MIB)
    size = 24 * MIB
    digest = big_file(nginx.root / "big.bin", size)
    for number in range(60):
        nginx.put(f"{number}.bin", bytes_of(str(number), 20_000))
    cluster = stage.cluster(nginx.url, peers=3)
    running = [CurlDownload(peer.url + "/big.bin") for peer in cluster.peers]
    for one in running:
        one.read_until(4 * MIB)
    cluster.manager.kill()

    def fetch(number: int) -> bool:
        """Each a miss, at another peer than the one before."""
        answer = cluster.peers[number % 3].ask(f"/{number}.bin")
        return (answer.status, answer.body) == (200, bytes_of(str(number), 20_000))

    assert all(map(fetch, range(30)))
    assert all(peer.is_ready() for peer in cluster.peers), "a peer without its manager is still of use"
    cluster.restart_manager()
    cluster.wait_listed(cluster.peers, deadline_seconds=10)
    assert all(map(fetch, range(30, 60)))
    got = [one.finish() for one in running]
    assert {(one.code, one.sha256) for one in got} == {(0, digest)}
    cluster.wait_agreed()
    assert redirected_to(cluster) == {peer.url for peer in cluster.peers}


@pytest.mark.timeout(120)
def test_a_long_absence_of_the_manager(stage: Stage) -> None:
    """Longer than the window: the peers still know one another, so a large file still comes from upstream once."""
    nginx = stage.nginx()
    path = nginx.put("late.bin", bytes_of("late", 6 * MIB))
    cluster = stage.cluster(nginx.url, peers=2, **BRIEF)
    epochs = [peer.json("/_peers")["epoch"] for peer in cluster.peers]
    cluster.manager.kill()

    def do_all_keep_their_list() -> bool:
        return [peer.json("/_peers")["epoch"] for peer in cluster.peers] == epochs and all(peer.is_ready() for peer in cluster.peers)

    always(do_all_keep_their_list, "the peers' list without a manager", for_seconds=WINDOW_SECONDS / 3 + 3)
    for peer in cluster.peers:
        assert peer.ask(path).body == (nginx.root / path[1:]).read_bytes()
    assert nginx.bytes_sent(path) == 6 * MIB
