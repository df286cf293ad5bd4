"""The command line up to the moment a node would start: exit codes, and one line for each mistake."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from minicdn import __version__, cli
from minicdn.closing import Closing
from minicdn.errors import CacheFolderUnusable, PortTaken

UP = ["manager", "--upstream", "http://up.example"]


def run(args: list[str]) -> int:
    """Signals stay the test runner's: nothing here calls Closing.listen."""
    return cli.run(args, Closing())


@pytest.fixture(autouse=True)
def quiet_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in __import__("os").environ if name.startswith("MINICDN_")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], ["manager --upstream URL", "peer --manager URL"]),
        (["mangaer"], ["mangaer"]),
        (["manager", "--prot", "1"], ["--prot", "minicdn manager --help"]),
        (["manager", "--port"], ["--port"]),
        (["manager", "extra", "--upstream", "http://up.example"], ["extra"]),
        (["manager"], ["--upstream URL"]),
        (["peer"], ["--manager URL"]),
        (["manager", "--upstream", "up.example"], ["--upstream", "http://up.example"]),
        (["manager", "--upstream", "http://up.example\nX"], ["--upstream"]),
        ([*UP, "--port", "70000"], ["--port", "65535"]),
        ([*UP, "--memory", "1 PiB"], ["--memory", "256MiB"]),
        ([*UP, "--heuristic=yes"], ["--heuristic"]),
        ([*UP, "--config", "no.toml"], ["no.toml", "--config"]),
        ([*UP, "--host", "no.such.host.invalid"], ["--host"]),
        (["peer", "--small", "1"], ["--small"]),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(args: list[str], words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert run(args) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("minicdn: ") and err.count("\n") == 1
    for word in words:
        assert word in err


@pytest.mark.parametrize("error", [PortTaken("port 1 is taken"), CacheFolderUnusable("can't write\n  there")])
def test_an_operators_error_keeps_its_code_and_its_one_line(error, monkeypatch, capfd) -> None:
    monkeypatch.setattr(cli, "_serve", _raiser(error))
    assert run([*UP, "--port", "0"]) == error.exit_code
    assert capfd.readouterr().err.count("\n") == 1


def test_our_own_mistake_is_one_line_too_and_says_how_to_report_it(monkeypatch, capfd) -> None:
    monkeypatch.setattr(cli, "_serve", _raiser(KeyError("oh\nno")))
    assert run([*UP, "--port", "0"]) == 70
    err = capfd.readouterr().err
    assert err.count("\n") == 1 and "MINICDN_DEBUG=1" in err and "KeyError" in err
    monkeypatch.setenv("MINICDN_DEBUG", "1")
    assert run([*UP, "--port", "0"]) == 70
    assert "Traceback" in capfd.readouterr().err


def test_an_interrupt_before_anything_started(monkeypatch, capfd) -> None:
    monkeypatch.setattr(cli, "_serve", _raiser(KeyboardInterrupt()))
    assert run([*UP, "--port", "0"]) == 130
    assert capfd.readouterr().err.strip() == "minicdn: stopped"


def _raiser(error: BaseException):
    def raise_it(*_args: object) -> int:
        raise error

    return raise_it


def test_a_second_peer_takes_the_next_port_and_its_own_folder(monkeypatch) -> None:
    from minicdn.listener import open_listener

    first = open_listener("127.0.0.1", 0)
    port = first.getsockname()[1]
    monkeypatch.setattr("minicdn.options.PEER_PORT", port)
    seen = []
    monkeypatch.setattr(cli, "_serve", lambda settings, listeners, *_: seen.append(settings) or listeners[0].close() or 0)
    assert run(["peer", "--manager", "http://manager:11000", "--host", "127.0.0.1"]) == 0
    assert port < seen[0].port <= port + 50
    assert seen[0].cache_dir.name == f"peer-{seen[0].port}"
    assert run(["peer", "--manager", "http://manager:11000", "--host", "127.0.0.1", "--port", str(port)]) == PortTaken.exit_code
    assert len(seen) == 1
    first.close()


def test_switches_reach_the_settings(monkeypatch) -> None:
    seen = []
    monkeypatch.setattr(cli, "_serve", lambda settings, listeners, *_: seen.append(settings) or listeners[0].close() or 0)
    assert run([*UP, "--port", "0", "--no-heuristic", "--no-obey-request-directives"]) == 0
    assert run([*UP, "--port", "0", "--heuristic"]) == 0
    assert [settings.heuristic for settings in seen] == [False, True]
    assert [settings.obey_request_directives for settings in seen] == [False, True]


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"minicdn {__version__}\n"
    for args in (["--help"], ["manager", "--help"], ["peer", "-h"]):
        assert run(args) == 0
        assert "Usage: minicdn" in capsys.readouterr().out


def test_help_needs_nothing_heavy() -> None:
    """--help answers at once, since only a start imports the server and its libraries."""
    code = (
        "import sys; from minicdn import cli; cli.run(['manager', '--help'], None);"
        "heavy = {'uvicorn', 'httpx', 'starlette', 'asyncio', 'uvloop', 'msgpack', 'cachetools', 'platformdirs'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=root, check=False)
    assert done.returncode == 0, done.stderr
