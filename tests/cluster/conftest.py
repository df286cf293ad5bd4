from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.doors import WAYS, Door, Houses, open_houses
from tests.kit.stage import Stage


@pytest.fixture(scope="module")
def houses(shared_stage: Stage) -> Iterator[Houses]:
    yield from open_houses(shared_stage, small="256KiB")


@pytest.fixture(params=WAYS, ids=[way.replace(" ", "-") for way in WAYS])
def door(request: pytest.FixtureRequest, houses: Houses) -> Door:
    name = request.node.originalname.removeprefix("test_")
    return Door(request.param, houses, f"{name}-{abs(hash(request.node.name)) % 10**6}")
