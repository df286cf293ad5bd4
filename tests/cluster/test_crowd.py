"""The day of the crowd: many at once for one cold file, and the upstream is asked for it once."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.cluster.doors import KEPT
from tests.kit.asking import Answer, ask_following, open_answer
from tests.kit.clients import download_all, need
from tests.kit.files import MIB, big_file, bytes_of
from tests.kit.origin import gated, held, whole
from tests.kit.stage import Stage
from tests.kit.waiting import always


@pytest.mark.timeout(300)
def test_thirty_clients_one_cold_200_mb_file(stage: Stage) -> None:
    need("curl")
    nginx = stage.nginx()
    size = 200 * MIB
    digest = big_file(nginx.root / "big.bin", size)
    cluster = stage.cluster(nginx.url, peers=3, memory="64MiB")
    got = download_all([cluster.url + "/big.bin"] * 30)
    assert {(one.code, one.size_bytes, one.sha256) for one in got} == {(0, size, digest)}
    assert nginx.bytes_sent() <= 1.02 * size
    cluster.assert_memory_kept(64 * MIB)


@pytest.mark.timeout(200)
def test_several_large_files_at_once(stage: Stage) -> None:
    need("curl")
    nginx = stage.nginx()
    sizes = [MIB * 5 * (n + 1) + n for n in range(5)]
    digests = [big_file(nginx.root / f"{n}.bin", size, seed=str(n)) for n, size in enumerate(sizes)]
    cluster = stage.cluster(nginx.url, peers=3, memory="32MiB")
    got = download_all([f"{cluster.url}/{n}.bin" for n in range(5)] * 4)
    assert [(one.code, one.size_bytes, one.sha256) for one in got] == [(0, *pair) for pair in zip(sizes, digests, strict=True)] * 4
    assert nginx.bytes_sent() <= 1.01 * sum(sizes), "what is under way of an owner's first answer is lost: little"


@pytest.mark.parametrize("peers", [0, 3])
@pytest.mark.parametrize("size", [2_000, 6 * MIB], ids=["small", "large"])
def test_fifty_at_once_are_one_upstream_request(stage: Stage, peers: int, size: int) -> None:
    origin, body = stage.origin(), bytes_of("fifty", size)
    gate = origin.gate()
    path = origin.on("/slow.bin", held(gate, whole(body, [KEPT])))
    cluster = stage.cluster(origin.url, peers=peers)
    with ThreadPoolExecutor(50) as pool:
        answers: list[Future[Answer]] = [pool.submit(ask_following, cluster.url + path) for _ in range(50)]
        try:
            origin.wait_asked(path)
            always(lambda: len(origin.asked(path)) == 1, "one request at the origin for all fifty", for_seconds=1.5)
        finally:
            gate.open()  # the fifty must not wait in vain when the test has failed
        assert all(one.result().body == body for one in answers)
    assert len(origin.asked(path)) == 1


def test_latecomers_join_a_running_download(stage: Stage) -> None:
    """Half of it is there when the others come, at each of the peers: they get that half at once, and no second load starts."""
    origin, body = stage.origin(), bytes_of("join", 8 * MIB)
    gate = origin.gate()
    half = len(body) // 2
    path = origin.on("/half.bin", gated([body[:half], body[half:]], [gate], [KEPT]))
    cluster = stage.cluster(origin.url, peers=3)
    opened = []
    try:
        for peer in cluster.peers * 3:
            answer = open_answer(peer.url, path)
            opened.append(answer)
            assert answer.read(half) == body[:half]
        gate.open()
        assert all(answer.rest() == body[half:] for answer in opened)
    finally:
        for answer in opened:
            answer.close()
    assert len(origin.asked(path)) == 1
