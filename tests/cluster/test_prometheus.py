"""A real Prometheus finds a cluster by its manager alone, reads what its nodes say, and can evaluate what docs/monitoring asks."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.cluster.doors import KEPT
from tests.kit.asking import ask
from tests.kit.clients import need, run_well
from tests.kit.cluster import Cluster
from tests.kit.files import bytes_of
from tests.kit.origin import whole
from tests.kit.ports import can_connect, free_port
from tests.kit.process import Process
from tests.kit.stage import Stage
from tests.kit.waiting import eventually

FOLDER = Path(__file__).resolve().parents[2] / "docs/monitoring"
DASHBOARD = json.loads((FOLDER / "grafana/minicdn.json").read_text("utf-8"))
EXPRESSIONS = sorted({target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]})
SIZE = 5_000


class Prometheus:
    """With docs/monitoring/prometheus.yml, but for the manager's address and the intervals."""

    def __init__(self, stage: Stage, manager: str) -> None:
        folder = stage.folder / "prometheus"
        folder.mkdir()
        config = (FOLDER / "prometheus.yml").read_text("utf-8").replace("http://manager:11000", manager).replace("15s", "200ms")
        (folder / "prometheus.yml").write_text(config)
        (folder / "alerts.yml").write_text((FOLDER / "alerts.yml").read_text("utf-8"))
        run_well("promtool", "check", "config", folder / "prometheus.yml")
        for _ in range(5):
            port = free_port()
            self.url = f"http://127.0.0.1:{port}"
            options = [f"--web.listen-address=127.0.0.1:{port}", f"--storage.tsdb.path={folder / 'data'}"]
            process = Process("prometheus", ["prometheus", f"--config.file={folder / 'prometheus.yml'}", *options], folder)
            stage.callback(process.kill)
            eventually(lambda: can_connect(port) or not process.is_running(), "Prometheus to listen", show=process.show)  # noqa: B023
            if process.is_running():
                return
        raise AssertionError(f"Prometheus did not start\n{process.show()}")

    def get(self, target: str) -> Any:
        found = json.loads(ask(self.url, target).body)
        assert found["status"] == "success", found
        return found["data"]

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        found = self.get(f"/api/v1/query?query={quote(expression)}")["result"]
        return [(each["metric"], float(each["value"][1])) for each in found]


@pytest.fixture(scope="module")
def cluster(shared_stage: Stage) -> Cluster:
    """Of two peers, of which one has asked the upstream, and the other one that peer."""
    need("prometheus", "promtool")
    origin = shared_stage.origin()
    cluster = shared_stage.cluster(origin.url, peers=2)
    path = origin.on("/counted", whole(bytes_of("counted", SIZE), [KEPT]))
    for node in cluster.owners_of(path):
        assert len(node.ask(path).body) == SIZE
    return cluster


@pytest.fixture(scope="module")
def prometheus(shared_stage: Stage, cluster: Cluster) -> Prometheus:
    found = Prometheus(shared_stage, cluster.url)
    eventually(lambda: len(found.query("minicdn_build_info")) == 3, "all three nodes to be scraped", show=shared_stage.show)
    return found


def test_promtool_has_nothing_to_say(cluster: Cluster) -> None:
    run_well("promtool", "check", "rules", FOLDER / "alerts.yml")
    for node in cluster.processes:
        checked = subprocess.run(["promtool", "check", "metrics"], input=node.ask("/_metrics").body, capture_output=True, check=False)
        assert (checked.returncode, checked.stderr) == (0, b"")


def test_all_nodes_are_found_by_the_manager(prometheus: Prometheus, cluster: Cluster) -> None:
    roles = {labels["instance"]: labels["role"] for labels, _ in prometheus.query("minicdn_build_info")}
    assert roles == {node.url.removeprefix("http://"): node.role for node in cluster.processes}
    assert {value for _, value in prometheus.query("up")} == {1.0}


def test_bytes_are_where_they_came_from(prometheus: Prometheus) -> None:
    found = {labels["source"]: value for labels, value in prometheus.query("sum by (source) (minicdn_client_bytes_total)")}
    assert found == {"upstream": SIZE, "peer": SIZE, "memory": 0, "disk": 0}
    assert prometheus.query("sum(minicdn_upstream_received_bytes_total)") == [({}, SIZE)]


def test_each_expression_of_the_dashboard_is_evaluated(prometheus: Prometheus) -> None:
    for expression in EXPRESSIONS:
        asked = expression.replace("$__rate_interval", "1m").replace("$instance", ".*")
        assert "$" not in asked
        # A rate needs two scrapes; what is put in proportion may have nothing to be put to, and `> 0` may leave nothing.
        is_sure = "/" not in asked and not asked.endswith("> 0")
        eventually(lambda: prometheus.query(asked) or not is_sure, f"an answer to {asked}")  # noqa: B023


def test_each_alert_is_evaluated(prometheus: Prometheus) -> None:
    def rules() -> list[dict[str, Any]]:
        return [rule for group in prometheus.get("/api/v1/rules")["groups"] for rule in group["rules"]]

    eventually(lambda: all(rule["health"] == "ok" for rule in rules()), "all alerts to be evaluated")
    assert {rule["name"] for rule in rules()} == set(re.findall(r"alert: (\w+)", (FOLDER / "alerts.yml").read_text("utf-8")))
    assert {rule["name"]: rule["state"] for rule in rules() if rule["state"] != "inactive"} == {}


def test_a_peer_that_leaves_is_no_target_any_more(prometheus: Prometheus, cluster: Cluster) -> None:
    """The last of the tests, since the others want all peers."""

    def targets() -> set[str]:
        return {target["labels"]["instance"] for target in prometheus.get("/api/v1/targets?state=active")["activeTargets"]}

    stays, leaves = [peer.url.removeprefix("http://") for peer in cluster.peers]
    assert {stays, leaves} <= targets()
    cluster.peers[1].interrupt()
    eventually(lambda: leaves not in targets(), "who has left to be no target any more")
    assert stays in targets()
