"""Ten thousand small files through a memory far too small for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kit.clients import need, run_well
from tests.kit.files import MIB, bytes_of
from tests.kit.stage import Stage

COUNT, SIZE = 10_000, 6_000


def fetch_all(base: str, into: Path) -> None:
    """All of them with one curl, through the manager's redirects."""
    into.mkdir()
    (into / "list").write_text("".join(f'url = "{base}/{n // 100}/{n}.bin"\noutput = "{into}/{n}.bin"\n' for n in range(COUNT)))
    run_well("curl", "-sS", "-L", "--fail", "-Z", "--parallel-max", "8", "-K", into / "list", deadline_seconds=250)


@pytest.mark.timeout(300)
def test_ten_thousand_small_files(stage: Stage) -> None:
    need("curl")
    nginx = stage.nginx()
    for number in range(COUNT):
        nginx.put(f"{number // 100}/{number}.bin", bytes_of(str(number), SIZE))
    cluster = stage.cluster(nginx.url, peers=3, memory="16MiB")
    fetch_all(cluster.url, stage.folder / "got")
    wrong = [n for n in range(COUNT) if (stage.folder / "got" / f"{n}.bin").read_bytes() != bytes_of(str(n), SIZE)]
    assert not wrong
    cluster.assert_memory_kept(16 * MIB)
    for node in cluster.processes:
        assert node.memory_in_use() <= 16 * MIB, node.name
    assert sum(peer.memory_in_use() for peer in cluster.peers) > 16 * MIB, "the peers keep what they can"
    assert len(nginx.settled_log()) == COUNT, "each file came from upstream once"
