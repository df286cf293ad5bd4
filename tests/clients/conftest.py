from __future__ import annotations

import pytest

from tests.kit.cluster import Cluster
from tests.kit.nginx import Nginx
from tests.kit.stage import Stage


@pytest.fixture(scope="module")
def nginx(shared_stage: Stage) -> Nginx:
    return shared_stage.nginx()


@pytest.fixture(scope="module")
def cluster(shared_stage: Stage, nginx: Nginx) -> Cluster:
    return shared_stage.cluster(nginx.url, peers=3, memory="64MiB")
