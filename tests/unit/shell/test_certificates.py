from __future__ import annotations

import os
import ssl
import sys
from pathlib import Path

import pytest

from minicdn.cli import run
from minicdn.closing import Closing
from minicdn.errors import OperatorError, UsageError
from minicdn.wire.tls import file_fingerprint, listening

pytest.importorskip("cryptography")


def make(folder: Path, name: str = "node", *hosts: str) -> str:
    from minicdn.certificates import make as make_certificate

    return make_certificate(folder, name, hosts)


def handshake(folder: Path, name: str, host: str) -> None:
    """A client that trusts the folder's authority meets a node with that certificate."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    trusting = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    client = trusting.wrap_bio(to_client, to_server, server_hostname=host)
    server = listening(folder / f"{name}.pem", folder / f"{name}-key.pem").wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass
    assert client.version()


def test_a_client_that_trusts_the_authority_trusts_all_nodes_of_the_folder(tmp_path: Path) -> None:
    told = make(tmp_path, "one", "files.local", "10.0.0.5", "::1")
    make(tmp_path, "two", "other.local")
    for name, host in (("one", "files.local"), ("one", "10.0.0.5"), ("one", "::1"), ("two", "other.local")):
        handshake(tmp_path, name, host)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tmp_path, "two", "files.local")
    assert file_fingerprint(tmp_path / "one.pem") in told


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_keys_are_nobody_elses(tmp_path: Path) -> None:
    make(tmp_path)
    assert {path.name for path in tmp_path.iterdir() if path.stat().st_mode & 0o077 == 0} == {"node-key.pem", "ca-key.pem"}


def test_nothing_is_written_over(tmp_path: Path) -> None:
    make(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(OperatorError, match="is there already"):
        make(tmp_path)
    assert before == {path: path.read_bytes() for path in tmp_path.iterdir()}


@pytest.mark.parametrize(("name", "host"), [("ca", "a"), ("../x", "a"), ("x", "http://a"), ("x", "a b"), ("x", "ä")])
def test_names_that_are_none(name: str, host: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        make(tmp_path, name, host)
    assert not list(tmp_path.iterdir())


def test_without_the_package_one_line_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.delitem(sys.modules, "minicdn.certificates", raising=False)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    assert run(["cert", "--out", str(tmp_path)], Closing()) == 1
    assert "pip install 'minicdn[cert]'" in capsys.readouterr().err


@pytest.mark.parametrize("lines", ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_certificate_that_will_not_do_is_one_line(lines: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "cert.pem").write_text(lines)
    words = ["manager", "--upstream", "http://up.example", "--port", "0", "--host", "127.0.0.1", "--cache-dir", str(tmp_path / "cache")]
    assert run([*words, "--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "none.pem")], Closing()) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "--tls-cert" in error


def test_files_that_hold_something_else_are_said_to(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "other.pem").write_text("0123456789abcdef\n")
    words = ["manager", "--upstream", "http://up.example", "--port", "0", "--host", "127.0.0.1", "--cache-dir", str(tmp_path / "cache")]
    assert run([*words, "--tls-cert", str(tmp_path / "other.pem"), "--tls-key", str(tmp_path / "other.pem")], Closing()) == 2
    assert "no certificate" in capsys.readouterr().err
