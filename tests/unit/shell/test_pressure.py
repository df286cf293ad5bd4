"""How much memory is left, as Linux tells it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest

from minicdn import pressure
from minicdn.pressure import memory_room, watch_memory

MIB = 1024 * 1024
MEMINFO = "MemTotal:       8192000 kB\nMemFree:    100 kB\nMemAvailable:   4096000 kB\n"


def _write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_the_machine(tmp_path: Path) -> None:
    assert memory_room(_write(tmp_path, {"proc/meminfo": MEMINFO})) == (4096000 * 1024, 8192000 * 1024)


def test_a_system_that_does_not_tell(tmp_path: Path) -> None:
    assert memory_room(tmp_path) is None


GROUPS = {
    "v2": ("0::/box\n", "sys/fs/cgroup/box", "memory.max", "memory.current", "inactive_file"),
    "v2 in a container": ("0::/far/away\n", "sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    "v1": ("4:memory:/box\n0::/\n", "sys/fs/cgroup/memory/box", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


@pytest.mark.parametrize("kind", GROUPS)
def test_the_control_group_is_narrower(tmp_path: Path, kind: str) -> None:
    mine, folder, limit, used, reclaimable = GROUPS[kind]
    files = {"proc/meminfo": MEMINFO, "proc/self/cgroup": mine, f"{folder}/{limit}": "1000000\n", f"{folder}/{used}": "900000\n",
             f"{folder}/memory.stat": f"anon 5\n{reclaimable} 300000\n"}  # fmt: skip
    assert memory_room(_write(tmp_path, files)) == (400_000, 1_000_000)


@pytest.mark.parametrize("limit", ["max\n", str((1 << 63) - 4096)])
def test_a_group_without_a_limit(tmp_path: Path, limit: str) -> None:
    files = {"proc/meminfo": MEMINFO, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": limit, "sys/fs/cgroup/memory.current": "1"}
    assert memory_room(_write(tmp_path, files)) == (4096000 * 1024, 8192000 * 1024)


def test_who_asks_the_doors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pressure, "LOOK_SECONDS", 0.0)
    shedding, seen = SimpleNamespace(is_short=False), []
    rooms = iter([(500 * MIB, 2000 * MIB), (50 * MIB, 2000 * MIB), (120 * MIB, 2000 * MIB), (500 * MIB, 2000 * MIB), None])

    def look() -> tuple[int, int] | None:
        seen.append(shedding.is_short)
        return next(rooms)

    asyncio.run(watch_memory(shedding, look))
    assert seen == [False, False, True, True, False]
