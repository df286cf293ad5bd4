"""What docs/monitoring asks of a node is there: metrics in the dashboard and the alerts, files in the compose file."""

from __future__ import annotations

import asyncio
import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from minicdn.core.targets import METRICS_PATH
from minicdn.options import OPTIONS
from minicdn.web.control import control_app
from tests.kit.metrics import read_metrics
from tests.unit.roles.making import Desk
from tests.unit.web.asgi import ask

FOLDER = Path(__file__).resolve().parents[3] / "docs/monitoring"
DASHBOARD = json.loads((FOLDER / "grafana/minicdn.json").read_text("utf-8"))
COMPOSE = (FOLDER / "compose.yml").read_text("utf-8")
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names of samples at a manager with a peer."""

    async def run() -> str:
        async with Desk(tmp_path_factory.mktemp("desk")) as desk:
            desk.manager.connections_count = lambda: 1
            await desk.join("anna")
            return (await ask(control_app(desk.manager), "GET", METRICS_PATH)).text

    return {name for name, _ in read_metrics(asyncio.run(run()))}


@pytest.mark.parametrize("name", ["grafana/minicdn.json", "alerts.yml"])
def test_every_metric_that_is_named_is_there(name: str, shown: set[str]) -> None:
    named = set(re.findall(r"\bminicdn_\w+", (FOLDER / name).read_text("utf-8")))
    assert named and named <= shown


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_each_panel_asks_something_of_the_chosen_source(panel: dict[str, Any]) -> None:
    assert panel["targets"]
    for target in [panel, *panel["targets"]]:
        assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert all(target["expr"] for target in panel["targets"])


def test_panels_do_not_lie_on_each_other() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    for one, other in combinations([panel["gridPos"] for panel in PANELS], 2):
        is_beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert is_beside or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"], (one, other)


def test_what_the_compose_file_names_is_there() -> None:
    mounted = re.findall(r"- \./(\S+?):/", COMPOSE)
    assert len(mounted) == 5
    for name in [*mounted, "Dockerfile"]:
        assert (FOLDER / name).is_file()
    variables = {option.env for option in OPTIONS}
    assert set(re.findall(r"MINICDN_\w+", COMPOSE + (FOLDER / "Dockerfile").read_text("utf-8"))) <= variables


def test_the_files_of_the_compose_file_agree() -> None:
    assert "http://manager:11000/_targets" in (FOLDER / "prometheus.yml").read_text("utf-8") and "\n  manager:\n" in COMPOSE
    assert "http://prometheus:9090" in (FOLDER / "grafana/datasources.yml").read_text("utf-8") and "\n  prometheus:\n" in COMPOSE
    path = re.search(r"path: (\S+)", (FOLDER / "grafana/dashboards.yml").read_text("utf-8"))
    assert path and f"./grafana/minicdn.json:{path[1]}/minicdn.json" in COMPOSE
