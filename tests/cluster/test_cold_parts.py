"""Of a cold file of a gigabyte: its head by a HEAD alone, and a piece of its end without the rest."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.kit.files import MIB, bytes_of
from tests.kit.nginx import Nginx
from tests.kit.origin import held, whole
from tests.kit.program import Minicdn
from tests.kit.stage import Stage
from tests.kit.waiting import eventually

LENGTH = 1_000_000_000
START, END = 900_000_000, 901_000_000
WAYS = ["manager alone", "the only peer", "owner of three", "not the owner of three"]


@pytest.fixture(params=WAYS)
def cold(request: pytest.FixtureRequest, stage: Stage) -> tuple[Minicdn, Nginx, str]:
    """A node, its upstream, and the path of a sparse file with something in it where it is asked for."""
    nginx = stage.nginx(rate_bytes=20 * MIB)
    if request.param == "manager alone":
        node, path = stage.manager(nginx.url), "/big.bin"
    else:
        cluster = stage.cluster(nginx.url, peers=1 if request.param == "the only peer" else 3)
        path = cluster.key_owned_by(cluster.peers[0], "/big-{}.bin")
        node = cluster.peers[-1 if request.param.startswith("not") else 0]
    with (nginx.root / path[1:]).open("wb") as file:
        file.seek(START)
        file.write(bytes_of("middle", END - START))
        file.truncate(LENGTH)
    return node, nginx, path


def test_its_head_costs_one_head(cold: tuple[Minicdn, Nginx, str]) -> None:
    node, nginx, path = cold
    head = node.ask(path, method="HEAD")
    assert (head.status, head["Content-Length"], head["Accept-Ranges"]) == (200, str(LENGTH), "bytes")
    assert head["ETag"] and head["Last-Modified"]
    assert [row.method for row in nginx.settled_log(path)] == ["HEAD"]


def test_a_part_of_its_end_comes_without_the_rest(cold: tuple[Minicdn, Nginx, str]) -> None:
    """The upstream would need most of a minute for all before it."""
    node, nginx, path = cold
    part = node.ask(path, fields=[("Range", f"bytes={START}-{END - 1}")], deadline_seconds=20)
    assert (part.status, part["Content-Range"]) == (206, f"bytes {START}-{END - 1}/{LENGTH}")
    assert part.body == bytes_of("middle", END - START)
    assert nginx.bytes_sent(path) <= 4 * MIB


@pytest.mark.parametrize("is_owner", [True, False], ids=["its owner", "another"])
def test_a_part_of_what_is_being_asked_for_is_not_asked_for_again(stage: Stage, *, is_owner: bool) -> None:
    """Also where nothing of the whole's answer has come yet."""
    origin = stage.origin()
    cluster = stage.cluster(origin.url, peers=2)
    owner, other = cluster.peers
    node = owner if is_owner else other
    gate, body = origin.gate(), bytes_of("part", 50_000)
    path = origin.on(cluster.key_owned_by(owner), held(gate, whole(body, [("Cache-Control", "max-age=60"), ("ETag", '"a"')])))
    with ThreadPoolExecutor(2) as pool:
        asking = pool.submit(owner.ask, path)
        eventually(lambda: len(origin.asked()) == 1, "the upstream to be asked")
        asking_part = pool.submit(node.ask, path, fields=[("Range", "bytes=100-199")])
        eventually(lambda: owner.stats()["joins_count"] == 1, "the part to wait for the whole")
        gate.open()
        assert asking.result().body == body
        assert (asking_part.result().status, asking_part.result().body) == (206, body[100:200])
    assert len(origin.asked()) == 1
