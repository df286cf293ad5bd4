"""`minicdn get` as its users run it: from a cluster, from plain servers, through pipes, killed, and with everything against it."""

from __future__ import annotations

import functools
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from minicdn.core.rendezvous import rank
from tests.kit.clients import need
from tests.kit.cluster import Cluster
from tests.kit.files import MIB, big_file, bytes_of, sha256, sha256_of
from tests.kit.nginx import Nginx
from tests.kit.origin import Asked, Line, Origin, broken_off, lengthless, ranged, status, whole
from tests.kit.ports import free_port
from tests.kit.process import Process
from tests.kit.program import environment
from tests.kit.stage import Stage
from tests.kit.waiting import eventually

LARGE = 32 * MIB
KEYS = {
    "url", "file", "bytes", "seconds", "sha256", "bytes_peer", "bytes_upstream", "sources", "resumed_bytes", "retries_count",
    "restarts_count", "verified_by", "exit_code", "error",
}  # fmt: skip


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "minicdn", "get", "--json", *map(str, words)]


class Get(Process):
    """One `minicdn get --json`, running since construction."""

    def __init__(self, folder: Path, *words: str | Path, env: dict[str, str] | None = None) -> None:
        super().__init__("get", command(*words), folder, env=environment(env), cwd=folder, is_forked=True)

    def report(self, code: int = 0) -> dict[str, Any]:
        """What it reports once it has ended with this code; where it failed, the error is its one line on standard error."""
        assert self.wait(deadline_seconds=100) == code, self.show()
        report = json.loads(self.stdout)
        assert set(report) == KEYS
        assert report["exit_code"] == code
        assert report["error"] is None if code == 0 else f"minicdn: {report['error']}" in self.stderr.splitlines()
        return report


def get(folder: Path, *words: str | Path, code: int = 0, env: dict[str, str] | None = None) -> dict[str, Any]:
    return Get(folder, *words, env=env).report(code)


def left(folder: Path) -> set[str]:
    """What lies in the folder besides the output of the command itself."""
    return {path.name for path in folder.iterdir()} - {"get.stdout", "get.stderr"}


def part_bytes(path: Path) -> int:
    part = path.with_name(path.name + ".part")
    return part.stat().st_blocks * 512 if part.exists() else 0


def saved_bytes(path: Path) -> int:
    """What the state says is there."""
    state = path.with_name(path.name + ".part.state")
    return sum(end - start for start, end in json.loads(state.read_text())["spans"]) if state.exists() else 0


# A cluster


def test_a_large_file_comes_from_all_peers(nginx: Nginx, cluster: Cluster, tmp_path: Path) -> None:
    digest = big_file(nginx.root / "all.bin", LARGE, seed="all")
    report = get(tmp_path, "--manager", cluster.url, "/all.bin")
    assert sha256_of(tmp_path / "all.bin") == digest == report["sha256"]
    assert left(tmp_path) == {"all.bin"}
    assert (report["bytes"], report["bytes_upstream"], report["resumed_bytes"]) == (LARGE, 0, 0)
    assert report["bytes_peer"] <= 1.05 * LARGE
    shares = {source["url"]: source["bytes"] / LARGE for source in report["sources"]}
    assert set(shares) == {peer.url for peer in cluster.peers}
    assert min(shares.values()) > 0.1, shares
    assert nginx.bytes_sent("/all.bin") <= 1.05 * LARGE


def test_a_small_file_comes_from_its_first_peer_and_is_verified(nginx: Nginx, cluster: Cluster, tmp_path: Path) -> None:
    for number in range(3):
        content = bytes_of(f"small{number}", 20_000)
        path = nginx.put(f"small{number}.bin", content)
        report = get(tmp_path, "--manager", cluster.url, path)
        assert (tmp_path / path[1:]).read_bytes() == content
        assert [source["url"] for source in report["sources"]] == [cluster.owner_of(path).url]
        assert nginx.bytes_sent(path) == len(content)
    assert get(tmp_path, "--manager", cluster.url, path)["verified_by"].startswith("Repr-Digest of http://")


def test_the_sites_own_url_an_empty_file_and_a_folder(nginx: Nginx, cluster: Cluster, tmp_path: Path) -> None:
    nginx.put("own name.txt", b"own")
    nginx.put("empty", b"")
    (tmp_path / "in").mkdir()
    assert get(tmp_path, "--manager", cluster.url, f"{nginx.url}/own%20name.txt", "-o", "in")["bytes_peer"] == 3
    assert (tmp_path / "in" / "own name.txt").read_bytes() == b"own"
    get(tmp_path, "--manager", cluster.url, "/empty")
    assert (tmp_path / "empty").read_bytes() == b""


def test_named_peers_without_a_manager(nginx: Nginx, cluster: Cluster, tmp_path: Path) -> None:
    digest = big_file(nginx.root / "named.bin", 12 * MIB, seed="named")
    named = [word for peer in cluster.peers[:2] for word in ("--peer", peer.url)]
    report = get(tmp_path, *named, "/named.bin", "--sha256", digest, "-o", "other.bin")
    assert sha256_of(tmp_path / "other.bin") == digest
    assert report["verified_by"] == "--sha256"
    assert {source["url"] for source in report["sources"]} <= {peer.url for peer in cluster.peers[:2]}


def test_out_in_order_through_a_pipe(nginx: Nginx, cluster: Cluster) -> None:
    need("sha256sum")
    digest = big_file(nginx.root / "piped.bin", LARGE, seed="piped")
    done = subprocess.run(
        ["sh", "-c", '"$@" | sha256sum', "sh", *command("--manager", cluster.url, "/piped.bin", "-o", "-")],
        capture_output=True, env=environment(), timeout=100, check=True,
    )  # fmt: skip
    assert done.stdout.split()[0].decode() == digest
    report = json.loads(done.stderr)
    assert report["sha256"] == digest
    assert sum(source["bytes"] > 0 for source in report["sources"]) == 3


def test_a_reader_that_leaves_is_no_error(nginx: Nginx, cluster: Cluster) -> None:
    big_file(nginx.root / "head.bin", LARGE, seed="head")
    with subprocess.Popen(
        [word for word in command("--manager", cluster.url, "/head.bin", "-o", "-") if word != "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(),
    ) as getting:  # fmt: skip
        assert getting.stdout and getting.stderr
        assert getting.stdout.read(1000)
        getting.stdout.close()
        assert getting.stderr.read() == b""
        assert getting.wait(60) == 0


@pytest.fixture
def slow(stage: Stage) -> Iterator[tuple[Nginx, Cluster]]:
    """A cluster whose upstream gives 256 KiB a second on each connection."""
    nginx = stage.nginx(rate_bytes=256 * 1024)
    yield nginx, stage.cluster(nginx.url, peers=3, memory="64MiB")


@pytest.mark.timeout(200)
def test_killed_at_half_it_goes_on_from_there(slow: tuple[Nginx, Cluster], tmp_path: Path) -> None:
    nginx, cluster = slow
    digest = big_file(nginx.root / "killed.bin", LARGE, seed="killed")
    words = ("--manager", cluster.url, "/killed.bin")
    first = Get(tmp_path, *words)
    eventually(lambda: saved_bytes(tmp_path / "killed.bin") >= LARGE / 2, "half of it", deadline_seconds=100, show=first.show)
    first.kill()
    report = get(tmp_path, *words)
    assert sha256_of(tmp_path / "killed.bin") == digest == report["sha256"]
    assert report["bytes_peer"] + report["bytes_upstream"] <= 0.6 * LARGE
    assert report["resumed_bytes"] >= LARGE / 2
    assert left(tmp_path) == {"killed.bin"}


@pytest.mark.timeout(200)
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
def test_a_peer_that_goes_in_the_middle(slow: tuple[Nginx, Cluster], tmp_path: Path, how: signal.Signals) -> None:
    nginx, cluster = slow
    digest = big_file(nginx.root / "peer.bin", 16 * MIB, seed="peer")
    getting = Get(tmp_path, "--manager", cluster.url, "/peer.bin")
    eventually(lambda: part_bytes(tmp_path / "peer.bin") >= 4 * MIB, "a quarter of it", deadline_seconds=60, show=getting.show)
    cluster.peers[0].signal(how)
    report = getting.report()
    assert sha256_of(tmp_path / "peer.bin") == digest == report["sha256"]
    assert report["retries_count"] > 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_it_says_so_at_once_and_keeps_what_is_there(slow: tuple[Nginx, Cluster], tmp_path: Path, number: signal.Signals) -> None:
    nginx, cluster = slow
    big_file(nginx.root / "stopped.bin", LARGE, seed="stopped")
    getting = Get(tmp_path, "--manager", cluster.url, "/stopped.bin")
    eventually(lambda: part_bytes(tmp_path / "stopped.bin") >= 2 * MIB, "a beginning", show=getting.show)
    getting.signal(number)
    report = getting.report(130)
    assert "are kept" in report["error"]
    assert saved_bytes(tmp_path / "stopped.bin") == report["bytes"] >= 2 * MIB
    assert len(getting.stderr.splitlines()) == 1


def test_the_whole_timeout(slow: tuple[Nginx, Cluster], tmp_path: Path) -> None:
    nginx, cluster = slow
    big_file(nginx.root / "late.bin", LARGE, seed="late")
    assert "not done within 1 s" in get(tmp_path, "--manager", cluster.url, "/late.bin", "--timeout", "1s", code=7)["error"]


# Peers that do not agree


def named(origins: list[Origin]) -> list[str]:
    return [word for origin in origins for word in ("--peer", origin.url)]


@pytest.fixture
def three(stage: Stage) -> list[Origin]:
    """Three that serve /file like peers, to be scripted."""
    return [stage.origin() for _ in range(3)]


FILE = bytes_of("file", 6 * MIB)


def in_order(origins: list[Origin]) -> list[Origin]:
    """Nearest to /file first: that one is asked first."""
    ranked = rank("/file", [SimpleNamespace(id=origin.url, weight=1.0, origin=origin) for origin in origins])
    return [row.origin for row in ranked]


@pytest.mark.parametrize("obeys", [True, False], ids=["obeys", "ignores"])
def test_a_peer_with_another_version_is_left_out(three: list[Origin], tmp_path: Path, obeys: bool) -> None:
    *right, wrong = in_order(three)
    for origin in right:
        origin.on("/file", ranged(FILE))
    wrong.on("/file", ranged(bytes_of("other", len(FILE)), '"two"', obeys=obeys))
    report = get(tmp_path, *named(three), "/file")
    assert (tmp_path / "file").read_bytes() == FILE
    assert wrong.url not in {source["url"] for source in report["sources"] if source["bytes"]}
    assert report["restarts_count"] == 0


def test_a_version_that_only_one_has_is_dropped_for_the_others(three: list[Origin], tmp_path: Path) -> None:
    """The first answer names a version of which its source then dies: the download starts over, and is of one version."""
    first, *others = in_order(three)
    old = ranged(bytes_of("old", len(FILE)), '"old"')
    first.on("/file", lambda asked, line: old(asked, line) if "if-range" not in asked.fields and len(first.asked()) == 1 else line.cut())
    for origin in others:
        origin.on("/file", ranged(FILE))
    report = get(tmp_path, *named(three), "/file")
    assert (tmp_path / "file").read_bytes() == FILE
    assert report["restarts_count"] >= 1


def test_a_peer_whose_parts_do_not_fit_their_digest(three: list[Origin], tmp_path: Path) -> None:
    *right, wrong = in_order(three)
    for origin in right:
        origin.on("/file", ranged(FILE))
    wrong.on("/file", ranged(bytes_of("bad", len(FILE)), spoil=True))
    report = get(tmp_path, *named(three), "/file")
    assert (tmp_path / "file").read_bytes() == FILE
    assert next(source["failures_count"] for source in report["sources"] if source["url"] == wrong.url) > 0


def test_peers_without_ranges(three: list[Origin], tmp_path: Path) -> None:
    for origin in three:
        origin.on("/file", whole(FILE, [("ETag", '"one"')]))
    assert get(tmp_path, *named(three), "/file")["bytes_peer"] == len(FILE)
    assert (tmp_path / "file").read_bytes() == FILE


def test_one_peer_that_forgot_ranges(three: list[Origin], tmp_path: Path) -> None:
    *right, plain = in_order(three)
    for origin in right:
        origin.on("/file", ranged(FILE))
    plain.on("/file", whole(FILE, [("ETag", '"one"')]))
    get(tmp_path, *named(three), "/file")
    assert (tmp_path / "file").read_bytes() == FILE


def test_peers_without_a_strong_validator_are_asked_one_by_one(three: list[Origin], tmp_path: Path) -> None:
    for origin in three:
        origin.on("/file", ranged(FILE, 'W/"weak"'))
    report = get(tmp_path, *named(three), "/file")
    assert (tmp_path / "file").read_bytes() == FILE
    assert sum(source["bytes"] > 0 for source in report["sources"]) == 1


def test_all_peers_gone_the_upstream_is_asked(three: list[Origin], nginx: Nginx, tmp_path: Path) -> None:
    path = nginx.put("last.bin", FILE)
    for origin in three:
        origin.on(path, lambda asked, line: line.cut())
    report = get(tmp_path, *named(three), nginx.url + path)
    assert (tmp_path / "last.bin").read_bytes() == FILE
    assert (report["bytes_peer"], report["bytes_upstream"]) == (0, len(FILE))


# What is said when it can't be


def test_not_there_refused_and_unreachable(nginx: Nginx, cluster: Cluster, origin: Origin, tmp_path: Path) -> None:
    assert "404" in get(tmp_path, "--manager", cluster.url, "/nowhere.bin", code=5)["error"]
    origin.on("/gone", status(410))
    origin.on("/secret", status(403))
    origin.on("/broken", status(503))
    assert "410" in get(tmp_path, f"{origin.url}/gone", code=5)["error"]
    assert "403" in get(tmp_path, f"{origin.url}/secret", code=6)["error"]
    assert "503" in get(tmp_path, f"{origin.url}/broken", code=7)["error"]
    nobody = f"http://127.0.0.1:{free_port()}"
    assert "refused" in get(tmp_path, f"{nobody}/x", code=7)["error"]
    assert "manager" in get(tmp_path, "--manager", nobody, "/x", code=7)["error"]
    assert left(tmp_path) == set()


def test_a_digest_that_does_not_fit(nginx: Nginx, cluster: Cluster, tmp_path: Path) -> None:
    big_file(nginx.root / "wrong.bin", 8 * MIB, seed="wrong")
    report = get(tmp_path, "--manager", cluster.url, "/wrong.bin", "--sha256", "00" * 32, code=8)
    assert report["sha256"] in report["error"]
    assert left(tmp_path) == set()


def test_what_can_not_be_meant(tmp_path: Path) -> None:
    for words in (["/path"], ["ftp://x/y"], ["http://x/y", "--sha256", "abc"], ["http://x/y", "--timeout", "soon"], ["http://x/"]):
        getting = Get(tmp_path, *words)
        assert getting.wait() == 2
        assert len(getting.stderr.splitlines()) == 1, getting.stderr


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    folder = tmp_path / "tiny"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no small file system here: {mounted.stderr.decode()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=False)


def test_a_full_disk(nginx: Nginx, cluster: Cluster, tiny_disk: Path, tmp_path: Path) -> None:
    big_file(nginx.root / "full.bin", 16 * MIB, seed="full")
    report = get(tmp_path, "--manager", cluster.url, "/full.bin", "-o", tiny_disk / "full.bin", code=9)
    assert "the disk is full" in report["error"]
    assert "full.bin.part" in left(tiny_disk)
    assert "full.bin" not in left(tiny_disk)


# Plain servers


@pytest.fixture
def origin(stage: Stage) -> Origin:
    return stage.origin()


@pytest.mark.parametrize("size", [20_000, LARGE], ids=["small", "large"])
def test_plain_nginx(nginx: Nginx, tmp_path: Path, size: int) -> None:
    digest = big_file(nginx.root / f"plain-{size}.bin", size, seed=str(size))
    nginx.forget()
    report = get(tmp_path, f"{nginx.url}/plain-{size}.bin", env={"http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"})
    assert sha256_of(tmp_path / f"plain-{size}.bin") == digest
    assert (report["bytes_upstream"], report["bytes_peer"]) == (size, 0)
    assert [row.status for row in nginx.settled_log(f"/plain-{size}.bin")] == [200], "one question, as any client asks it"


@pytest.mark.timeout(200)
def test_plain_nginx_goes_on_after_a_kill(stage: Stage, tmp_path: Path) -> None:
    nginx = stage.nginx(rate_bytes=4 * MIB)
    digest = big_file(nginx.root / "plain.bin", 16 * MIB, seed="plain")
    first = Get(tmp_path, f"{nginx.url}/plain.bin")
    eventually(lambda: saved_bytes(tmp_path / "plain.bin") >= 8 * MIB, "half of it", show=first.show)
    first.kill()
    report = get(tmp_path, f"{nginx.url}/plain.bin")
    assert sha256_of(tmp_path / "plain.bin") == digest == report["sha256"]
    assert report["bytes_upstream"] <= 8 * MIB


def test_another_file_under_the_same_url_is_begun_anew(stage: Stage, tmp_path: Path) -> None:
    nginx = stage.nginx(rate_bytes=4 * MIB)
    big_file(nginx.root / "plain.bin", 16 * MIB, seed="old")
    first = Get(tmp_path, f"{nginx.url}/plain.bin")
    eventually(lambda: saved_bytes(tmp_path / "plain.bin"), "something saved", show=first.show)
    first.kill()
    digest = big_file(nginx.root / "plain.bin", 12 * MIB, seed="new")
    os.utime(nginx.root / "plain.bin", (1e9, 1e9))
    assert get(tmp_path, f"{nginx.url}/plain.bin")["restarts_count"] == 1
    assert sha256_of(tmp_path / "plain.bin") == digest


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


def test_a_server_without_ranges(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    digest = big_file(tmp_path / "site" / "file.bin", 8 * MIB)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=tmp_path / "site")) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        get(tmp_path, f"http://127.0.0.1:{server.server_port}/file.bin")
        server.shutdown()
    assert sha256_of(tmp_path / "file.bin") == digest


def test_lengths_that_nobody_tells(origin: Origin, tmp_path: Path) -> None:
    body = bytes_of("lengthless", 300_000)
    origin.on("/chunked", lengthless(body, chunked=True))
    origin.on("/closed", lengthless(body, chunked=False))
    for name in ("chunked", "closed"):
        assert get(tmp_path, f"{origin.url}/{name}")["sha256"] == sha256(body)


def resumable(body: bytes, after: int, *, etag: str = '"one"') -> Any:
    """Breaks off after so many bytes of each answer; gives ranges, as far as If-Range allows."""

    def script(asked: Asked, line: Line) -> None:
        given = asked.fields.get("range")
        start = int(given.removeprefix("bytes=").partition("-")[0]) if given and asked.fields.get("if-range", etag) == etag else 0
        fields = [("ETag", etag), ("Accept-Ranges", "bytes")]
        if start:
            fields.append(("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}"))
        line.head(206 if start else 200, fields, length=len(body) - start)
        line.send(body[start : start + after])
        if start + after < len(body):
            line.cut()

    return script


def test_a_server_that_breaks_off_again_and_again(origin: Origin, tmp_path: Path) -> None:
    body = bytes_of("broken", 400_000)
    origin.on("/broken", resumable(body, 150_000))
    report = get(tmp_path, f"{origin.url}/broken")
    assert (tmp_path / "broken").read_bytes() == body
    assert (report["bytes_upstream"], report["retries_count"], report["restarts_count"]) == (400_000, 2, 0)


def test_one_that_never_gets_on_is_given_up(origin: Origin, tmp_path: Path) -> None:
    origin.on("/never", broken_off(bytes_of("never", 100_000), 0, [("ETag", '"x"')]))
    assert "before the end" in get(tmp_path, f"{origin.url}/never", code=7)["error"]
    assert left(tmp_path) == set()


def test_one_that_begins_anew_and_breaks_off_each_time_is_given_up(origin: Origin, tmp_path: Path) -> None:
    """Without a validator nothing can be gone on with: each try begins with the first byte, and gets no further."""
    origin.on("/anew", broken_off(bytes_of("anew", 100_000), 50_000))
    report = get(tmp_path, f"{origin.url}/anew", code=7)
    assert "before the end" in report["error"]
    assert len(origin.asked("/anew")) <= 6


def test_a_digest_that_the_server_says(origin: Origin, tmp_path: Path) -> None:
    origin.on("/lie", whole(b"truth", [("Repr-Digest", "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:")]))
    assert "Repr-Digest" in get(tmp_path, f"{origin.url}/lie", code=8)["error"]
    assert left(tmp_path) == set()


def test_redirects_are_followed(origin: Origin, nginx: Nginx, tmp_path: Path) -> None:
    nginx.put("there.bin", b"there")
    origin.on("/here", whole(b"", [("Location", f"{nginx.url}/there.bin")], status=302))
    origin.on("/round", whole(b"", [("Location", "/round")], status=307))
    get(tmp_path, f"{origin.url}/here")
    assert (tmp_path / "here").read_bytes() == b"there"
    assert "redirects" in get(tmp_path, f"{origin.url}/round", code=7)["error"]
    origin.on("/nowhere", whole(b"", [("Location", "http://[")], status=302))
    assert "leads nowhere" in get(tmp_path, f"{origin.url}/nowhere", code=7)["error"]
