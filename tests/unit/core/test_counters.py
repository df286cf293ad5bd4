from __future__ import annotations

from pathlib import Path

import pytest

from minicdn.core.counters import COUNTERS, Counters

README = Path(__file__).resolve().parents[3] / "README.md"


def test_every_documented_name_starts_at_zero_and_grows() -> None:
    counters = Counters()
    assert counters.snapshot() == dict.fromkeys(COUNTERS, 0)
    counters.add("hits_count")
    counters.add("bytes_memory", 10)
    assert (counters.get("hits_count"), counters.get("bytes_memory")) == (1, 10)


def test_a_name_that_is_not_documented_cannot_be_counted() -> None:
    with pytest.raises(KeyError):
        Counters().add("hit_count")


def test_a_snapshot_stands_still() -> None:
    counters = Counters()
    before = counters.snapshot()
    counters.add("hits_count")
    assert before["hits_count"] == 0


@pytest.mark.parametrize("name", COUNTERS)
def test_the_readme_names_each_counter(name: str) -> None:
    assert f"`{name}`" in README.read_text("utf-8")
