"""A large file that one peer gives to another, in a simulated network: there bytes always come in the same parts at the same instants, and
how they come decides how often a node wakes up. They come in blocks, as where the system counts them (wire/gathering.py)."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from unittest.mock import patch

from minicdn.core.roster import owners
from minicdn.settings import MIB, Settings
from minicdn.testing import end
from minicdn.testing.simloop import Process
from minicdn.testing.world import World
from tests.cost.counting import Counting
from tests.simulation.client import get
from tests.simulation.files import File
from tests.simulation.origin import ADDRESS, PORT, Origin

SIZE = 4 * MIB
BLOCK_BYTES, WINDOW_BYTES = MIB // 4, MIB
CLIENT = "10.0.2.1"


def count_piece(folder: Path) -> Counting:
    """Both sides, and what the asking one's client takes; the second of two files, as the first only warms up."""
    settings = Settings(upstream=f"http://{ADDRESS}:{PORT}", small_bytes=MIB, memory_bytes=64 * MIB)
    network = {"delay_seconds": (0.0005, 0.0005), "bytes_per_second": (1e9, 1e9)}
    world = World(1, folder, settings, **network)  # type: ignore[arg-type]
    with patch.multiple(end, SEGMENT_BYTES=BLOCK_BYTES, WINDOW_BYTES=WINDOW_BYTES):
        return world.run(_within(world))


async def _within(world: World) -> Counting:
    return await world.loop.create_task(_count(world), context=Process("client", CLIENT).context)


async def _count(world: World) -> Counting:
    origin = Origin(world, random.Random(1))
    await origin.start()
    asking, owning = [world.add_node() for _ in range(3)][1:]
    for node in world.nodes:
        await node.start()
    async with asyncio.timeout(60):
        while not all(len(node.role.node.peers.members) == 2 for node in world.nodes):  # noqa: ASYNC110 — there is no event for it
            await asyncio.sleep(0.25)
    members = asking.role.node.peers.members  # type: ignore[union-attr]
    names = (f"/file-{number}" for number in range(1000))
    found = []
    for path in [name for name in names if owners(name, members)[0].url == owning.url][:2]:
        origin.files[path] = File(path, SIZE, 3600.0)
        origin.files[path].change(world.loop.time())
        assert (await get(owning.url + path)).is_good
        with Counting() as counted:
            answer = await get(asking.url + path)
        assert answer.is_good and len(answer.body) == SIZE
        found.append(counted)
    return found[-1]
