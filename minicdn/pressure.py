"""How much memory this process may still take: what the machine has left, or what its control group allows. Linux tells; where nobody
does, memory is never short."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minicdn.core.shedding import is_short

LOOK_SECONDS = 1.0
_log = logging.getLogger("minicdn.server")

Room = tuple[int, int]
"""Free and total bytes."""


def memory_room(root: Path = Path("/")) -> Room | None:
    """The narrower of machine and group. None: not known."""
    found = [room for room in (_of_machine(root), _of_group(root)) if room is not None]
    return min(found, default=None)


async def watch_memory(shedding: Any, look: Callable[[], Room | None] = memory_room) -> None:
    """Has the doors refuse new work while there is too little."""
    while (room := look()) is not None:
        was_short = shedding.is_short
        shedding.is_short = is_short(*room, was_short=was_short)
        if shedding.is_short and not was_short:
            _log.warning("this machine is short of memory (%d MiB left): what is not stored here is refused", room[0] >> 20)
        elif was_short and not shedding.is_short:
            _log.warning("there is memory again")
        await asyncio.sleep(LOOK_SECONDS)


def _of_machine(root: Path) -> Room | None:
    table = _table(root / "proc/meminfo", ":")
    total, free = table.get("MemTotal"), table.get("MemAvailable")
    return None if total is None or free is None else (free * 1024, total * 1024)


def _of_group(root: Path) -> Room | None:
    """Pages of files that nobody uses are free: the kernel takes them back."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, kinds, path = line.split(":", 2)
        if not kinds:
            room = _in(root / "sys/fs/cgroup", path, "memory.max", "memory.current", "inactive_file")
        elif "memory" in kinds.split(","):
            room = _in(root / "sys/fs/cgroup/memory", path, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        if room is not None:
            return room
    return None


def _in(top: Path, path: str, limit_name: str, used_name: str, reclaimable_name: str) -> Room | None:
    """In a container the group's own folder is the top."""
    for folder in (top / path.strip("/"), top):
        limit, used = _read(folder / limit_name).strip(), _read(folder / used_name).strip()
        if limit.isdigit() and used.isdigit() and int(limit) < 1 << 60:
            reclaimable = _table(folder / "memory.stat", " ").get(reclaimable_name, 0)
            return max(0, int(limit) - int(used) + reclaimable), int(limit)
    return None


def _table(path: Path, mark: str) -> dict[str, int]:
    found = {}
    for line in _read(path).splitlines():
        name, _, rest = line.partition(mark)
        number = rest.split()[:1]
        if number and number[0].isdigit():
            found[name] = int(number[0])
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii", "replace")
    except OSError:
        return ""
