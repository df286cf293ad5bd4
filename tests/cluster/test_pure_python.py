"""A cluster without httptools and uvloop, as on a machine that has no wheels of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kit.files import MIB, big_file, bytes_of, sha256
from tests.kit.program import Minicdn, members_of, start_manager
from tests.kit.stage import Stage
from tests.kit.waiting import eventually

PURE = "tests.kit.pure"


@pytest.fixture
def nodes(stage: Stage) -> Iterator[tuple[object, list[Minicdn]]]:
    nginx = stage.nginx()
    manager = start_manager(stage.folder / "manager", nginx.url, module=PURE)
    stage.callback(manager.kill)
    peers = [stage.start("peer", name=f"peer{number}", manager=manager.url, module=PURE) for number in range(2)]
    eventually(lambda: all(len(members_of(node)) == 2 for node in (manager, *peers)), "two peers to be listed", show=stage.show)
    yield nginx, [manager, *peers]


def test_small_and_large_files_ranges_and_a_warm_close(nodes: tuple[object, list[Minicdn]]) -> None:
    nginx, (manager, *peers) = nodes
    digest = big_file(nginx.root / "large.bin", 24 * MIB, seed="pure")
    small = bytes_of("pure", 50_000)
    nginx.put("small.bin", small)
    for peer in peers:
        assert peer.ask("/small.bin").body == small
        assert sha256(peer.ask("/large.bin", deadline_seconds=60).body) == digest
        part = peer.ask("/large.bin", fields=[("Range", "bytes=1000000-1000099")])
        assert (part.status, len(part.body)) == (206, 100)
    assert manager.ask("/small.bin").status == 302
    assert nginx.bytes_sent("/small.bin") == len(small)
    assert nginx.bytes_sent("/large.bin") <= 1.05 * 24 * MIB
    peers[0].interrupt()
    assert peers[0].wait(deadline_seconds=20) == 0
