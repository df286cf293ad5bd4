"""What is left when all is quiet, or when a node has stopped: nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

from minicdn.store.shelf import Shelf
from minicdn.testing.nodes import SimNode
from minicdn.testing.world import World
from tests.kit.files import open_files
from tests.simulation.watching import bytes_below, over_budget


def left_over(node: SimNode, *, may_have_strange_files: bool = False, may_have_leases: bool = False) -> list[str]:
    """Of a node that nobody asks for anything: nothing is under way."""
    inner: Any = node.role.node  # type: ignore[union-attr]
    found = []
    for name, count in (
        ("fills", inner.stats()["fills_count"]),
        ("swarms at work", inner.swarms.working_count),
        ("sends waiting", inner.uplink.waiting_count),
        ("peer connections", inner._peer_door._transport._pool.statistics()["taken_count"]),
        ("upstream connections", inner._upstream_door._transport._pool.statistics()["taken_count"]),
        ("files being filled", len(inner.shelf._disk._filling)),
        ("readers", readers_count(inner.shelf)),
        ("bytes reserved in memory", inner.shelf._memory.filling_bytes),
        ("promises on disk", len(inner.shelf._disk._budget._promises)),
        ("strange files", 0 if may_have_strange_files else len(strange_files(node))),
        ("leases", 0 if may_have_leases else leases_count(node)),
        ("tasks", len(strange_tasks(node))),
        ("over budget", len(over_budget(node))),
        ("bytes in the folder beyond its budget", max(0, bytes_below(node) - node.settings.disk_bytes)),
    ):
        if count:
            found.append(f"{node.name}: {name}: {count}")
            if name == "over budget":
                found += over_budget(node)
            if name == "strange files":
                found += strange_files(node)
            if name == "tasks":
                found += [f"{node.name}: {where(task)}" for task in node.process.tasks if _name(task) not in STANDING]  # type: ignore[union-attr]
    return found


STANDING = {"Role._run_again": 3, "Manager._probe_again": 6, "Answering.run_asgi": 6}
"""Tasks of a quiet node: the role's own, and at the manager the renewals that it holds."""


def strange_tasks(node: SimNode) -> dict[str, int]:
    """Tasks that no quiet node has, by name."""
    assert node.process is not None
    names = Counter(_name(task) for task in node.process.tasks)
    return {name: count for name, count in sorted(names.items()) if count > STANDING.get(name, 0)}


def where(task: asyncio.Task[Any]) -> str:
    """What a task waits in, from the outside in."""
    steps, coro = [], task.get_coro()
    while coro is not None:
        frame = getattr(coro, "cr_frame", None) or getattr(coro, "ag_frame", None) or getattr(coro, "gi_frame", None)
        if frame is not None:
            steps.append(f"{coro.__qualname__}:{frame.f_lineno}")
        coro = getattr(coro, "cr_await", None) or getattr(coro, "ag_await", None) or getattr(coro, "gi_yieldfrom", None)
    return " > ".join(steps)


def _name(task: asyncio.Task[Any]) -> str:
    coro = task.get_coro()
    return getattr(coro, "__qualname__", str(coro))


def readers_count(shelf: Shelf) -> int:
    keys = list(shelf.keys())
    return sum(entry.body.reader_count for key in keys for entry in shelf.find(key))


def strange_files(node: SimNode) -> list[str]:
    """In the cache folder, and nobody's: no body that is kept, and no record of one."""
    disk: Any = node.role.node.shelf._disk  # type: ignore[union-attr]
    kept = {storage.path.stem for storage in disk._budget.storages()}
    files = Path(node.settings.cache_dir or "").glob("objects/*/*")
    return sorted(str(path.name) for path in files if path.stem not in kept or path.suffix not in (".body", ".meta"))


def leases_count(node: SimNode) -> int:
    """Of the upstream, at the manager."""
    leases: Any = getattr(node.role, "leases", None)
    return sum(ends_at > node.clock.monotonic() for ends_at in leases._leases._ends_at.values()) if leases is not None else 0


def left_behind(node: SimNode, world: World) -> list[str]:
    """Of a node that has stopped."""
    assert node.process is not None
    found = []
    if node.process.tasks:
        found.append(f"still there at {node.name}: {[_name(task) for task in node.process.tasks]}")
    if world.network.connections_of(node.process):
        found.append(f"connected: {node.name}")
    held = open_files(Path(node.settings.cache_dir))
    if held:
        found.append(f"open at {node.name}: {held}")
    return found
