"""The faults, one function each: what is broken, how it is mended, and what must be so."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.loris import Loris
from tests.chaos.partition import partition
from tests.chaos.scene import Report, Scene
from tests.kit.asking import ask
from tests.kit.files import bytes_of
from tests.kit.stage import Stage
from tests.kit.waiting import eventually

SMALL_DISK = "24m"
SLOW_COUNT = 1000


def upstream_down(stage: Stage, seconds: float) -> Report:
    scene = Scene(stage, "the upstream is down; what is asked was asked before", seconds=seconds)
    cluster = scene.open(peers=2)
    scene.warm(cluster.peers)
    unknown: list[tuple[int, float]] = []

    def begin() -> None:
        scene.nginx.stop()
        for number in range(5):
            began_at = time.monotonic()
            unknown.append((ask(cluster.peers[number % 2].url, f"/never-asked-{number}").status, time.monotonic() - began_at))

    scene.run(begin, scene.nginx.start, grows=False)
    scene.figures()
    scene.expect_no_errors()
    stale = sum(peer.stats()["stale_count"] for peer in cluster.peers)
    slowest = max(seconds for _, seconds in unknown)
    scene.report.notes.append(f"{stale} answers were stale; five unknown files: {unknown[0][0]} within {slowest:.2f} s")
    scene.report.check(stale > 0 and {status for status, _ in unknown} == {502}, f"stale {stale}, unknown {unknown}")
    path = scene.nginx.put("new.bin", b"new")
    began_at = time.monotonic()
    scene.report.check(eventually(lambda: cluster.peers[0].ask(path).body == b"new", "recovery"), "no recovery")
    scene.report.notes.append(f"a new file {time.monotonic() - began_at:.2f} s after the phase 'after'")
    return scene.report


def manager_down(stage: Stage, seconds: float) -> Report:
    scene = Scene(stage, "the manager is down; clients ask the peers", seconds=seconds, clients=2)
    cluster = scene.open()
    scene.run(cluster.manager.kill, cluster.restart_manager)
    scene.figures()
    scene.expect_no_errors()
    began_at = time.monotonic()
    cluster.wait_agreed()
    scene.report.notes.append(f"the list is whole {time.monotonic() - began_at:.1f} s after the phase 'after' at the latest")
    return scene.report


def peer_suspended(stage: Stage, seconds: float) -> Report:
    scene = Scene(stage, "one of three peers, owner of a third of the files, is suspended", seconds=seconds, clients=4)
    cluster = scene.open()
    frozen, *others = cluster.peers
    scene.urls = [peer.url for peer in others]
    scene.run(lambda: frozen.signal(signal.SIGSTOP), lambda: frozen.signal(signal.SIGCONT))
    scene.figures()
    scene.expect_no_errors()
    slow = [one for one in scene.report.phases["during"][1].seen if one.seconds > 1.0]
    spared = sum(peer.stats()["peers_spared_count"] for peer in others)
    noticed = f"all within the first {_last(slow, scene):.0f} s; {spared} questions went elsewhere at once"
    scene.report.notes.append(f"{len(slow)} requests took more than a second, {noticed}")
    cluster.wait_agreed()
    return scene.report


def _last(slow: list, scene: Scene) -> float:
    began_at = min(one.began_at for one in scene.report.phases["during"][1].seen)
    return max((one.ended_at - began_at for one in slow), default=0.0)


def no_descriptors(stage: Stage, seconds: float) -> Report:
    scene = Scene(stage, "one of two peers has no descriptors left", seconds=seconds, clients=24)
    cluster = scene.open(peers=2)
    poor, rich = cluster.peers

    def begin() -> None:
        resource.prlimit(poor.pid, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{poor.pid}/fd")) + 1, 20_000))

    def end() -> None:
        resource.prlimit(poor.pid, resource.RLIMIT_NOFILE, (20_000, 20_000))

    scene.run(begin, end)
    scene.figures()
    at_rich, at_poor = scene.figures_at("during", [rich.url]), scene.figures_at("during", [poor.url])
    scene.report.notes += [f"during, at the poor one: {at_poor.line()}", f"during, at the other: {at_rich.line()}"]
    scene.report.check(not at_rich.errors_count, f"at the other: {dict(at_rich.errors)}")
    scene.report.check(not any("wrong" in wrong for wrong in at_poor.errors), f"{dict(at_poor.errors)}")
    scene.report.check(not scene.report.phases["after"][1].errors_count, f"after: {dict(scene.report.phases['after'][1].errors)}")
    scene.expect_alive()
    return scene.report


def disk_full(stage: Stage, seconds: float) -> Report:
    scene = Scene(stage, f"the disks are full (tmpfs of {SMALL_DISK}; --disk says 1GiB)", seconds=seconds)
    folders = [small_disk(stage, f"disk-{number}", "1g") for number in range(2)]
    cluster = scene.open(peers=0, disk="1GiB")
    for number, folder in enumerate(folders):
        cluster.start_peer(f"peer{number}", cache_dir=folder / "cache")
    cluster.wait_agreed()
    scene.urls = [peer.url for peer in cluster.peers]

    made_room: list[int] = []

    def count() -> None:
        """Of a full disk writes are refused, or what is kept leaves before one is."""
        made_room.append(_sum_of(scene, "disk_errors_count") + _sum_of(scene, "evictions_count"))

    def fill() -> None:
        for folder in folders:
            with (folder / "others").open("wb", buffering=0) as file:
                try:
                    while True:
                        file.write(bytes(1 << 20))
                except OSError:
                    pass
        count()

    def free() -> None:
        count()
        for folder in folders:
            (folder / "others").unlink()

    scene.run(fill, free)
    scene.figures()
    scene.expect_no_errors()
    scene.report.check(made_room[1] > made_room[0], "while the disk was full it refused nothing, and nothing left for what came")
    _after_a_disk(scene)
    return scene.report


def read_only(stage: Stage, seconds: float) -> Report:
    scene = Scene(stage, "the cache folders can't be written any more", seconds=seconds)
    cluster = scene.open(peers=0, disk="1GiB")
    for number in range(2):
        cluster.start_peer(f"peer{number}", module="tests.chaos.humble")
    cluster.wait_agreed()
    scene.urls = [peer.url for peer in cluster.peers]

    def chmod(mode: int) -> None:
        for peer in cluster.peers:
            for folder, _, _ in os.walk(peer.cache_dir):
                Path(folder).chmod(mode)

    try:
        scene.run(lambda: chmod(0o555), lambda: chmod(0o755))
    finally:
        chmod(0o755)
    scene.figures()
    scene.expect_no_errors()
    scene.report.check(_sum_of(scene, "disk_errors_count") > 0, "the disk refused nothing")
    _after_a_disk(scene)
    return scene.report


def _sum_of(scene: Scene, name: str) -> int:
    return sum(peer.stats()[name] for peer in scene.cluster.peers)


def _after_a_disk(scene: Scene) -> None:
    errors = _sum_of(scene, "disk_errors_count")
    scene.report.notes.append(f"{errors} writes were refused by the disk")
    content, began_at = bytes_of("kept", 3 << 20), time.monotonic()

    def is_kept() -> bool:
        path = scene.nginx.put(f"kept-{time.monotonic()}.bin", content)
        assert all(peer.ask(path).body == content for peer in scene.cluster.peers * 2)
        return scene.nginx.bytes_sent(path) == len(content)

    eventually(is_kept, "something to be kept again", deadline_seconds=15, show=scene.cluster.show)
    scene.report.notes.append(f"something is kept again {time.monotonic() - began_at:.1f} s after the phase 'after'")


def small_disk(stage: Stage, name: str, size: str = SMALL_DISK) -> Path:
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    folder = stage.folder / name
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}", "tmpfs", folder], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no small file system here: {mounted.stderr.decode()}")
    stage.callback(subprocess.run, ["umount", "-l", str(folder)])
    return folder


def clock_back(stage: Stage, seconds: float) -> Report:
    scene = Scene(stage, "a peer's clock jumps back by an hour, and then forward again", seconds=seconds)
    cluster = scene.open(peers=1)
    shift = stage.folder / "shift"
    cluster.start_peer("jumping", module="tests.chaos.shifted", env={"SHIFT_FILE": str(shift)})
    cluster.wait_agreed()
    scene.urls = [peer.url for peer in cluster.peers]
    scene.run(lambda: shift.write_text("-3600"), lambda: shift.write_text("0"))
    scene.figures()
    scene.expect_no_errors()
    ages = [int(ask(url, f"{target}?v=0").get("Age") or 0) for url in scene.urls for target, _ in scene.files.all()]
    scene.report.notes.append(f"the largest Age afterwards: {max(ages)} s")
    scene.report.check(max(ages) < 3 * seconds + 60, f"an Age of {max(ages)} s")
    return scene.report


def slow_clients(stage: Stage, seconds: float, count: int = SLOW_COUNT) -> Report:
    scene = Scene(stage, f"{count} connections that send a byte a second each", seconds=seconds)
    cluster = scene.open(peers=1)
    loris = Loris(cluster.peers[0].port, count)
    counts: list[int] = []

    def end() -> None:
        counts.append(cluster.peers[0].stats()["connections_count"])
        loris.__exit__()

    scene.run(loris.__enter__, end)
    scene.figures()
    scene.expect_no_errors()
    scene.report.notes.append(f"{counts[0]} connections at the end of 'during'; {loris.again_count} had been ended by the node")
    scene.report.check(counts[0] >= count, f"only {counts[0]} connections")
    return scene.report


def peers_apart(stage: Stage, seconds: float) -> Report:
    return partition(stage, seconds)


SCENES: dict[str, tuple[Callable[[Stage, float], Report], float]] = {
    "upstream-down": (upstream_down, 60.0),
    "manager-down": (manager_down, 300.0),
    "peer-suspended": (peer_suspended, 60.0),
    "no-descriptors": (no_descriptors, 20.0),
    "disk-full": (disk_full, 20.0),
    "read-only": (read_only, 20.0),
    "clock-back": (clock_back, 20.0),
    "peers-apart": (peers_apart, 60.0),
    "slow-clients": (slow_clients, 60.0),
}
"""By name: the function, and how long the fault lasts where nobody says."""
