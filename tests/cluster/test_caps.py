"""Caps on real nodes: over some seconds, what passes is what was allowed, within 5 %."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.kit.asking import ask, open_answer
from tests.kit.files import MIB, bytes_of
from tests.kit.program import Minicdn
from tests.kit.stage import Stage
from tests.kit.waiting import eventually

RATE = 1_000_000
SECONDS = 6
BURST = RATE // 4
SIZE = RATE * SECONDS + BURST


def seconds_to_read(url: str, path: str, size: int = SIZE) -> float:
    """From the request to the last byte."""
    begun = time.monotonic()
    with open_answer(url, path) as answer:
        assert answer.status == 200
        count = 0
        while block := answer.read(64 * 1024):
            count += len(block)
        assert count == size
        return time.monotonic() - begun


def assert_kept(rate: float, size: int, seconds: float, *, less: float = 0.05) -> None:
    """No more than the cap in that time, and not much less."""
    assert size <= (rate * seconds + rate / 4) * 1.05
    assert rate * seconds <= size * (1 + less)


def own_address() -> str:
    """One that is not loopback, at which this machine reaches itself."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing (RFC 5737: an address that is nobody's)
            address = probe.getsockname()[0]
        except OSError:
            address = "127.0.0.1"
    if address.startswith("127."):
        pytest.skip("this machine has no address besides loopback")
    return address


@pytest.mark.parametrize("small", ["64KiB", "64MiB"], ids=["from-disk", "from-memory"])
def test_up_is_kept_for_clients_elsewhere_and_not_for_ones_own(stage: Stage, small: str) -> None:
    address, nginx = own_address(), stage.nginx()
    path = nginx.put("up.bin", bytes_of("up", SIZE))
    node = stage.manager(nginx.url, up="1MB/s", host="0.0.0.0", small=small)
    assert seconds_to_read(node.url, path) < SECONDS / 2, "a client on this machine"
    elsewhere = node.url.replace("127.0.0.1", address)
    with ThreadPoolExecutor(1) as pool:
        taking = pool.submit(seconds_to_read, elsewhere, path)
        eventually(lambda: node.stats()["up_bytes_per_second"] > RATE / 2, "the rate to show", deadline_seconds=20)
        assert_kept(RATE, SIZE, taking.result())
    assert node.stats()["up_cap_bytes_per_second"] == RATE


def test_small_hits_are_held_back_too(stage: Stage) -> None:
    """They would take the express lane."""
    address, nginx = own_address(), stage.nginx()
    path = nginx.put("small.bin", bytes_of("small", 50_000))
    node = stage.manager(nginx.url, up="1MB/s", host="0.0.0.0")
    elsewhere = node.url.replace("127.0.0.1", address)
    for _ in range(3):
        ask(node.url, path)
    begun, taken = time.monotonic(), 0
    while time.monotonic() < begun + 3:
        taken += len(ask(elsewhere, path).body)
    assert_kept(RATE, taken, time.monotonic() - begun)


def test_up_is_kept_for_peers(stage: Stage) -> None:
    nginx = stage.nginx()
    cluster = stage.cluster(nginx.url, peers=2, up="1MB/s", small="64MiB")
    owner, other = cluster.peers
    path = cluster.key_owned_by(owner)
    nginx.put(path, bytes_of("peers", SIZE))
    assert ask(owner.url, path).status == 200
    assert_kept(RATE, SIZE, seconds_to_read(other.url, path))


def test_down_is_kept_from_the_upstream_and_from_peers(stage: Stage) -> None:
    nginx = stage.nginx()
    cluster = stage.cluster(nginx.url, peers=1, small="64MiB")
    open_peer = cluster.peers[0]
    capped = cluster.start_peer("capped", down="1MB/s")
    cluster.wait_agreed()
    for owner in (open_peer, capped):
        path = cluster.key_owned_by(owner)
        nginx.put(path, bytes_of(owner.name, SIZE))
        assert_kept(RATE, SIZE, seconds_to_read(capped.url, path))


def received(node: Minicdn, path: str) -> tuple[int, float]:
    """Bytes that the node lets a client have of a cold file, and in how many seconds."""
    begun, count = time.monotonic(), 0
    with open_answer(node.url, path) as answer:
        while time.monotonic() < begun + SECONDS:
            count += len(answer.read(16 * 1024))
        return count, time.monotonic() - begun


def test_the_upstreams_cap_is_shared_by_two_peers_and_by_one_when_the_other_leaves(stage: Stage) -> None:
    nginx = stage.nginx()
    cluster = stage.cluster(nginx.url, peers=2, upstream_rate="2MB/s", small="64MiB")
    paths = [nginx.put(cluster.key_owned_by(peer), bytes_of(peer.name, 40 * MIB)) for peer in cluster.peers]
    with ThreadPoolExecutor(2) as pool:
        for count, seconds in pool.map(received, cluster.peers, paths):
            assert_kept(RATE, count, seconds)
    first, second = cluster.peers
    second.interrupt()
    cluster.wait_listed([first])
    eventually(lambda: first.stats()["upstream_cap_bytes_per_second"] == 2 * RATE, "the other's share to be taken over")
    path = nginx.put("/alone.bin", bytes_of("alone", 2 * SIZE - BURST))
    assert_kept(2 * RATE, 2 * SIZE - BURST, seconds_to_read(first.url, path, 2 * SIZE - BURST), less=0.1)


def test_a_manager_alone_has_the_upstreams_cap_whole(stage: Stage) -> None:
    nginx = stage.nginx()
    node = stage.manager(nginx.url, upstream_rate="1MB/s")
    for name in ("alone", "alone again", "alone at last"):  # what a machine stalls for, beyond what is saved up, is lost to any node
        path = nginx.put(f"{name.replace(' ', '-')}.bin", bytes_of(name, SIZE))
        seconds = seconds_to_read(node.url, path)
        if RATE * seconds <= SIZE * 1.05:
            break
    assert_kept(RATE, SIZE, seconds)


def test_a_wait_of_our_own_is_nobodys_silence(stage: Stage) -> None:
    """All deadlines are shorter than the transfer, whose bytes come slowly."""
    nginx = stage.nginx()
    waits = {"client_stall": "1s", "upstream_timeout": "1s", "peer_timeout": "1500ms"}
    cluster = stage.cluster(nginx.url, peers=2, up="100kB/s", down="100kB/s", small="64MiB", **waits)
    owner, other = cluster.peers
    path = cluster.key_owned_by(owner)
    body = bytes_of("slow", 600_000)
    nginx.put(path, body)
    answer = ask(other.url, path)
    assert answer.is_whole
    assert answer.body == body


def test_a_swarm_keeps_the_caps_as_well(stage: Stage) -> None:
    """Three peers take one large file at once: the upstream sends it once, at its cap, and no peer sends more than its own."""
    nginx = stage.nginx()
    cluster = stage.cluster(nginx.url, peers=3, upstream_rate="3MB/s", up="4MB/s")
    size = 3 * RATE * SECONDS
    path = nginx.put("/swarm.bin", bytes_of("swarm", size))
    begun = time.monotonic()
    with ThreadPoolExecutor(3) as pool:
        for seconds in pool.map(lambda peer: seconds_to_read(peer.url, path, size), cluster.peers):
            assert seconds < SECONDS * 1.5
    passed_seconds = time.monotonic() - begun
    received = sum(peer.stats()["upstream_received_bytes"] for peer in cluster.peers)
    assert size <= received <= size * 1.08, "once, but for what an owner had begun to stream before it dealt"
    assert received <= 3 * (RATE * passed_seconds + BURST) * 1.05
    for peer in cluster.peers:
        assert peer.stats()["peer_sent_bytes"] <= 4 * (RATE * passed_seconds + BURST) * 1.05


def test_a_swarm_is_held_back_by_up_and_by_down(stage: Stage) -> None:
    nginx = stage.nginx()
    cluster = stage.cluster(nginx.url, peers=2, up="1MB/s")
    capped = cluster.start_peer("capped", down="2MB/s")
    cluster.wait_agreed()
    size = 2 * RATE * SECONDS
    path = nginx.put("/swarm.bin", bytes_of("swarm", size))
    seconds = seconds_to_read(capped.url, path, size)
    assert_kept(2 * RATE, size, seconds, less=0.1)
    sent = [peer.stats()["peer_sent_bytes"] for peer in cluster.peers]
    assert max(sent) <= (RATE * seconds + BURST) * 1.05
