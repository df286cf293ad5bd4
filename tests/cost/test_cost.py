"""What a hit, a miss, a peer hop and a large piece from another peer cost, in Python's instructions, beside the committed figures.

figures.json holds them for one version of Python; MINICDN_COST_WRITE=1 writes them anew, for a commit that says why they changed.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import platform
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

pytest.importorskip("httptools")

from tests.cost.counting import Counting, least_of
from tests.cost.nodes import TARGET, Client, Nodes
from tests.cost.piece import count_piece

FIGURES = Path(__file__).with_name("figures.json")
ALLOWED = 0.05
VERSION = ".".join(platform.python_version_tuple()[:2])


@asynccontextmanager
async def _warm(folder: Path, count: int) -> AsyncIterator[tuple[Client, Client, list[str]]]:
    """Clients of a manager alone and of a peer that asks, and targets that another peer owns and has."""
    nodes = Nodes(folder)
    async with nodes.open():
        alone, asking, owning = [await Client.to(served) for served in (nodes.alone, *nodes.peers)]
        targets = [nodes.owned(number) for number in range(count)]
        for target in targets:
            await owning.get(target)
        yield alone, asking, targets


async def _count_all(folder: Path) -> dict[str, Counting]:
    async with _warm(folder, 20) as (alone, asking, targets):
        return {
            "hit": await least_of(lambda _: alone.get(TARGET)),
            "miss": await least_of(lambda number: alone.get(f"{TARGET}/{number}")),
            "hop": await least_of(lambda number: asking.get(targets[number])),
        }


async def _garbage_of(folder: Path) -> list[object]:
    async with _warm(folder, 10) as (alone, asking, targets):
        gc.collect()
        try:
            gc.set_debug(gc.DEBUG_SAVEALL)
            for target in targets:
                await asking.get(target)
                await alone.get(target)
            gc.collect()
            return [found for found in gc.garbage if type(found).__module__.startswith("minicdn.")]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()


def test_misses_and_hops_leave_nothing_to_the_collector(tmp_path: Path) -> None:
    """A circle of references would keep each answer's objects until Python looks for such circles, which took a tenth of a hop's time."""
    found = [type(thing).__name__ for thing in asyncio.run(_garbage_of(tmp_path))]
    assert found.count("Fill") == found.count("Waiting") == 0, found


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Counting]:
    found = asyncio.run(_count_all(tmp_path_factory.mktemp("cost")))
    found["piece"] = count_piece(tmp_path_factory.mktemp("piece"))
    if os.environ.get("MINICDN_COST_WRITE"):
        figures = {name: counting.total for name, counting in found.items()}
        FIGURES.write_text(json.dumps({"python": VERSION, **figures}, indent=1) + "\n")
    return found


@pytest.mark.parametrize("name", ["hit", "miss", "hop", "piece"])
def test_the_cost_is_the_committed_one(counted: dict[str, Counting], name: str) -> None:
    figures = json.loads(FIGURES.read_text())
    if figures["python"] != VERSION:
        pytest.skip(f"the figures are those of Python {figures['python']}, and this is {VERSION}")
    found, committed = counted[name].total, figures[name]
    dearest = ", ".join(f"{file} {count}" for file, count in counted[name].by_file.most_common(6))
    print(f"{name}: {found} instructions ({dearest})")
    assert found <= committed * (1 + ALLOWED), f"a {name} costs {found} instructions, and {committed} are allowed: {dearest}"
    assert found >= committed * (1 - ALLOWED), f"a {name} is cheaper than the figure: {found}, not {committed}. Write the new one down"
