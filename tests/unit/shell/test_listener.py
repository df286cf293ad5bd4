from __future__ import annotations

import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from minicdn.announce import start_lines
from minicdn.errors import OperatorError, PortTaken, UsageError
from minicdn.listener import NEXT_PORTS_MAX, open_listener, raise_file_limit
from minicdn.settings import Settings
from minicdn.wire.tls import file_fingerprint


def test_a_taken_port_is_said_at_once() -> None:
    with open_listener("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(PortTaken, match=str(port)):
            open_listener("127.0.0.1", port)


def test_the_socket_accepts_from_the_start() -> None:
    with open_listener("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname(), timeout=5):
        connection, _ = listener.accept()
        connection.close()


def test_the_next_port_is_looked_for_only_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    tried = []

    def refuse(family: int, address: tuple) -> socket.socket:
        tried.append(address[1])
        raise OSError(errno.EADDRINUSE, "taken")

    monkeypatch.setattr("minicdn.listener._listen", refuse)
    with pytest.raises(PortTaken):
        open_listener("127.0.0.1", 65500, may_take_next=True)
    assert tried == list(range(65500, 65536))
    tried.clear()
    with pytest.raises(PortTaken):
        open_listener("127.0.0.1", 2000, may_take_next=True)
    assert tried == list(range(2000, 2001 + NEXT_PORTS_MAX))


def test_a_closed_port_can_be_taken_again_at_once() -> None:
    listener = open_listener("127.0.0.1", 0)
    address = listener.getsockname()
    with socket.create_connection(address, timeout=5):
        listener.accept()[0].close()
        listener.close()
    open_listener("127.0.0.1", address[1]).close()


@pytest.mark.parametrize("host", ["no.such.host.invalid", "203.0.113.7", "a" * 300])
def test_a_host_that_is_not_ours(host: str) -> None:
    with pytest.raises(UsageError, match="--host"):
        open_listener(host, 0)


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_all_of_ipv6_is_all_of_ipv4_too() -> None:
    try:
        listener = open_listener("::", 0)
    except OperatorError:
        pytest.skip("IPv6 is switched off here")
    with listener, socket.create_connection(("127.0.0.1", listener.getsockname()[1]), timeout=5):
        pass


@pytest.mark.skipif(os.name != "posix", reason="no such limit on Windows")
def test_the_file_limit_is_raised() -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    low = 256 if soft == resource.RLIM_INFINITY or soft > 256 else soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (low, hard))
    try:
        raise_file_limit()
        now = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert now[0] > low or low == hard
        assert now[1] == hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_start_says_what_a_person_needs() -> None:
    manager = Settings(role="manager", upstream="http://up.example", host="10.0.0.5", cache_dir="/cache")  # type: ignore[arg-type]
    lines = start_lines(manager)
    assert "  minicdn peer --manager http://10.0.0.5:11000" in lines
    for word in ("http://up.example", "256MiB", "20GiB", "4MiB", "/cache", "Ctrl-C"):
        assert any(word in line for line in lines)
    assert not any("this machine only" in line for line in lines)
    local = Settings(role="manager", upstream="http://up.example", host="127.0.0.1")
    assert any("this machine only" in line for line in start_lines(local))
    peer = Settings(role="peer", manager="http://10.0.0.5:11000", host="10.0.0.6", port=11001)
    assert start_lines(peer)[0].endswith("peer at http://10.0.0.6:11001")
    assert any("http://10.0.0.5:11000" in line for line in start_lines(peer))


TOKEN, LOUD = "correct-horse-battery", "WITHOUT A TOKEN"


def test_a_start_without_a_token_says_what_is_open() -> None:
    for role in (Settings(role="manager", upstream="http://up.example"), Settings(role="peer", manager="http://10.0.0.5:11000")):
        (line,) = [line for line in start_lines(role) if LOUD in line]
        assert "purge" in line and "--token-file" in line
        assert not any(LOUD in line for line in start_lines(replace(role, token=TOKEN)))


def test_the_line_for_colleagues_has_all_but_the_token(tmp_path: Path) -> None:
    make = pytest.importorskip("minicdn.certificates").make
    make(tmp_path, "node", ["10.0.0.5"])
    cert, key = str(tmp_path / "node.pem"), str(tmp_path / "node-key.pem")
    manager = Settings(role="manager", upstream="http://up.example", host="10.0.0.5", token=TOKEN, tls_cert=cert, tls_key=key)
    lines = start_lines(manager)
    words = f"--fingerprint {file_fingerprint(cert)} --tls-cert CERT --tls-key KEY --token-file FILE"
    assert f"  minicdn peer --manager https://10.0.0.5:11000 {words}" in lines
    assert TOKEN not in "\n".join(lines)
