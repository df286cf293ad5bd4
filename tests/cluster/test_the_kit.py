"""The kit itself, without minicdn: what the other tests take for granted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kit.asking import ask, open_answer
from tests.kit.clients import CURL_PARTIAL_FILE, download, need
from tests.kit.files import big_file, bytes_of, sha256, sha256_of
from tests.kit.origin import broken_off, gated, held, lengthless, validating, whole
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
