"""What the tests of the store share: shelves, entries and readers, and a loop to run on."""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from minicdn.core.counters import Counters
from minicdn.core.freshness import Stored
from minicdn.core.message import Head
from minicdn.store.body import Body
from minicdn.store.entry import Entry
from minicdn.store.shelf import Shelf
from tests.kit import files

KIB, MIB = 1024, 1024 * 1024
HANG_SECONDS = 30.0


def on_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """An async test; one that hangs fails."""

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(HANG_SECONDS):
                await test(*arguments, **named)

        asyncio.run(bounded())

    return run


async def turns(count: int = 10) -> None:
    """Let every task that can go on do so."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    """For what a thread brings about."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.001)


def random_bytes(count: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(count)


def make_stored(*fields: tuple[bytes, bytes], selecting: Any = (), response_at: float = 1000.0) -> Stored:
    return Stored(
        head=Head(200, fields or ((b"ETag", b'"1"'),)),
        selecting=selecting,
        request_at=response_at,
        response_at=response_at,
        date_at=response_at,
        initial_age_seconds=0.0,
        lifetime_seconds=600.0,
        fresh_until=response_at + 600,
    )


def make_shelf(folder: Path | None, *, memory: int = 8 * MIB, disk: int = 64 * MIB, small: int = 64 * KIB) -> Shelf:
    return Shelf(memory_bytes=memory, disk_bytes=disk, small_bytes=small, cache_dir=folder, counters=Counters())


def begin(shelf: Shelf, key: str, length: int | None, **facts: Any) -> Entry:
    """An entry on the shelf whose body is to be filled."""
    stored = make_stored(selecting=facts.pop("selecting", ()), response_at=facts.pop("response_at", 1000.0))
    entry = Entry(key, stored.head, stored, shelf.new_body(key, length), **facts)
    if entry.body.is_kept:
        shelf.begin(entry)
    return entry


def write(shelf: Shelf, entry: Entry, data: bytes, *, step: int = 16 * KIB) -> None:
    """As a fill writes: where there is no room, the rest is relayed and the entry withdrawn."""
    body = entry.body
    start = body.have.reach(0)
    for offset in range(0, len(data), step):
        chunk = data[offset : offset + step]
        if not shelf.has_room_for(body, start + offset + len(chunk)):
            shelf.withdraw(entry)
            body.relay_from_here()
        body.write(start + offset, chunk)


def put(shelf: Shelf, key: str, data: bytes, *, is_announced: bool = True, **facts: Any) -> Entry:
    """A whole entry, kept if the shelf keeps it."""
    entry = begin(shelf, key, len(data) if is_announced else None, **facts)
    write(shelf, entry, data)
    entry.body.finish()
    shelf.keep(entry)
    return entry


async def read_all(body: Body, start: int = 0, end: int | None = None) -> bytes:
    reader = body.open(start, end)
    collected = bytearray()
    try:
        while chunk := await reader.next():
            collected += chunk
    finally:
        reader.close()
    return bytes(collected)


async def recorded(shelf: Shelf) -> None:
    """Until nothing is being written or deleted in the background."""
    recorder = shelf._disk._recorder
    while busy := [*recorder._recording.values(), *recorder._deleting]:
        await asyncio.wait(busy)
        await turns()


def open_files(folder: Path) -> list[str]:
    """As the kit has it, without the lock."""
    return [path for path in files.open_files(folder) if not path.endswith("/lock")]


def files_in(folder: Path, suffix: str = "") -> list[Path]:
    return sorted(path for path in (folder / "objects").glob("??/*") if path.name.endswith(suffix))
