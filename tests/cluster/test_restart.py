"""What is on disk is still there after a restart, a crash included; what was half-written is not."""

from __future__ import annotations

import pytest

from tests.cluster.doors import KEPT
from tests.kit.asking import ask, open_answer
from tests.kit.files import MIB, bytes_of, folder_bytes
from tests.kit.origin import gated, whole
from tests.kit.stage import Stage
from tests.kit.waiting import eventually


@pytest.mark.parametrize("how", ["closed", "killed"])
def test_large_files_survive_a_restart(stage: Stage, how: str) -> None:
    nginx = stage.nginx()
    bodies = {nginx.put(f"{n}.bin", bytes_of(str(n), 5 * MIB + n)): bytes_of(str(n), 5 * MIB + n) for n in range(3)}
    manager = stage.manager(nginx.url)
    for path, body in bodies.items():
        assert manager.ask(path).body == body
    # The client has its last byte a moment before the disk has it for good.
    eventually(lambda: len(list(manager.cache_dir.rglob("*.meta"))) == 3, "three files kept")
    if how == "killed":
        manager.kill()
    else:
        manager.interrupt()
        assert manager.wait() == 0
    again = stage.manager(nginx.url, cache_dir=manager.cache_dir)
    for path, body in bodies.items():
        answer = again.ask(path)
        assert answer.body == body
        assert answer["Content-Length"] == str(len(body))
        part = again.ask(path, fields=[("Range", "bytes=1000-1999")])
        assert (part.status, part.body) == (206, body[1000:2000])
    rows = [row for row in nginx.settled_log() if row.status != 304]
    assert len(rows) == 3, rows
    assert nginx.bytes_sent() == sum(map(len, bodies.values()))


@pytest.mark.parametrize("asked_at", ["the restarted peer", "the other peer"])
def test_a_peer_keeps_its_files_over_a_crash(stage: Stage, asked_at: str) -> None:
    """Its place among the owners comes back with it: what it holds is still asked of it, and of nobody else."""
    origin = stage.origin()
    cluster = stage.cluster(origin.url, peers=2)
    first, second = cluster.peers
    paths = [path for path in (f"/{n}.bin" for n in range(16)) if cluster.owner_of(path) is first]
    bodies = {path: bytes_of(path, 5 * MIB) for path in paths}
    for path, body in bodies.items():
        origin.on(path, whole(body, [KEPT, ("ETag", '"1"')]))
        assert ask(first.url, path).body == body
    eventually(lambda: len(list(first.cache_dir.rglob("*.meta"))) == len(paths), "its files kept")
    first.kill()
    again = cluster.start_peer("peer0-again", port=first.port, cache_dir=first.cache_dir)
    cluster.peers.remove(first)
    cluster.wait_agreed()
    node = again if asked_at == "the restarted peer" else second
    for path, body in bodies.items():
        assert ask(node.url, path).body == body
    assert [len(origin.asked(path)) for path in paths] == [1] * len(paths)


@pytest.mark.parametrize("size", [3 * MIB, 8 * MIB], ids=["small", "large"])
def test_a_crash_in_the_middle_leaves_nothing_that_looks_whole(stage: Stage, size: int) -> None:
    origin, body = stage.origin(), bytes_of("crash", size)
    path = origin.on("/x.bin", gated([body[: size // 2], body[size // 2 :]], [origin.gate()], [KEPT]))
    manager = stage.manager(origin.url)
    with open_answer(manager.url, path) as answer:
        answer.read(size // 2)
        manager.kill()
    origin.on(path, whole(body, [KEPT]))
    again = stage.manager(origin.url, cache_dir=manager.cache_dir)
    assert again.ask(path).body == body
    assert len(origin.asked(path)) == 2
    eventually(lambda: folder_bytes(manager.cache_dir) <= size + MIB, "the crashed half to be swept away")


def test_a_damaged_cache_folder_costs_no_wrong_byte(stage: Stage) -> None:
    """Truncated, emptied and foreign files in the folder: the node starts, and what it serves is right."""
    nginx = stage.nginx(extra='add_header Cache-Control "max-age=3600";')
    bodies = {nginx.put(f"{n}.bin", bytes_of(str(n), 5 * MIB)): bytes_of(str(n), 5 * MIB) for n in range(3)}
    manager = stage.manager(nginx.url)
    for path, body in bodies.items():
        assert manager.ask(path).body == body
    manager.kill()
    held = sorted((path for path in manager.cache_dir.rglob("*") if path.is_file() and path.stat().st_size >= MIB), key=str)
    assert len(held) == 3
    for path, length in zip(held, (MIB, 0, 5 * MIB - 1), strict=True):
        with path.open("r+b") as file:
            file.truncate(length)
    (held[0].parent / "foreign.txt").write_text("what is this")
    again = stage.manager(nginx.url, cache_dir=manager.cache_dir)
    for path, body in bodies.items():
        answer = again.ask(path)
        assert (answer.status, answer.body) == (200, body)
