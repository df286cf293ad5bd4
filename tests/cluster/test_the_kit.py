"""The kit itself: what the other tests take for granted."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from tests.kit.asking import ask, open_answer
from tests.kit.clients import CURL_PARTIAL_FILE, download, need
from tests.kit.files import big_file, bytes_of, sha256, sha256_of
from tests.kit.nursery import Forked, nursery_for
from tests.kit.origin import broken_off, gated, held, lengthless, validating, whole
from tests.kit.process import Process
from tests.kit.program import command_line, environment
from tests.kit.rss import peak_rss_bytes
from tests.kit.stage import Stage
from tests.kit.waiting import NeverHappened, eventually


def test_nginx_tells_what_it_sent(stage: Stage) -> None:
    nginx = stage.nginx()
    path = nginx.put("dir/é x.bin", bytes_of("n", 10_000))
    target = "/dir/%C3%A9%20x.bin?q=1"
    assert ask(nginx.url, target).body == (nginx.root / path[1:]).read_bytes()
    assert ask(nginx.url, target, fields=[("Range", "bytes=0-99")]).status == 206
    rows = nginx.settled_log(target)
    assert [(row.method, row.status, row.bytes, row.range) for row in rows] == [("GET", 200, 10_000, ""), ("GET", 206, 100, "bytes=0-99")]
    nginx.forget()
    assert nginx.log() == []
    nginx.stop()
    with pytest.raises(OSError):
        ask(nginx.url, target)
    nginx.start()
    assert ask(nginx.url, target).status == 200


def test_nginx_keeps_its_rate(stage: Stage) -> None:
    nginx = stage.nginx(rate_bytes=100_000)
    nginx.put("slow.bin", bytes(1_000_000))
    with open_answer(nginx.url, "/slow.bin") as answer:
        answer.read(1000)
        assert not nginx._is_idle()


def test_origin_scripts(stage: Stage) -> None:
    origin = stage.origin()
    body = bytes_of("o", 100_000)
    assert ask(origin.url, origin.on("/whole", whole(body))).body == body
    assert ask(origin.url, origin.on("/chunked", lengthless(body, chunked=True))).body == body
    assert ask(origin.url, origin.on("/close", lengthless(body, chunked=False))).body == body
    assert ask(origin.url, origin.on("/etag", validating(body, '"x"')), fields=[("If-None-Match", '"x"')]).status == 304
    for reset in (False, True):
        broken = ask(origin.url, origin.on("/broken", broken_off(body, 5000, reset=reset)))
        assert not broken.is_whole
        assert len(broken.body) <= 5000
    assert not ask(origin.url, origin.on("/broken2", broken_off(body, 5000, chunked=True))).is_whole
    assert ask(origin.url, "/none").status == 404
    echoed = ask(origin.url, "/whole", method="POST", body=b"sent", fields=[("X-A", "b")])
    assert echoed.status == 200
    assert origin.asked("/whole")[-1].body == b"sent"
    assert origin.asked("/whole")[-1].fields["x-a"] == "b"


def test_gates(stage: Stage) -> None:
    origin = stage.origin()
    gate, later = origin.gate(), origin.gate()
    path = origin.on("/gated", held(later, gated([b"first", b"last"], [gate])))
    later.open()
    with open_answer(origin.url, path) as answer:
        assert answer.read(5) == b"first"
        gate.open()
        assert answer.rest() == b"last"


def test_curl_and_hashes(stage: Stage, tmp_path: Path) -> None:
    need("curl")
    digest = big_file(tmp_path / "big.bin", 3_500_000)
    assert sha256_of(tmp_path / "big.bin") == digest
    assert (tmp_path / "big.bin").stat().st_size == 3_500_000
    origin = stage.origin()
    origin.on("/x", whole(b"abc"))
    origin.on("/y", broken_off(b"abc", 2))
    assert download(origin.url + "/x").sha256 == sha256(b"abc")
    assert download(origin.url + "/y").code == CURL_PARTIAL_FILE


def test_waiting_says_what_it_waited_for() -> None:
    with pytest.raises(NeverHappened, match="the moon"):
        eventually(lambda: False, "the moon", deadline_seconds=0.05)


def test_peak_is_seen(stage: Stage) -> None:
    nginx = stage.nginx()
    assert nginx._process
    assert 100_000 < peak_rss_bytes(nginx._process.pid) < 200_000_000


def begin(folder: Path, *words: str, env: dict[str, str] | None = None) -> Process:
    command = [sys.executable, "-m", "minicdn", *words]
    return Process("forked", command, folder, env=environment(env), cwd=folder, is_forked=True)


@pytest.mark.skipif(sys.platform != "linux", reason="nothing is forked elsewhere")
def test_what_is_forked_is_as_if_it_had_been_started(tmp_path: Path) -> None:
    (tmp_path / "minicdn.toml").write_text('[manager]\nupstream = "http://127.0.0.1:9"\n')
    node = begin(tmp_path, "manager", "--port", "0", "--host", "127.0.0.1", env={"MINICDN_CACHE_DIR": str(tmp_path / "its own")})
    try:
        assert isinstance(node._popen, Forked)
        node.wait_printed("minicdn peer --manager http://")
        assert "http://127.0.0.1:9" in node.stdout
        assert (tmp_path / "its own").is_dir() and node.stderr == ""
        assert node.is_running()
        node.signal(signal.SIGTERM)
        assert node.wait() == 0
        assert not node.is_running()
    finally:
        node.kill()
    node = begin(tmp_path, "manager", "--port", "nonsense")
    assert (node.wait(), node.stderr.count("\n")) == (2, 1)
    node = begin(tmp_path, "manager", "--port", "0")
    with pytest.raises(AssertionError, match="did not end"):
        node.wait(deadline_seconds=0.05)
    node.kill()
    assert node.wait() == -signal.SIGKILL


def test_what_python_reads_at_its_start_is_not_left_to_a_fork() -> None:
    env = environment()
    assert nursery_for(command_line("peer"), {**env, "PYTHONUTF8": "1"}) is None
    assert nursery_for(command_line("peer"), {**env, "LC_ALL": "C"}) is None
    assert nursery_for(command_line("peer", token="secret"), env) is None
    assert nursery_for([*command_line("peer")[:3], "--token=secret"], env) is None
    assert nursery_for(["curl"], env) is None
