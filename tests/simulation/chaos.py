"""What goes wrong while a seed runs, one thing after another, and how it is all put right."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from typing import Any

from minicdn.testing.nodes import SimNode
from minicdn.testing.world import World
from tests.simulation.origin import ADDRESS, Origin, Trouble
from tests.simulation.plan import Plan

CLIENT = "10.0.2.1"


class Chaos:
    """events: what happened, for a person."""

    def __init__(self, world: World, origin: Origin, plan: Plan) -> None:
        self.world, self.origin, self.plan = world, origin, plan
        self.rng = random.Random(f"chaos {plan.seed}")
        self.events: list[str] = []
        self._tasks: list[asyncio.Task[Any]] = []
        self._moving: dict[SimNode, asyncio.Future[None]] = {}
        """Nodes that come or go, which nothing else may happen to."""
        self._kinds = [kind for kind in plan.faults if hasattr(self, f"_{kind}")]

    async def run(self) -> None:
        """Until cancelled."""
        self.origin.trouble = self.plan.trouble
        while self._kinds:
            await asyncio.sleep(self.rng.expovariate(1 / self.plan.every_seconds))
            kind = self.rng.choice(self._kinds)
            self._tasks.append(asyncio.get_running_loop().create_task(getattr(self, f"_{kind}")()))

    async def heal(self) -> None:
        """Nothing is broken any more, and everybody runs."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.world.network.heal()
        await asyncio.gather(*self._moving.values())
        self._note("all healed")
        self.origin.trouble = Trouble()
        self.world.network.heal()
        for node in self.world.nodes:
            if node.role is None:
                await node.restart()
            elif node.process is not None and node.process.is_frozen:
                node.thaw()
        await self.origin.come_up()
        for link in self.world.network.links():
            link.set_rate(max(link.bytes_per_second, 1e6), self.world.loop.time())

    def _note(self, text: str) -> None:
        self.events.append(f"{self.world.loop.time():.3f} {text}")

    def _up(self, nodes: list[SimNode]) -> SimNode | None:
        up = [node for node in nodes if node.is_up and node not in self._moving]
        return self.rng.choice(up) if up else None

    def _pair(self) -> tuple[str, str]:
        places = [*(node.address for node in self.world.nodes), ADDRESS]
        one, other = self.rng.sample(places, 2)
        return one, other

    # Each of these ends what it began, if it is let

    async def _partition(self) -> None:
        one, other = self._pair()
        await self._block(one, other, self.rng.uniform(3, 40))

    async def _blink(self) -> None:
        one, other = self._pair()
        await self._block(one, other, self.rng.uniform(0.1, 3))

    async def _block(self, one: str, other: str, seconds: float) -> None:
        self._note(f"no way between {one} and {other} for {seconds:.1f} s")
        self.world.network.block(one, other)
        await asyncio.sleep(seconds)
        self.world.network.unblock(one, other)

    async def _cut(self) -> None:
        one, other = self._pair()
        self._note(f"connections between {one} and {other} are reset")
        self.world.network.cut(one, other)

    async def _kill(self) -> None:
        await self._end(self._up(self.world.peers), loses_power=False)

    async def _power(self) -> None:
        await self._end(self._up(self.world.peers), loses_power=True)

    async def _manager_away(self) -> None:
        await self._end(self._up([self.world.manager]), loses_power=self.rng.random() < 0.3)

    async def _end(self, node: SimNode | None, *, loses_power: bool) -> None:
        if node is None:
            return
        seconds = self.rng.choice((0.01, 1.0, 20.0))
        self._note(f"{node.name} {'loses power' if loses_power else 'is killed'} for {seconds:g} s")
        node.kill(loses_power=loses_power)
        await asyncio.sleep(seconds)
        await self._move(node, node.restart())
        self._note(f"{node.name} is back")

    async def _leave(self) -> None:
        node = self._up(self.world.peers)
        if node is not None:
            self._note(f"{node.name} leaves")
            await self._move(node, node.stop_and_restart(self.rng.uniform(0.5, 5)))
            self._note(f"{node.name} is back")

    async def _move(self, node: SimNode, work: Coroutine[Any, Any, None]) -> None:
        """To its end, whatever becomes of who waits for it."""
        task = self._moving[node] = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(lambda done: self._moving.pop(node, None))
        await asyncio.shield(task)

    async def _freeze(self) -> None:
        node = self._up(self.world.nodes)
        if node is not None:
            seconds = self.rng.choice((0.5, 5.0, 30.0))
            self._note(f"{node.name} is frozen for {seconds:g} s")
            process = node.process
            node.freeze()
            await asyncio.sleep(seconds)
            if process is node.process and not process.is_dead:  # type: ignore[union-attr]
                node.thaw()

    async def _lists(self) -> None:
        """One hears nothing of the manager while another goes: their lists differ for a while."""
        deaf, going = self._up(self.world.peers), self._up(self.world.peers)
        if deaf is not None and going is not None and deaf is not going:
            manager, seconds = self.world.manager.address, self.rng.uniform(5, 40)
            self._tasks.append(asyncio.get_running_loop().create_task(self._block(deaf.address, manager, seconds)))
            await self._end(going, loses_power=False)

    async def _origin_gone(self) -> None:
        await self._origin_away(self.rng.uniform(20, 60))

    async def _origin_away(self, seconds: float | None = None) -> None:
        seconds = self.rng.uniform(0.5, 30) if seconds is None else seconds
        self._note(f"no connection to the origin for {seconds:.1f} s")
        self.origin.go_down()
        await asyncio.sleep(seconds)
        await self.origin.come_up()

    async def _full(self) -> None:
        node = self._up(self.world.nodes)
        if node is not None:
            await self._move(node, self._fill_disk(node))

    async def _fill_disk(self, node: SimNode) -> None:
        self._note(f"the disk of {node.name} is full")
        self.world.disk.fill_up(node.settings.cache_dir)
        await asyncio.sleep(self.rng.uniform(1, 20))
        self.world.disk.make_room(node.settings.cache_dir)

    async def _slow(self) -> None:
        link = self.world.network.link(*self._pair())
        rate, link.bytes_per_second = link.bytes_per_second, self.rng.choice((20e3, 200e3))
        self._note(f"a link carries {link.bytes_per_second:g} B/s")
        await asyncio.sleep(self.rng.uniform(5, 30))
        link.set_rate(rate, self.world.loop.time())
