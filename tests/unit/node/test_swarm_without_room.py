"""A body that is filled in pieces, and left the shelf meanwhile where there is no room for another: its readers go on elsewhere at once."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from minicdn.core.counters import Counters
from minicdn.core.message import Request
from minicdn.core.pieces import Dealer, Pieces
from minicdn.core.uplink import UplinkMeter
from minicdn.errors import CopyLost
from minicdn.node.deals import Deal
from minicdn.node.seeding import FileId, NoRoom, Seed
from minicdn.node.swarm import Swarm
from minicdn.node.swarmparts import SwarmParts
from minicdn.store.entry import Entry
from tests.unit.node.fakes import FakeClock
from tests.unit.store.making import MIB, make_shelf, make_stored, on_loop

ME = "http://10.0.0.1:11000"


class Roomless(Seed):
    @asynccontextmanager
    async def load_whole(self, index: int, hint: str | None = None) -> AsyncIterator[Any]:
        raise NoRoom("there is no room for a piece here")
        yield


@on_loop
async def test_without_room_for_what_it_loads_itself_readers_are_sent_elsewhere(tmp_path: Path) -> None:
    shelf = make_shelf(tmp_path)
    await shelf.open()
    stored, request = make_stored(), Request("GET", b"/a", "/a", [])
    entry = Entry("/a", stored.head, stored, shelf.new_body("/a", MIB))
    assert shelf.begin_partial(entry)
    seed = Roomless(FileId("/a", b'"1"', MIB), request, Pieces.of(MIB), None, shelf.find)  # type: ignore[arg-type]
    parts: Any = SwarmParts(
        shelf=shelf, client=None, clock=FakeClock(), counters=Counters(), rng=random.Random(1), may_use_upstream=None, limits=None,
        uplink=UplinkMeter(),
    )  # type: ignore[arg-type]  # fmt: skip
    swarm = Swarm(parts, entry, request, Deal((Dealer(ME, 1.0),), None), seed, ME)
    shelf.remove(entry)
    swarm.want([(0, MIB)])
    reader = entry.body.open()
    with pytest.raises(CopyLost):
        await reader.next()
    reader.close()
    await swarm.stop()
    await shelf.close()
