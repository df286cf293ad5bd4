"""Starting: what is printed, what is wrong and how it is said, and where options may come from."""

from __future__ import annotations

import os
import re
import socket
import sys
from pathlib import Path

import pytest

from tests.kit.clients import Ran, run
from tests.kit.ports import free_port
from tests.kit.program import command_line, environment
from tests.kit.stage import Stage
from tests.kit.waiting import eventually

USAGE, PORT_TAKEN, CACHE_FOLDER = 2, 3, 4
UPSTREAM = "http://127.0.0.1:9"


def minicdn(*words: str, folder: Path, env: dict[str, str] | None = None) -> Ran:
    """Run it to its end, which must come by itself."""
    return run(sys.executable, "-m", "minicdn", *words, cwd=folder, env=environment(env), deadline_seconds=20)


def assert_one_line(ran: Ran, code: int) -> str:
    assert ran.code == code, ran.output
    lines = [line for line in ran.output.splitlines() if line.strip()]
    assert len(lines) == 1, ran.output
    assert "Traceback" not in ran.output
    return lines[0]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["manager"], "--upstream"),
        (["manager", "--upstream", "ftp://example.com"], "upstream"),
        (["manager", "--upstream", "http://"], "upstream"),
        (["manager", "--upstream", "no url at all"], "upstream"),
        (["manager", "--upstream", "http://host:port/"], "upstream"),
        (["manager", "--upstream", UPSTREAM, "--no-such-option"], "--no-such-option"),
        (["manager", "--upstream", UPSTREAM, "--memory", "12bananas"], "--memory"),
        (["manager", "--upstream", UPSTREAM, "--memory", "-5"], "--memory"),
        (["manager", "--upstream", UPSTREAM, "--port", "99999"], "--port"),
        (["manager", "--upstream", UPSTREAM, "--port", "http"], "--port"),
        (["peer"], "--manager"),
        (["peer", "--manager", "10.0.0.1"], "manager"),
        (["frobnicate"], "frobnicate"),
    ],
)
def test_a_wrong_option_is_one_line_that_names_it(tmp_path: Path, words: list[str], names: str) -> None:
    assert names in assert_one_line(minicdn(*words, folder=tmp_path), USAGE)


def test_a_taken_port_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for words in (["manager", "--upstream", UPSTREAM], ["peer", "--manager", UPSTREAM]):
            options = ["--host", "127.0.0.1", "--port", str(port), "--cache-dir", str(tmp_path / "cache")]
            assert str(port) in assert_one_line(minicdn(*words, *options, folder=tmp_path), PORT_TAKEN)


def test_an_unusable_cache_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        words = ["manager", "--upstream", UPSTREAM, "--host", "127.0.0.1", "--port", "0", "--cache-dir", str(folder)]
        assert str(folder) in assert_one_line(minicdn(*words, folder=tmp_path), CACHE_FOLDER)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is unwritable for root")
def test_an_unwritable_cache_folder_is_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    words = ["manager", "--upstream", UPSTREAM, "--host", "127.0.0.1", "--port", "0", "--cache-dir", str(folder)]
    assert str(folder) in assert_one_line(minicdn(*words, folder=tmp_path), CACHE_FOLDER)


def test_one_node_per_cache_folder(stage: Stage) -> None:
    manager = stage.manager(UPSTREAM)
    words = ["manager", "--upstream", UPSTREAM, "--host", "127.0.0.1", "--port", "0", "--cache-dir", str(manager.cache_dir)]
    assert str(manager.cache_dir) in assert_one_line(minicdn(*words, folder=stage.folder), CACHE_FOLDER)
    assert manager.is_ready()


def test_a_manager_says_where_what_and_how_to_join(stage: Stage) -> None:
    manager = stage.manager(UPSTREAM, memory="33MiB", disk="3GiB")
    for text in (manager.url, UPSTREAM, "33 MiB", "3 GiB", f"minicdn peer --manager {manager.url}", "Ctrl-C"):
        assert re.sub(r"(\d) ?([KMG]iB)", r"\1\2", text) in re.sub(r"(\d) ?([KMG]iB)", r"\1\2", manager.stdout), text
    assert manager.stderr == ""


def test_a_manager_starts_while_its_upstream_is_away(stage: Stage) -> None:
    assert stage.manager(UPSTREAM).is_ready()


def test_port_zero_finds_a_port_and_prints_it(stage: Stage) -> None:
    manager = stage.start("manager", upstream=UPSTREAM, port=0)
    assert manager.wait_ready().port > 0


def printed_port(stage: Stage, *, flag: int | None = None, env: int | None = None, file: int | None = None) -> int:
    """The port that a manager takes when its options come from these places."""
    folder = stage._subfolder("places")
    folder.mkdir()
    if file is not None:
        (folder / "minicdn.toml").write_text(f'host = "127.0.0.1"\n[manager]\nupstream = "{UPSTREAM}"\nport = {file}\n')
    variables = {"MINICDN_UPSTREAM": UPSTREAM, "MINICDN_HOST": "127.0.0.1"} if file is None else {}
    if env is not None:
        variables["MINICDN_PORT"] = str(env)
    from tests.kit.process import Process

    words = command_line("manager", port=flag, cache_dir=folder / "cache")
    node = Process("places", words, folder, env=environment(variables), cwd=folder)
    stage.callback(node.kill)
    found = eventually(lambda: re.search(r"http://127\.0\.0\.1:(\d+)", node.stdout), "its address", show=node.show)
    return int(found[1])


def test_flag_goes_before_environment_before_file(stage: Stage) -> None:
    one, two, three, four = (free_port() for _ in range(4))
    assert printed_port(stage, flag=one, env=two, file=three) == one
    assert printed_port(stage, env=two, file=three) == two
    assert printed_port(stage, file=three) == three
    assert printed_port(stage, env=four) == four


def test_a_wrong_environment_or_file_is_one_line_too(tmp_path: Path) -> None:
    line = assert_one_line(minicdn("manager", "--upstream", UPSTREAM, folder=tmp_path, env={"MINICDN_MEMORY": "lots"}), USAGE)
    assert "MINICDN_MEMORY" in line
    for text in ("memory = ", "no-such-key = 1", "port = 'x'"):
        (tmp_path / "minicdn.toml").write_text(text)
        assert "minicdn.toml" in assert_one_line(minicdn("manager", "--upstream", UPSTREAM, folder=tmp_path), USAGE)


def test_help_and_version(tmp_path: Path) -> None:
    for words in (["--help"], ["manager", "--help"], ["peer", "--help"], ["--version"]):
        ran = minicdn(*words, folder=tmp_path)
        assert ran.code == 0, ran.output
    assert "--upstream" in minicdn("manager", "--help", folder=tmp_path).output
    assert "--manager" in minicdn("peer", "--help", folder=tmp_path).output
