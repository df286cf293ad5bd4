"""What must never be, at no moment: looked at all the while a seed runs."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from itertools import count
from pathlib import Path
from typing import Any

from minicdn.settings import Settings
from minicdn.testing.end import End
from minicdn.testing.nodes import SimNode
from minicdn.testing.world import World
from minicdn.wire.codec import decode
from minicdn.wire.fetch import FetchRequest

LOOK_SECONDS = 1.0
FOLDER_LOOKS = 10
"""Every so many looks the folders are looked at, too."""
DELETING_SECONDS = 0.1
"""What counts no more is deleted within this time."""
FORWARDED: ContextVar[str] = ContextVar("minicdn_forwarded", default="")
"""Within what a node does for a peer: the key that the peer asked for."""
QUESTION = b"POST /_rpc/get "


class Watch:
    """found: what must not have been, with its time."""

    def __init__(self, world: World) -> None:
        self.found: list[str] = []
        self._world = world
        world.network.on_write = self._written

    async def run(self) -> None:
        """Until cancelled."""
        for number in count():
            await asyncio.sleep(LOOK_SECONDS)
            for node in self._world.nodes:
                for text in over_budget(node) if node.is_up else ():
                    self._note(f"{node.name}: {text}")
                if number % FOLDER_LOOKS == 0 and node.is_up:
                    await self._look_at_folder(node)

    async def _look_at_folder(self, node: SimNode) -> None:
        if bytes_below(node) > node.settings.disk_bytes:
            await asyncio.sleep(DELETING_SECONDS)
            if node.is_up and (below := bytes_below(node)) > node.settings.disk_bytes:
                self._note(f"{node.name}: {below} bytes lie on the disk, of {node.settings.disk_bytes}")

    def wrapped(self, app: Any) -> Any:
        """The app, and what it does for other nodes marked as that."""

        async def call(scope: Any, receive: Any, send: Any) -> None:
            if scope.get("raw_path") == b"/_rpc/get":
                FORWARDED.set("a peer's question")
            await app(scope, receive, send)

        call.express = app.express  # type: ignore[attr-defined]
        return call

    def _written(self, end: End, data: bytes) -> None:
        """A node that was asked by a peer asks no third, but for a part of the very version that it serves."""
        if not FORWARDED.get() or not data.startswith(QUESTION):
            return
        asked = FetchRequest.from_wire(decode(data.partition(b"\r\n\r\n")[2]))
        if asked.validator is None:
            self._note(f"{end.own[0]} asks {end.peer[0]} for {asked.key}, which a peer had asked it for")

    def _note(self, text: str) -> None:
        self.found.append(f"{self._world.loop.time():.3f} {text}")


def over_budget(node: SimNode) -> list[str]:
    """What a node uses beyond what it may, by its own count."""
    settings: Settings = node.settings
    stats = node.role.node.stats()  # type: ignore[union-attr]
    memory_bytes = stats["memory_main_bytes"] + stats["memory_hot_bytes"] + stats["memory_filling_bytes"]
    found = []
    for what, used, most in (("memory", memory_bytes, settings.memory_bytes), ("disk", stats["disk_used_bytes"], settings.disk_bytes)):
        if used > most:
            found.append(f"{used} bytes of {what}, of {most}")
    return found


def bytes_below(node: SimNode) -> int:
    """What bodies and records take on the disk; a hole takes nothing."""
    files = Path(node.settings.cache_dir or "").glob("objects/*/*")
    return sum(path.stat().st_blocks * 512 for path in files)
