"""What facts of a machine mean for a node that is to run on it."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest

from minicdn.doctor import here
from minicdn.doctor.cluster import Health
from minicdn.doctor.finding import FAIL, OK, WARN
from minicdn.doctor.here import Folder, Port
from minicdn.doctor.look_here import examine_machine, look_at_folder
from minicdn.settings import GIB, MIB, Settings

MANAGER = Settings(upstream="http://up.example")
PEER = Settings(role="peer", manager="http://manager.example:11000", port=11001)
NEW = {"httptools": "0.7.1", "uvloop": "0.22.1", "httpx": "0.28.1"}


def health(role: str) -> Health:
    return Health(role, "1", "0.1.0", True, "ready", "", "", False, None)


@pytest.mark.parametrize(
    ("packages", "is_windows", "state", "words"),
    [
        (NEW, False, OK, "uvloop 0.22.1"),
        ({**NEW, "uvloop": None}, True, OK, "httptools 0.7.1"),
        ({**NEW, "uvloop": None}, False, WARN, "without uvloop"),
        ({**NEW, "httptools": None}, True, WARN, "without httptools"),
        ({**NEW, "httpx": "0.9.4"}, False, FAIL, "httpx 0.9.4, needed 0.28"),
    ],
)
def test_python(packages: dict[str, str | None], is_windows: bool, state: str, words: str) -> None:
    found = here.python("3.12.1", "0.1.0", packages, {"httpx": "0.28"}, is_windows=is_windows)
    assert (found.state, words in found.seen, bool(found.advice)) == (state, True, state != OK)


@pytest.mark.parametrize(("have", "wanted", "is_older"), [("1.9", "1.10", True), ("1.1.0", "1.1", False), ("2024.7.4", "2024.7", False)])
def test_versions_are_numbers(have: str, wanted: str, is_older: bool) -> None:
    assert here.is_older(have, wanted) is is_older


@pytest.mark.parametrize(
    ("limit", "wanted", "state"),
    [(None, 0, OK), (65536, 0, OK), (256, 0, WARN), (65536, 30_000, OK), (20_000, 30_000, WARN), (None, 30_000, OK)],
)
def test_open_files(limit: int | None, wanted: int, state: str) -> None:
    found = here.files(limit, replace(MANAGER, connections_max=wanted))
    assert found.state == state
    assert state == OK or "ulimit -n" in found.advice


@pytest.mark.parametrize(
    ("room", "state"), [(None, OK), ((8 * GIB, 16 * GIB), OK), ((300 * MIB, 16 * GIB), WARN), ((300 * MIB, 400 * MIB), FAIL)]
)
def test_memory(room: tuple[int, int] | None, state: str) -> None:
    assert here.memory(room, MANAGER).state == state


@pytest.mark.parametrize(
    ("settings", "url", "is_guessed", "state"),
    [
        (MANAGER, "http://10.0.0.5:11000", True, OK),
        (MANAGER, "http://127.0.0.1:11000", True, WARN),
        (replace(MANAGER, host="127.0.0.1"), "http://127.0.0.1:11000", False, WARN),
        (replace(MANAGER, host="127.0.0.1", advertise="http://cdn.example"), "http://cdn.example", False, OK),
        (replace(MANAGER, advertise="http://localhost:11000"), "http://localhost:11000", False, WARN),
    ],
)
def test_the_address(settings: Settings, url: str, is_guessed: bool, state: str) -> None:
    found = here.address(settings, url, [], is_guessed=is_guessed)
    assert (found.state, url in found.seen) == (state, True)


def test_other_networks_are_named_where_the_address_is_a_guess() -> None:
    assert "172.17.0.1" in here.address(MANAGER, "http://10.0.0.5:11000", ["172.17.0.1"], is_guessed=True).seen
    assert "172.17.0.1" not in here.address(MANAGER, "http://10.0.0.5:11000", ["172.17.0.1"], is_guessed=False).seen


@pytest.mark.parametrize(
    ("port", "settings", "may_take_next", "state", "words"),
    [
        (Port(), MANAGER, False, OK, "free"),
        (Port("port 80 may not be used by this user"), MANAGER, False, FAIL, "may not be used"),
        (Port("taken", True, health("manager")), MANAGER, False, OK, "a minicdn manager (0.1.0, ready) runs there"),
        (Port("taken", True, health("peer")), MANAGER, False, FAIL, "a minicdn peer"),
        (Port("taken", True, health("manager")), PEER, True, OK, "would take the next free port"),
        (Port("taken", True, None, "nginx"), MANAGER, False, FAIL, "another program (nginx) listens there"),
        (Port("taken", True, None, "nginx"), PEER, True, OK, "would take the next free port"),
        (Port("taken", True, is_mute=True), PEER, False, FAIL, "does not answer"),
    ],
)
def test_the_port(port: Port, settings: Settings, may_take_next: bool, state: str, words: str) -> None:
    found = here.port(port, settings, may_take_next=may_take_next)
    assert (found.check, found.state, words in found.seen) == (f"port {settings.port}", state, True), found


ROOMY = Folder("/c", None, False, 100 * GIB, 0, "ext4")


@pytest.mark.parametrize(
    ("folder", "disk", "state", "words"),
    [
        (ROOMY, 20 * GIB, OK, "100 GiB free"),
        (replace(ROOMY, trouble="Permission denied"), 20 * GIB, FAIL, "Permission denied"),
        (replace(ROOMY, is_held=True), 20 * GIB, FAIL, "in use by another minicdn"),
        (replace(ROOMY, free_bytes=10 * MIB), 20 * GIB, FAIL, "the disk is full"),
        (replace(ROOMY, free_bytes=10 * MIB, used_bytes=20 * GIB), 20 * GIB, OK, "20 GiB used by the cache"),
        (replace(ROOMY, free_bytes=9 * GIB), 20 * GIB, WARN, "9 GiB free"),
        (replace(ROOMY, kind="tmpfs"), 20 * GIB, WARN, "in memory (tmpfs)"),
        (replace(ROOMY, kind="nfs4"), 20 * GIB, WARN, "network drive"),
        (replace(ROOMY, free_bytes=0, kind="tmpfs"), 0, OK, "nothing is kept there"),
        (Folder("/c"), 20 * GIB, OK, "/c"),
    ],
)
def test_the_cache_folder(folder: Folder, disk: int, state: str, words: str) -> None:
    found = here.folder(folder, replace(MANAGER, disk_bytes=disk), runs_here=False)
    assert (found.state, words in found.seen) == (state, True), found


def test_the_folder_of_the_node_on_the_port_is_its_own() -> None:
    assert here.folder(replace(ROOMY, is_held=True), MANAGER, runs_here=True).state == OK


def test_nothing_is_left_in_a_folder_or_made_where_none_was(tmp_path: Path) -> None:
    found = look_at_folder(tmp_path / "not" / "there")
    assert (found.trouble, found.free_bytes is not None) == (None, True)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_bytes(b"")
    assert "no folder" in str(look_at_folder(tmp_path / "file" / "cache").trouble)


def test_what_the_cache_holds_is_counted(tmp_path: Path) -> None:
    (tmp_path / "objects").mkdir()
    (tmp_path / "objects" / "one").write_bytes(bytes(300_000))
    assert 250_000 < (look_at_folder(tmp_path).used_bytes or 0) < 400_000


@pytest.mark.parametrize(
    ("token", "file", "mode", "state"),
    [
        (None, None, None, OK),
        ("t" * 20, None, None, OK),
        ("t" * 20, "/t", 0o600, OK),
        ("t" * 20, "/t", 0o640, WARN),
        ("t" * 20, "/t", 0o602, WARN),
        ("t" * 20, "/t", None, OK),
    ],
)
def test_the_token(token: str | None, file: str | None, mode: int | None, state: str) -> None:
    found = here.token(replace(MANAGER, token=token, token_file=file), mode)
    assert found.state == state
    assert "t" * 20 not in found.seen + found.advice
    assert token is None or "20 characters" in found.seen


URL = "http://10.0.0.5:11000"


@pytest.mark.parametrize(
    ("environ", "urls", "state"),
    [
        ({}, [URL], OK),
        ({"http_proxy": ""}, [URL], OK),
        ({"http_proxy": "http://proxy:3128"}, [], OK),
        ({"http_proxy": "http://proxy:3128"}, [URL], WARN),
        ({"HTTPS_PROXY": "proxy:3128"}, [URL], WARN),
        ({"http_proxy": "http://proxy:3128", "no_proxy": "localhost,10.0.0.5"}, [URL], OK),
        ({"http_proxy": "http://proxy:3128", "no_proxy": "*"}, [URL], OK),
        ({"http_proxy": "http://proxy:3128", "NO_PROXY": "example.com"}, ["http://files.example.com/"], OK),
        ({"http_proxy": "http://[", "no_proxy": "x"}, [URL], WARN),
    ],
)
def test_proxies(environ: dict[str, str], urls: list[str], state: str) -> None:
    assert here.proxies(environ, urls).state == state


def test_a_proxys_password_is_not_shown() -> None:
    found = here.proxies({"http_proxy": "http://me:secret@proxy.example:3128"}, [URL])
    assert "secret" not in found.seen + found.advice
    assert "proxy.example" in found.seen


def test_a_folder_that_can_not_even_be_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert look_at_folder(tmp_path / ("a" * 300)).trouble == "File name too long"

    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "exists", refuse)
    assert look_at_folder(tmp_path / "cache").trouble == "Permission denied"


def test_the_executable_of_one_file_knows_what_it_brings(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the modules, but not the folders in which packages' versions are written."""

    def unknown(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    pytest.importorskip("httptools")
    pytest.importorskip("uvloop")
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(metadata, "version", unknown)
    found = next(finding for finding in examine_machine({}, []) if finding.check == "python")
    assert (found.state, "httptools" in found.seen) == (OK, True)
