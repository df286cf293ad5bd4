"""`minicdn doctor`, as a person types it: each trouble is found and named, and what is in order is not complained about."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from minicdn import __version__, cli
from minicdn.closing import Closing
from tests.kit.cluster import Cluster
from tests.kit.files import bytes_of
from tests.kit.origin import Asked, Line, Script, lengthless, ranged, status, whole
from tests.kit.ports import free_port
from tests.kit.process import Process
from tests.kit.program import environment
from tests.kit.stage import Stage

FAILED = 10
KEPT = ("Cache-Control", "max-age=3600")
Findings = dict[str, dict[str, str]]


@pytest.fixture(autouse=True)
def quiet_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings and proxies of the runner's are not this machine's."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("MINICDN_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


@pytest.fixture
def doctor(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, Findings]]:
    """In this process, which saves its start: the exit code and the findings by their check."""

    def run(*words: object) -> tuple[int, Findings]:
        code = cli.run(["doctor", "--json", *map(str, words)], Closing())
        out, err = capsys.readouterr()
        assert not err
        found = json.loads(out)
        for each in found:
            assert set(each) == {"check", "state", "seen", "advice"}
            assert bool(each["advice"]) == (each["state"] != "ok"), each
            assert "\n" not in each["seen"] + each["advice"]
        assert code == (FAILED if any(each["state"] == "FAIL" for each in found) else 0)
        return code, {each["check"]: each for each in found}

    return run


Doctor = Callable[..., tuple[int, Findings]]


def complaints(found: Findings) -> dict[str, str]:
    return {check: each["state"] for check, each in found.items() if each["state"] != "ok"}


# A cluster


def test_a_healthy_cluster_and_a_good_file_and_then_troubles(stage: Stage, doctor: Doctor) -> None:
    """As it is typed, in a process of its own; and again when a peer has died and another is frozen."""
    nginx = stage.nginx()
    path = nginx.put("big.iso", bytes_of("big", 100_000))
    os.utime(nginx.root / "big.iso", (1_600_000_000, 1_600_000_000))
    cluster = stage.cluster(nginx.url, peers=3, window="60s")
    words = ["--manager", cluster.url, "--upstream", nginx.url + path]
    running = Process("doctor", [sys.executable, "-m", "minicdn", "doctor", *words], stage.folder, env=environment(), cwd=stage.folder)
    assert running.wait() == 0, running.show()
    *lines, last = running.stdout.splitlines()
    assert last == f"0 failed, 0 warnings, {len(lines)} ok"
    assert all(line.startswith("ok    ") for line in lines)
    for words in (
        f"ok    manager: {cluster.url}: minicdn {__version__}, ready, serves {nginx.url}, 3 peers, in ",
        "ok    manager clock: its clock agrees",
        "ok    cluster token: the cluster has none",
        *(f"ok    peer {peer.url}: {__version__}, ready, in " for peer in cluster.peers),
        f"ok    upstream: {nginx.url}/big.iso answers 200 in ",
        "ok    length: 100000 bytes",
        "ok    parts: a part was asked for and came (206)",
        "ok    validators: ETag and Last-Modified",
        "ok    cacheable: kept, fresh for 24 h",
    ):
        assert sum(line.startswith(words) for line in lines) == 1, running.stdout
    assert len(nginx.settled_log(path)) == 3
    assert cluster.manager.stats()["requests_count"] == 0, "to look is not to ask for content"
    good, dead, frozen = cluster.peers
    dead.kill()
    frozen.signal(signal.SIGSTOP)
    _, found = doctor("--manager", cluster.url)
    assert complaints(found) == {f"peer {dead.url}": "FAIL", f"peer {frozen.url}": "FAIL"}
    assert "connection refused" in found[f"peer {dead.url}"]["seen"]
    assert "no answer within 3 s; the manager heard of it" in found[f"peer {frozen.url}"]["seen"]
    assert found[f"peer {good.url}"]["state"] == "ok"


def test_the_token(stage: Stage, doctor: Doctor, tmp_path: Path) -> None:
    (tmp_path / "right").write_text("0123456789abcdef-right\n")
    (tmp_path / "wrong").write_text("0123456789abcdef-wrong\n")
    manager, open_one = stage.manager(stage.origin().url, token_file=tmp_path / "right"), stage.manager(stage.origin().url)
    assert doctor("--manager", manager.url, "--token-file", "right")[1]["cluster token"]["seen"] == "the manager has the same"
    wrong = doctor("--manager", manager.url, "--token-file", "wrong")[1]["cluster token"]
    assert (wrong["state"], "signed with another token" in wrong["seen"]) == ("FAIL", True)
    refused = manager.stats()["refusals_count"]
    without = doctor("--manager", manager.url)[1]["cluster token"]
    assert (without["state"], "--token-file" in without["seen"]) == ("ok", True)
    assert manager.stats()["refusals_count"] == refused, "who has none does not knock"
    _, found = doctor("--manager", open_one.url, "--token-file", "right")
    assert (found["cluster token"]["state"], found["peers"]["state"]) == ("FAIL", "warn")


def test_a_cluster_with_certificates(stage: Stage, doctor: Doctor) -> None:
    pytest.importorskip("cryptography")
    from minicdn.certificates import make
    from minicdn.wire.tls import file_fingerprint

    folder = stage.folder / "certs"
    for name in ("manager", "peer"):
        make(folder, name, ["127.0.0.1"])
    pins = {name: file_fingerprint(folder / f"{name}.pem") for name in ("manager", "peer")}

    def files(name: str) -> dict[str, Any]:
        return {"tls_cert": folder / f"{name}.pem", "tls_key": folder / f"{name}-key.pem"}

    with Cluster(stage.folder / "tls", stage.origin().url, peers=0, **files("manager")) as cluster:
        cluster.start_peer("peer", fingerprint=pins["manager"], **files("peer"))
        cluster.wait_agreed()
        code, found = doctor("--manager", cluster.url, "--fingerprint", pins["manager"])
        assert (code, complaints(found)) == (0, {})
        assert found[f"peer {cluster.peers[0].url}"]["state"] == "ok"
        _, found = doctor("--manager", cluster.url, "--fingerprint", pins["peer"])
        assert pins["manager"] in found["manager"]["seen"] and "fingerprint" in found["manager"]["advice"]
        _, found = doctor("--manager", cluster.url)
        assert "not to be trusted" in found["manager"]["seen"] and "--fingerprint" in found["manager"]["advice"]
        _, found = doctor("--manager", cluster.url.replace("https", "http"))
        assert "https://" in found["manager"]["advice"]


def health(**more: Any) -> bytes:
    import time

    said = {
        "role": "manager",
        "id": "m",
        "ready": True,
        "state": "ready",
        "version": __version__,
        "upstream": "http://up",
        "has_token": False,
    }
    return json.dumps({**said, "clock_at": time.time(), **more}).encode()


def listed(urls: list[str], **more: Any) -> bytes:
    return json.dumps({"epoch": "1.1", "peers": [{"url": url, "id": "p", "seen_seconds": 1.0} for url in urls], **more}).encode()


def test_what_a_list_may_hold(stage: Stage, doctor: Doctor) -> None:
    """A manager of a few lines, and peers that are something else, older, behind, not ready, or known to be out of reach."""
    origin, other, old, late = stage.origin(), stage.origin(), stage.origin(), stage.origin()
    old.on("/_health", whole(health(role="peer", id="p", version="0.0.1")))
    late.on("/_health", whole(health(role="peer", id="p", clock_at=1e9)))
    away = {"url": "http://10.9.9.9:11001", "id": "q", "reason": "no answer within 3 s"}
    more = [{**away, "url": f"http://10.9.8.{number}:11001"} for number in range(40)]
    origin.on("/_health", whole(health()))
    origin.on("/_peers", whole(listed([other.url, old.url, late.url], unreachable=[away])))
    _, found = doctor("--manager", origin.url)
    named = {f"peer {other.url}": "FAIL", f"peer {old.url}": "warn", f"peer {late.url}": "warn", "peer http://10.9.9.9:11001": "FAIL"}
    assert complaints(found) == named
    assert "another program" in found[f"peer {other.url}"]["seen"]
    assert "0.0.1" in found[f"peer {old.url}"]["seen"]
    assert "days behind" in found[f"peer {late.url}"]["seen"]
    assert "port 11001" in found["peer http://10.9.9.9:11001"]["advice"]
    origin.on("/_peers", whole(listed([old.url], unreachable=more)))
    assert "8 more" in doctor("--manager", origin.url)[1]["peers"]["seen"], "nobody is left out without a word"


def test_a_clock_that_is_wrong_where_there_is_a_token(stage: Stage, doctor: Doctor) -> None:
    origin = stage.origin()
    origin.on("/_health", whole(health(clock_at=1e9, has_token=True, version="9.9")))
    origin.on("/_peers", whole(listed([])))
    _, found = doctor("--manager", origin.url)
    assert complaints(found) == {"manager clock": "FAIL", "version": "warn", "peers": "warn"}


def test_of_thousands_some_are_asked(stage: Stage, doctor: Doctor) -> None:
    origin = stage.origin()
    gone = free_port()
    origin.on("/_health", whole(health()))
    origin.on("/_peers", whole(listed([f"http://127.0.{number // 250}.{number % 250 + 1}:{gone}" for number in range(4096)])))
    _, found = doctor("--manager", origin.url)
    assert found["peers"]["seen"] == "4096 are listed; 256 of them, drawn by lot, are asked"
    assert sum(check.startswith("peer ") for check in found) == 256
    peer = stage.origin()
    peer.on("/_health", whole(health(role="peer", id="p")))
    with_port = [f"http://127.0.0.{number}:{gone}" for number in range(1, 40)]
    origin.on("/_peers", whole(listed([*with_port, peer.url])))
    _, found = doctor("--manager", origin.url)
    assert found["peers asked"]["seen"].startswith("1 of 40 asked answer")
    assert sum(check.startswith("peer ") for check in found) == 39


def absurd(data: bytes) -> Script:
    def script(_: Asked, line: Line) -> None:
        line.send(data)
        line.cut()

    return script


ANSWERS = {
    "no HTTP": absurd(b"\xff\xfe\x00 hello\r\n\r\n"),
    "nothing": absurd(b""),
    "half a head": absurd(b"HTTP/1.1 200 OK\r\nServ"),
    "no number": absurd(b"HTTP/1.1 abc OK\r\n\r\n"),
    "a long head": absurd(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 500_000),
    "a body that breaks off": absurd(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"),
    "another encoding": whole(b"\xff\xfe\xfd", [("Server", "\x1b[31mI am \xe4\xf6")]),
    "brackets": whole(b"[" * 50_000),
    "no text": whole(b'{"role": 7, "id": []}'),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_absurd_server_is_one_clear_line(stage: Stage, doctor: Doctor, name: str) -> None:
    origin = stage.origin()
    origin.on("/_health", ANSWERS[name])
    _, found = doctor("--manager", origin.url)
    assert complaints(found) == {"manager": "FAIL"} and len(found) == 1
    assert found["manager"]["seen"].isprintable() and origin.url in found["manager"]["seen"]


def test_nobody_there(doctor: Doctor) -> None:
    for flag in ("--manager", "--upstream"):
        _, found = doctor(flag, f"http://127.0.0.1:{free_port()}")
        assert [each["state"] for each in found.values()] == ["FAIL"]
        assert "connection refused" in found[flag[2:]]["seen"]
        _, found = doctor(flag, "http://no-such-host.invalid:11000")
        assert "does not resolve" in found[flag[2:]]["seen"]


# An upstream

BODY = b"x" * 3000


def lying(_: Asked, line: Line) -> None:
    line.head(206 if "range" in _.fields else 200, [("Content-Range", "bytes 5-9/10"), ("ETag", '"1"'), KEPT], length=5)
    line.send(b"fghij")


def moody(asked: Asked, line: Line) -> None:
    """Another ETag each time."""
    moody_tag = f'"{id(asked)}-{len(asked.fields)}"'
    line.head(200, [("ETag", moody_tag), KEPT], length=1)
    line.send(b"x")


@pytest.mark.parametrize(
    ("script", "wanted"),
    [
        (whole(BODY, [("ETag", '"1"'), KEPT]), {"parts": "warn", "validators": "warn"}),
        (ranged(BODY, fields=[("Cache-Control", "no-store")]), {"cacheable": "FAIL", "validators": "warn"}),
        (whole(BODY, [KEPT]), {"parts": "warn", "validators": "warn"}),
        (whole(BODY, [("ETag", 'W/"1"'), KEPT]), {"parts": "warn", "validators": "warn"}),
        (whole(BODY), {"parts": "warn", "validators": "warn", "cacheable": "FAIL"}),
        (lengthless(BODY, [("ETag", '"1"'), KEPT], chunked=True), {"length": "warn", "parts": "warn", "validators": "warn"}),
        (lying, {"parts": "FAIL", "validators": "warn"}),
        (moody, {"parts": "warn", "validators": "warn"}),
        (status(404), {"file": "FAIL"}),
        (status(503), {"upstream": "FAIL"}),
    ],
    ids=["no ranges", "no-store", "no validators", "weak", "bare", "no length", "wrong part", "moody", "404", "503"],
)
def test_each_trouble_of_a_file_is_found(stage: Stage, doctor: Doctor, script: Script, wanted: dict[str, str]) -> None:
    origin = stage.origin()
    _, found = doctor("--upstream", origin.url + origin.on("/x.bin", script))
    assert complaints(found) == {"upstream clock": "warn", **wanted}, "and this origin sends no Date"


def test_redirects_are_followed_and_said(stage: Stage, doctor: Doctor) -> None:
    origin, other = stage.origin(), stage.origin()
    origin.on("/x", status(302, fields=[("Location", other.url + "/y")]))
    other.on("/y", ranged(BODY, fields=[KEPT]))
    _, found = doctor("--upstream", origin.url + "/x")
    assert (found["redirect"]["state"], other.url in found["redirect"]["seen"], found["parts"]["state"]) == ("warn", True, "ok")
    port = origin.url.rpartition(":")[2]
    origin.on("/there", status(302, fields=[("Location", f"http://LOCALHOST:{port}/z")]))
    origin.on("/z", ranged(BODY, fields=[KEPT]))
    _, found = doctor("--upstream", f"http://localhost:{port}/there")
    assert "past the cluster" not in found["redirect"]["advice"], "the same host, spelt otherwise"
    origin.on("/folder", status(301, fields=[("Location", "/folder/")]))
    origin.on("/folder/", whole(b"<html>"))
    assert "none was tried" in doctor("--upstream", origin.url + "/folder")[1]["file"]["seen"]
    origin.on("/round", status(302, fields=[("Location", "/round")]))
    code, found = doctor("--upstream", origin.url + "/round")
    assert (code, len(origin.asked("/round"))) == (FAILED, 1)
    assert "in a circle" in found["redirect"]["advice"]


@pytest.mark.parametrize("location", ["http://[", "http://127.0.0.1:99999/y", "ftp://127.0.0.1/y", "http://"])
def test_a_redirect_to_nowhere_is_one_clear_line(stage: Stage, doctor: Doctor, location: str) -> None:
    origin = stage.origin()
    origin.on("/x", status(302, fields=[("Location", location)]))
    code, found = doctor("--upstream", origin.url + "/x")
    assert (code, complaints(found)) == (FAILED, {"redirect": "FAIL"})
    origin.on("/away", status(302, fields=[("Location", "ftp://\xff/y")]))
    doctor("--upstream", origin.url + "/away")


class TlsServer:
    """Answers everybody with the same, by a certificate of the given authority."""

    def __init__(self, authority: Any, **how: Any) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1", **how).configure_cert(context)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._context = context
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            try:
                with self._context.wrap_socket(connection, server_side=True) as spoken:
                    spoken.recv(65536)
                    spoken.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            except OSError:
                pass

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    made = pytest.importorskip("trustme").CA()
    made.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return made


@pytest.mark.parametrize(
    ("days", "state", "words"), [(-3, "FAIL", "certificate has expired"), (5, "warn", "expires in"), (90, "ok", "days left")]
)
def test_an_upstreams_certificate(stage: Stage, doctor: Doctor, authority: Any, days: int, state: str, words: str) -> None:
    now = datetime.now(UTC)
    server = TlsServer(authority, not_before=now - timedelta(days=30), not_after=now + timedelta(days=days))
    stage.callback(server.close)
    _, found = doctor("--upstream", server.url)
    each = found["upstream" if days < 0 else "upstream certificate"]
    assert (each["state"], words in each["seen"]) == (state, True), found


# This machine


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, doctor: Doctor) -> Callable[..., Findings]:
    """Doctor with these settings in the environment, a free port and a folder of its own."""

    def look(*words: str, **settings: object) -> Findings:
        for name, value in {"host": "127.0.0.1", "port": free_port(), "cache_dir": tmp_path / "cache", "disk": "1MiB", **settings}.items():
            monkeypatch.setenv(f"MINICDN_{name.upper()}", str(value))
        return doctor(*words)[1]

    return look


Here = Callable[..., Findings]


def test_a_default_machine_has_nothing_to_complain_of(here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But where its disk, network or packages give reason: those are this test's runner's own."""
    monkeypatch.setattr("minicdn.doctor.here.IN_MEMORY", ())
    found = here(host="0.0.0.0")
    assert set(complaints(found)) <= {"address", "python", "memory", "open files"}
    assert "neither a manager nor a peer is set up here" in found["settings"]["seen"]
    assert not (tmp_path / "cache").exists(), "nothing is made"


def test_in_pure_python(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.kit.pure", "doctor"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path, env=environment(), check=False)
    assert done.stdout.startswith("warn  python: ") and "without httptools and uvloop" in done.stdout
    assert done.stderr == ""


def test_who_has_the_port(stage: Stage, here: Here) -> None:
    origin = stage.origin()
    manager = stage.manager(origin.url)
    own = {"upstream": origin.url, "port": manager.port, "cache_dir": manager.cache_dir}
    found = here(**own)
    assert (found[f"port {manager.port}"]["state"], found["cache folder"]["state"]) == ("ok", "ok")
    assert f"a minicdn manager ({__version__}, ready) runs there" in found[f"port {manager.port}"]["seen"]
    assert found["upstream"]["seen"].startswith(f"{origin.url}/ answers 404")
    elsewhere = here(**{**own, "port": free_port()})
    assert "in use by another minicdn" in elsewhere["cache folder"]["seen"]
    assert elsewhere["cache folder"]["state"] == "FAIL"
    program = here(upstream=origin.url, port=origin.port)[f"port {origin.port}"]
    assert (program["state"], "another program" in program["seen"]) == ("FAIL", True)


def test_a_program_that_says_nothing_has_the_port(here: Here) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        found = here(port=port, manager=f"http://127.0.0.1:{free_port()}")
    assert "does not answer" in found[f"port {port}"]["seen"]
    assert (found[f"port {port}"]["state"], found["manager"]["state"]) == ("FAIL", "FAIL")


@pytest.mark.parametrize(
    ("settings", "check", "state", "words"),
    [
        ({"cache_dir": "a-file/cache"}, "cache folder", "FAIL", "no folder"),
        ({"disk": "900T"}, "cache folder", "warn", "free"),
        ({"memory": "900T"}, "memory", "FAIL", "the node needs up to"),
        ({"host": "127.0.0.1"}, "address", "warn", "only programs on this machine"),
        ({"host": "10.255.255.254"}, "port", "FAIL", "not an address of this machine"),
        ({"max_connections": "10000000"}, "open files", "warn", "--max-connections says 10000000"),
        ({"token_file": "open-token"}, "token", "warn", "others on this machine"),
        ({"token_file": "short-token"}, "settings", "FAIL", "can be guessed"),
        ({"token_file": "no-token"}, "settings", "FAIL", "can't be read"),
        ({"tls_cert": "a-file", "tls_key": "a-file"}, "certificate", "FAIL", "no certificate in PEM"),
        ({"tls_cert": "nothing", "tls_key": "nothing"}, "certificate", "FAIL", "no such file"),
        ({"renew": "20s"}, "settings", "FAIL", "--window"),
    ],
)
@pytest.mark.skipif(os.name != "posix", reason="modes and limits of POSIX")
def test_each_trouble_of_a_machine_is_found(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], check: str, state: str, words: str
) -> None:
    monkeypatch.setattr("minicdn.doctor.here.IN_MEMORY", ())
    (tmp_path / "a-file").write_text("x")
    (tmp_path / "open-token").write_text("0123456789abcdef\n")
    (tmp_path / "open-token").chmod(0o644)
    (tmp_path / "short-token").write_text("short\n")
    found = here(upstream=f"http://127.0.0.1:{free_port()}", **settings)
    each = next(each for name, each in found.items() if name.startswith(check))
    assert (each["state"], words in each["seen"]) == (state, True), each


def test_ones_own_certificate(here: Here, tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    from minicdn.certificates import make

    make(tmp_path / "certs", "node", ["127.0.0.1", "files.local"])
    make(tmp_path / "certs", "other", ["127.0.0.1"])
    files = {"tls_cert": "certs/node.pem", "tls_key": "certs/node-key.pem"}
    found = here(upstream="http://127.0.0.1:1", **files)
    assert "800 days left, for 127.0.0.1, files.local" in found["certificate"]["seen"] and "certificate key" not in found
    (tmp_path / "certs/node-key.pem").chmod(0o644)
    found = here(upstream="http://127.0.0.1:1", advertise="https://cdn.example", **files)
    assert (found["certificate"]["state"], found["certificate key"]["state"]) == ("warn", "warn")
    found = here(upstream="http://127.0.0.1:1", **{**files, "tls_key": "certs/other-key.pem"})
    assert (found["certificate"]["state"], "mismatch" in found["certificate"]["seen"]) == ("FAIL", True)


def test_a_disk_that_takes_nothing(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    done = subprocess.run(
        [sys.executable, "-m", "minicdn", "doctor"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env=environment({"MINICDN_CACHE_DIR": str(tmp_path), "MINICDN_PORT": str(free_port())}),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)),
        check=False,
    )
    assert (done.returncode, done.stderr) == (FAILED, "")
    assert f"FAIL  cache folder: {tmp_path} can't be written: " in done.stdout


def test_a_file_of_options_and_the_manager_in_it(stage: Stage, doctor: Doctor, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("0123456789abcdef\n")
    manager = stage.manager(stage.origin().url, token_file=tmp_path / "token")
    (tmp_path / "minicdn.toml").write_text(f'[peer]\nmanager = "{manager.url}"\nport = {free_port()}\ncache-dir = "cache"\n')
    _, found = doctor()
    assert found["settings"]["seen"] == f"a peer of {manager.url}"
    assert found["manager"]["state"] == "ok"
    assert (found["cluster token"]["state"], "would not be let in" in found["cluster token"]["seen"]) == ("FAIL", True)
    _, found = doctor("--token-file", "token")
    assert found["cluster token"]["seen"] == "the manager has the same"


def test_a_ctrl_c_ends_it_with_what_was_found(stage: Stage) -> None:
    """In the middle of the peers, of whom one says nothing."""
    manager, mute, peer = stage.origin(), stage.origin(), stage.origin()
    gate = mute.gate()
    mute.on("/_health", lambda _, line: gate.wait())
    peer.on("/_health", whole(health(role="peer", id="p")))
    manager.on("/_health", whole(health()))
    manager.on("/_peers", whole(listed([mute.url, peer.url])))
    command = [sys.executable, "-u", "-m", "minicdn", "doctor", "--manager", manager.url]
    running = Process("doctor", command, stage.folder, env=environment(), cwd=stage.folder)
    running.wait_printed(f"peer {peer.url}")
    mute.wait_asked("/_health")
    running.signal(signal.SIGINT)
    assert running.wait() == 130, running.show()
    assert running.stdout.endswith("stopped before the end; so far 0 failed, 0 warnings, 4 ok\n")
    assert not running.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["--manager", "nonsense"],
        ["--upstream", "ftp://x"],
        ["--upstream", "http://x/a b"],
        ["--manager", "http://x", "--fingerprint", "abc"],
        ["--manager", "http://x", "--fingerprint", "ab" * 32],
        ["--fingerprint", "ab" * 32],
        ["--manager", "http://x", "--token-file", "nothing"],
        ["--config", "nothing"],
        ["extra"],
    ],
)
def test_wrong_words_are_one_line_and_exit_code_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["doctor", *words], Closing()) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1) and err.startswith("minicdn: ")
