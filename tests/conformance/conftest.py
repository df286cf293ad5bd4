"""The nodes are started once and serve all rows; each row has paths of its own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.kit_stage import Stage


@pytest.fixture(scope="session")
def stage_of_nodes() -> Iterator[Stage]:
    folder = Path(tempfile.mkdtemp(prefix="minicdn-rows-"))
    with Stage(folder).open() as stage:
        yield stage
    shutil.rmtree(folder, ignore_errors=True)
