"""Stages for the tests of real processes, and their outputs in a failure's report."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.stage import Stage


def _stage() -> Iterator[Stage]:
    folder = Path(tempfile.mkdtemp(prefix="minicdn-test-"))
    stage = Stage(folder)
    try:
        yield stage
    finally:
        stage.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def stage() -> Iterator[Stage]:
    """What this test starts."""
    yield from _stage()


@pytest.fixture(scope="module")
def shared_stage() -> Iterator[Stage]:
    """What the tests of a file start together."""
    yield from _stage()


LONGEST = ("tests/simulation/test_seeds.py",)
"""Files of some minutes that stay in one process: were they begun in their turn, it would end alone with them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        for name in ("stage", "shared_stage"):
            stage = getattr(item, "funcargs", {}).get(name)
            if stage:
                report.sections.append((f"what the processes printed ({name})", stage.show()))
    return report
