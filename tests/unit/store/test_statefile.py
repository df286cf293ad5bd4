from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from minicdn.store.statefile import StateFile


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    async def run() -> None:
        file = StateFile(tmp_path / "state")
        assert await file.load() is None
        await asyncio.gather(*(file.save({"n": n}) for n in range(5)))
        assert await file.load() == {"n": 4}

    asyncio.run(run())
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


@pytest.mark.parametrize(
    "data", [b"", b"\xc1", b"\x01", b"\x81\xa7version\x02", b"\x90"], ids=["empty", "no msgpack", "number", "newer", "list"]
)
def test_what_is_not_ours_counts_as_nothing(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "state").write_bytes(data)
    assert asyncio.run(StateFile(tmp_path / "state").load()) is None


def test_a_write_that_fails_leaves_the_old_state(tmp_path: Path) -> None:
    async def run() -> None:
        file = StateFile(tmp_path / "state")
        await file.save("old")
        (tmp_path / "state.temporary").mkdir()
        with pytest.raises(OSError):
            await file.save("new")
        assert await file.load() == "old"

    asyncio.run(run())


def test_without_a_folder_nothing_is_kept() -> None:
    async def run() -> None:
        file = StateFile(None)
        await file.save("x")
        assert await file.load() is None

    asyncio.run(run())
