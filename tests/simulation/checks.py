"""Checkers that stand outside: they see what clients got, what the origin was asked, and what is left when all is quiet."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from typing import Any

from minicdn.testing.nodes import SimNode
from tests.simulation.client import Answer
from tests.simulation.files import File
from tests.simulation.origin import Fetch

SLACK_SECONDS = 3.0
"""Ages are whole seconds, at each hop."""
GIVEN_UP_SECONDS = 0.25
"""An answer that was given up may still be coming for a moment."""
LEFT_BYTES = 768 * 1024
"""Of an answer that is left unread, under way: what the two kernels hold."""
HONEST = frozenset((200, 206, 404, 416, 429, 502, 503, 504))
"""No 508: the origin leads back to nobody."""


def bytes_of_one_version(answer: Answer, file: File) -> str | None:
    """What is wrong with it: bytes of another version than its head's, too few bytes that look whole, an unknown status."""
    if answer.status == 0:
        return None
    if answer.status not in HONEST:
        return f"status {answer.status}"
    if answer.status not in (200, 206):
        return None
    version = int(answer.fields.get("x-version", -1))
    if not 0 <= version <= file.version:
        return f"no version {version}"
    whole = file.bytes_of(version)
    wanted = whole
    if answer.status == 206:
        assert answer.span is not None
        wanted = whole[answer.span[0] : answer.span[1]]
        shown = answer.fields.get("content-range")
        if shown != f"bytes {answer.span[0]}-{min(answer.span[1], len(whole)) - 1}/{len(whole)}":
            return f"Content-Range {shown}"
    if answer.is_whole and bytes(answer.body) != wanted:
        return _difference(bytes(answer.body), wanted, file, version)
    if not wanted.startswith(answer.body):
        return _difference(bytes(answer.body), wanted[: len(answer.body)], file, version)
    return None


def _difference(got: bytes, wanted: bytes, file: File, version: int) -> str:
    at = next((index for index, (one, other) in enumerate(zip(got, wanted, strict=False)) if one != other), min(len(got), len(wanted)))
    others = [
        number
        for number in range(file.version + 1)
        if number != version and len(got) > at and file.bytes_of(number)[at : at + 16] == got[at : at + 16]
    ]
    return f"{len(got)} bytes of {len(wanted)}, wrong from {at} on" + (f" (there it is version {others})" if others else "")


def is_not_too_old(answer: Answer, file: File, grace_seconds: float) -> str | None:
    """Fresh, or stale within the grace: for so long after its version ceased to be the origin's."""
    if answer.status not in (200, 206):
        return None
    version = int(answer.fields.get("x-version", -1))
    late = answer.asked_at - (file.over_at(version) + file.max_age + grace_seconds + SLACK_SECONDS)
    return f"version {version} ended {late:.1f} s too long ago" if late > 0 else None


def twice_at_a_time(fetches: list[Fetch], file: File) -> str | None:
    """Two fetches of the same bytes of one version at once. What was sent counts: an answer that is to come in parts is left unread."""
    mine = [fetch for fetch in fetches if fetch.path == file.path and fetch.sent_bytes and fetch.ended_at is not None]
    for index, one in enumerate(mine):
        for other in mine[index + 1 :]:
            together = min(one.ended_at, other.ended_at) - max(one.began_at, other.began_at)  # type: ignore[type-var,operator]
            is_together = together > (0 if one.is_whole and other.is_whole else GIVEN_UP_SECONDS)
            overlap = min(one.sent_until, other.sent_until) - max(one.start, other.start)
            if is_together and overlap > (0 if one.is_part == other.is_part else LEFT_BYTES) and one.version == other.version:
                return f"{one} and {other}"
    return None


# What is left


def left_over(node: SimNode) -> list[str]:
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
        ("tasks", len(strange_tasks(node))),
        ("over budget", int(over_budget(node))),
    ):
        if count:
            found.append(f"{node.name}: {name}: {count}" + (f" {strange_tasks(node)}" if name == "tasks" else ""))
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


def over_budget(node: SimNode) -> bool:
    stats = node.role.node.stats()  # type: ignore[union-attr]
    memory_bytes = stats["memory_main_bytes"] + stats["memory_hot_bytes"] + stats["memory_filling_bytes"]
    return memory_bytes > node.settings.memory_bytes or stats["disk_used_bytes"] > node.settings.disk_bytes


def open_files(folder: str) -> list[str]:
    """What this process holds open below a folder."""
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue
        if target.startswith(folder):
            found.append(target)
    return found
