"""`minicdn explain URL`, asked as a person would ask it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.cluster import Cluster
from tests.kit.files import bytes_of
from tests.kit.origin import Origin, whole
from tests.kit.ports import free_port
from tests.kit.program import environment
from tests.kit.stage import Stage


@pytest.fixture(scope="module")
def origin(shared_stage: Stage) -> Origin:
    return shared_stage.origin()


@pytest.fixture(scope="module")
def cluster(shared_stage: Stage, origin: Origin) -> Cluster:
    return shared_stage.cluster(origin.url, peers=2)


def explain(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "minicdn", "explain", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, env=environment(), cwd=folder, check=False)


@pytest.mark.parametrize("where", ["manager", "owner", "other"])
def test_the_decision_in_words(cluster: Cluster, origin: Origin, where: str) -> None:
    path = f"/news-{where}.html"
    origin.on(path, whole(bytes_of("x", 4000), [("Cache-Control", "max-age=3600"), ("ETag", '"1"'), ("Cache-Tag", "news")]))
    owner, other = cluster.owners_of(path)
    other.ask(path)
    node = {"manager": cluster.manager, "owner": owner, "other": other}[where]
    found = explain(node.url + path, folder=cluster.folder)
    assert (found.returncode, found.stderr) == (0, "")
    at_owner = ["decided by: cache-control: max-age", "fresh for 59 min", "4000 bytes (whole) in memory", "tags: news", "would serve what"]
    for words in (path, f"at {node.url}", f"at {owner.url} (peer, the owner)", *at_owner, f"owner: {owner.url}, then {other.url}"):
        assert words in found.stdout, found.stdout
    if where == "manager":
        assert "sends clients to one of its peers" in found.stdout
    assert len(origin.asked(path)) == 1, "to explain is not to ask"


def test_what_is_not_stored_and_what_was_purged(cluster: Cluster, origin: Origin) -> None:
    path = "/later.html"
    origin.on(path, whole(b"x", [("Cache-Control", "max-age=3600")]))
    owner = cluster.owner_of(path)
    url = owner.url + path
    found = explain(url, folder=cluster.folder)
    assert "would fetch (nothing is stored), asking the upstream" in found.stdout and "stored: nothing" in found.stdout
    owner.ask(path)
    owner.ask(path, method="PURGE")
    found = explain(url, folder=cluster.folder)
    assert "would validate (stale; if the upstream fails, it may stand in), asking the upstream" in found.stdout
    assert "stale for" in found.stdout and "when the upstream fails" in found.stdout


def test_all_of_it_as_json(cluster: Cluster) -> None:
    path = "/any.html"
    owner, other = cluster.owners_of(path)
    found = json.loads(explain(other.url + path, "--json", folder=cluster.folder).stdout)
    assert found["asked"]["node"]["url"] == other.url and not found["asked"]["is_owner"]
    assert found["owner"]["node"]["url"] == owner.url and found["owner"]["is_owner"]
    assert found["trouble"] == ""


def test_nobody_there_is_one_line_and_exit_code_1(tmp_path: Path, origin: Origin) -> None:
    found = explain(f"http://127.0.0.1:{free_port()}/a", folder=tmp_path)
    assert found.returncode == 1 and found.stdout == ""
    assert found.stderr.startswith("minicdn: ") and found.stderr.count("\n") == 1
    other = explain(f"{origin.url}/a", folder=tmp_path)
    assert other.returncode == 1 and "minicdn node" in other.stderr
    for wrong in ("nonsense", "ftp://host/a", "http:///a"):
        assert explain(wrong, folder=tmp_path).returncode == 2


def test_an_owner_that_is_gone_is_said_beside_what_is_known(stage: Stage) -> None:
    origin = stage.origin()
    cluster = stage.cluster(origin.url, peers=2)
    path = cluster.key_owned_by(cluster.peers[0])
    cluster.peers[0].kill()
    found = explain(cluster.peers[1].url + path, folder=cluster.folder)
    assert found.returncode == 0
    assert f"its owner {cluster.peers[0].url} can't be asked" in found.stdout
