"""--no-back-to-source: a switch that is always honoured; and the leases of those who may ask."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from minicdn.wire.codec import CONTENT_TYPE, decode, encode
from tests.kit.asking import ask
from tests.kit.cluster import Cluster
from tests.kit.files import MIB, bytes_of
from tests.kit.origin import held, whole
from tests.kit.program import Minicdn, members_of
from tests.kit.stage import Stage
from tests.kit.waiting import eventually

KEPT = ("Cache-Control", "max-age=3600")
PRIVATE = ("Cache-Control", "private")


def with_one_barred(stage: Stage, upstream: str) -> tuple[Cluster, Minicdn]:
    cluster = stage.cluster(upstream, peers=2)
    barred = cluster.start_peer("barred", no_back_to_source=True)
    cluster.wait_agreed()
    return cluster, barred


def askers_of(origin) -> Counter[str]:
    """How often each node asked, by its name in Via."""
    return Counter(asked.fields["via"].split()[1] for asked in origin.asked())


@pytest.mark.parametrize("size", [3000, 6 * MIB], ids=["small", "large"])
@pytest.mark.timeout(120)
def test_it_serves_what_owners_have_and_never_asks_even_when_they_are_gone(stage: Stage, size: int) -> None:
    origin = stage.origin()
    cluster, barred = with_one_barred(stage, origin.url)
    for node in [cluster.manager, *cluster.peers]:
        weights = {member["url"]: (member["weight"] > 0, member["share"] > 0) for member in members_of(node)}
        assert [weights[peer.url] for peer in cluster.peers] == [(True, True), (True, True), (False, False)]
    bodies = {f"/{number}.bin": bytes_of(str(number), size) for number in range(8)}
    for path, body in bodies.items():
        origin.on(path, whole(body, [KEPT, ("ETag", f'"{path}"')]))
    kept, other = list(bodies)[:4], list(bodies)[4:]
    assert all(barred.ask(path).body == bodies[path] for path in kept)
    for peer in cluster.peers[:2]:
        peer.kill()
    for path in other:
        answer = barred.ask(path)
        assert (answer.status, "--no-back-to-source" in answer.body.decode()) == (502, True)
    answer = ask(barred.url, "/x", method="POST", body=b"posted")
    assert (answer.status, "--no-back-to-source" in answer.body.decode()) == (502, True)
    assert all(barred.ask(path).body == bodies[path] for path in kept), "copies are its own"
    assert barred.stats()["upstream_requests_count"] == 0
    assert f"minicdn-{barred.json('/_health')['id']}" not in askers_of(origin)


def test_what_is_for_one_client_each_comes_through_the_owner_always(stage: Stage) -> None:
    origin = stage.origin()
    gate = origin.gate()
    private = origin.on("/private", held(gate, whole(b"mine", [PRIVATE])))
    _, barred = with_one_barred(stage, origin.url)
    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(barred.ask, private) for _ in range(3)]
        eventually(lambda: barred.stats()["joins_count"] == 2, "two to wait for the first")
        gate.open()
        assert [answer.result().body for answer in answers] == [b"mine"] * 3
    assert barred.ask(private).body == b"mine"
    assert barred.stats()["upstream_requests_count"] == 0


def test_where_nobody_may_ask_everybody_says_so(stage: Stage) -> None:
    origin = stage.origin()
    path = origin.on("/a", whole(b"a", [KEPT]))
    cluster = stage.cluster(origin.url, peers=0)
    peer = cluster.start_peer("barred", no_back_to_source=True)
    cluster.wait_agreed()
    answer = peer.ask(path)
    assert (answer.status, "no peer in the list" in answer.body.decode()) == (502, True)
    assert origin.asked() == []
    cluster.start_peer("free")
    cluster.wait_agreed()
    assert peer.ask(path).body == b"a"


def test_leases_of_a_real_manager_end_by_themselves(stage: Stage) -> None:
    cluster = stage.cluster(stage.origin().url, peers=3, upstream_leases=2, lease_ttl="1s")
    manager = cluster.manager
    anna, bob, carl = (member["id"] for member in members_of(manager))

    def is_granted(holder: str) -> bool:
        body = encode({"id": holder, "key": "/a"})
        answer = manager.ask("/_rpc/lease", method="POST", fields=[("Content-Type", CONTENT_TYPE)], body=body)
        assert answer.status == 200
        return decode(answer.body)["is_granted"]

    assert [is_granted(holder) for holder in (anna, bob, carl)] == [True, True, False]
    eventually(lambda: is_granted(carl), "a lease to end")
    assert manager.stats()["leases_granted_count"] == 3
    assert manager.stats()["leases_refused_count"] >= 1
