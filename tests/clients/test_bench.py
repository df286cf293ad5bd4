"""`minicdn bench` as its users run it: at a cluster, at servers of every kind, and at none."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.kit.cluster import Cluster
from tests.kit.files import bytes_of
from tests.kit.nginx import Nginx
from tests.kit.origin import Asked, Line, Origin, Script, broken_off, lengthless, whole
from tests.kit.ports import free_port
from tests.kit.process import Process
from tests.kit.program import environment
from tests.kit.stage import Stage


class Bench(Process):
    """One `minicdn bench --json`, running since construction."""

    def __init__(self, folder: Path, *words: str | int) -> None:
        command = [sys.executable, "-m", "minicdn", "bench", "--json", *map(str, words)]
        super().__init__("bench", command, folder, env=environment(), cwd=folder)

    def report(self, code: int = 0) -> dict[str, Any]:
        assert self.wait(deadline_seconds=60) == code, self.show()
        assert not self.stderr, "no terminal, no progress"
        report = json.loads(self.stdout)
        assert report["exit_code"] == code
        assert sum(report["statuses"].values()) == sum(report["caches"].values()) == report["requests_count"]
        return report


def test_a_manager_sends_each_client_to_a_peer_where_it_stays(nginx: Nginx, cluster: Cluster, tmp_path: Path) -> None:
    path = nginx.put("load.bin", bytes_of("load", 10_000))
    report = Bench(tmp_path, cluster.url + path, "--count", 300, "--connections", 10).report()
    assert report["statuses"] == {"200": 300}
    assert (report["bytes_count"], report["redirects_count"], report["errors_count"]) == (3_000_000, 10, 0)
    assert set(report["servers"]) <= {peer.url for peer in cluster.peers}
    assert set(report["sources"]) <= {"memory", "peer", "upstream"}
    assert report["sources"]["memory"]["requests_count"] >= 290
    assert sum(each["bytes_count"] for each in report["sources"].values()) == 3_000_000
    assert 0 < report["latency_seconds"]["p50"] <= report["latency_seconds"]["p99"] <= report["latency_seconds"]["max"] * 1.001
    assert report["requests_per_second"] == pytest.approx(300 / report["seconds"], rel=0.05)


def test_several_urls_a_list_a_part_and_a_field(stage: Stage, tmp_path: Path) -> None:
    origin = stage.origin()
    for path in ("/a", "/b", "/c"):
        origin.on(path, whole(path.encode() * 50, [("X-Cache", "HIT from minicdn-1 (disk)")]))
    (tmp_path / "list").write_text(f"# more\n/b\n\n{origin.url}/c\n/none\n")
    words = [origin.url + "/a", "--url-file", "list", "--count", 8, "--connections", 2, "--range", "10-19", "--header", "X-Mark: 7"]
    report = Bench(tmp_path, *words).report()
    assert report["urls_count"] == 4
    assert (report["requests_count"], report["statuses"].get("404")) == (8, 2)
    assert report["sources"]["disk"]["requests_count"] == 6
    asked = origin.asked()
    assert sorted(one.target for one in asked) == sorted([b"/a", b"/b", b"/c", b"/none"] * 2)
    assert {(one.fields["range"], one.fields["x-mark"]) for one in asked} == {("bytes=10-19", "7")}


def chunked(_: Asked, line: Line) -> None:
    line.head(103, [("Link", "</x>")])
    line.head(200, [("Transfer-Encoding", "chunked")])
    for part in (b"a" * 3000, b"b" * 17, b""):
        line.chunk(part)


def bodiless(_: Asked, line: Line) -> None:
    line.head(204)


@pytest.mark.parametrize(
    ("script", "size"), [(chunked, 3017), (lengthless(b"x" * 5000, [], chunked=False), 5000), (bodiless, 0), (whole(b"", []), 0)]
)
def test_every_framing(stage: Stage, tmp_path: Path, script: Script, size: int) -> None:
    origin = stage.origin()
    report = Bench(tmp_path, origin.url + origin.on("/x", script), "--count", 12, "--connections", 3).report()
    assert (report["requests_count"], report["bytes_count"], report["errors_count"]) == (12, 12 * size, 0)


def test_answers_that_break_off_are_errors(stage: Stage, tmp_path: Path) -> None:
    origin = stage.origin()
    good, bad = origin.on("/good", whole(b"x" * 100, [])), origin.on("/bad", broken_off(b"y" * 100, 40, []))
    report = Bench(tmp_path, origin.url + good, origin.url + bad, "--count", 6, "--connections", 1).report()
    assert (report["requests_count"], report["errors_count"]) == (3, 3)
    assert report["errors"] == {f"{origin.url}: the connection ended before the answer did": 3}


def test_a_ctrl_c_gives_the_figures_so_far(stage: Stage, tmp_path: Path) -> None:
    origin, gate = stage.origin(), stage.origin().gate()
    content = b"x" * 1000

    def script(_: Asked, line: Line) -> None:
        if len(origin.asked("/x")) > 20:
            gate.wait()
        line.head(200, [], length=len(content))
        line.send(content)

    running = Bench(tmp_path, origin.url + origin.on("/x", script), "--duration", "60s", "--connections", 2)
    origin.wait_asked("/x", 22)
    running.signal(signal.SIGINT)
    report = running.report(code=130)
    assert (report["is_stopped"], report["requests_count"]) == (True, 20)


def test_nobody_there_is_one_line(tmp_path: Path) -> None:
    running = Bench(tmp_path, f"http://127.0.0.1:{free_port()}/x")
    assert running.wait(deadline_seconds=30) == 7
    assert running.stderr.startswith("minicdn: nothing can be measured: http://127.0.0.1:")
    assert "Connection refused" in running.stderr
    assert (running.stderr.count("\n"), running.stdout) == (1, "")


def silent(origin: Origin) -> Script:
    gate = origin.gate()
    return lambda _, line: gate.wait()


def test_a_server_that_says_nothing_is_not_waited_for_for_ever(stage: Stage, tmp_path: Path) -> None:
    origin = stage.origin()
    running = Bench(tmp_path, origin.url + origin.on("/x", silent(origin)), "--timeout", "100ms")
    assert running.wait(deadline_seconds=30) == 7
    assert "silent for too long" in running.stderr


def test_a_server_that_goes_silent_ends_the_run(stage: Stage, tmp_path: Path) -> None:
    origin = stage.origin()
    good, bad = origin.on("/good", whole(b"x", [])), origin.on("/bad", silent(origin))
    words = [origin.url + good, *[origin.url + bad] * 40, "--timeout", "100ms", "--connections", 1, "--duration", "50s"]
    report = Bench(tmp_path, *words).report(code=7)
    assert report["error"] == "nobody has answered for 0.1 s"
    assert report["requests_count"] == 1


def test_in_words(nginx: Nginx, tmp_path: Path) -> None:
    path = nginx.put("words.bin", b"x" * 2048)
    command = [sys.executable, "-m", "minicdn", "bench", nginx.url + path, "--count", "5", "--connections", "1"]
    running = Process("words", command, tmp_path, env=environment(), cwd=tmp_path)
    assert running.wait(deadline_seconds=30) == 0, running.show()
    said = {line.split()[0]: line.split(maxsplit=1)[1] for line in running.stdout.splitlines()[1:]}
    assert set(said) >= {"requests", "bytes", "latency", "statuses", "cache", "from", "servers", "errors"}
    assert said["statuses"] == "200 5"
    assert said["from"] == "unknown 5 (10.0 KiB)"
    assert said["errors"] == "none"
