"""The set-up of a clone, with pip and venv replaced by a few lines; tests/cluster/test_first_start.py does it for real."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).parents[3] / "scripts"


@pytest.fixture
def setup() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_venv", SCRIPTS / "make_venv.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Steps:
    """make_environment and install, as a list of what was called. `failing`: raises at that step, once."""

    def __init__(self, module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[str] = []
        self.failing: BaseException | None = None
        monkeypatch.setattr(module, "make_environment", self._make_environment)
        monkeypatch.setattr(module, "install", self._install)

    def _make_environment(self, venv: Path) -> None:
        self.done.append("environment")
        (venv / "bin").mkdir(exist_ok=True)
        (venv / "bin" / "python").unlink(missing_ok=True)
        os.symlink(sys.executable, venv / "bin" / "python")

    def _install(self, root: Path, venv: Path, extra: str) -> None:
        self.done.append(f"install {extra}".strip())
        if self.failing:
            error, self.failing = self.failing, None
            raise error


@pytest.fixture
def steps(setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Steps:
    return Steps(setup, monkeypatch)


pytestmark = pytest.mark.skipif(os.name != "posix", reason="symbolic links to a Python")


def test_once(setup: ModuleType, steps: Steps, tmp_path: Path) -> None:
    assert setup.main(tmp_path, f"{tmp_path} 1") == 0
    assert setup.main(tmp_path, f"{tmp_path} 1") == 0
    assert steps.done == ["environment", "install"]
    assert (tmp_path / ".venv" / ".stamp").read_text() == f"{tmp_path} 1\n"


def test_newer_needs_are_installed_into_the_environment_that_is_there(setup: ModuleType, steps: Steps, tmp_path: Path) -> None:
    setup.main(tmp_path, f"{tmp_path} 1")
    setup.main(tmp_path, f"{tmp_path} 2")
    setup.main(tmp_path, f"{tmp_path} 2", "test")
    assert steps.done == ["environment", "install", "install", "install test"]


def test_a_folder_that_has_moved_is_set_up_anew(setup: ModuleType, steps: Steps, tmp_path: Path) -> None:
    setup.main(tmp_path, "/elsewhere 1")
    setup.main(tmp_path, f"{tmp_path} 1")
    assert steps.done == ["environment", "install"] * 2


def test_a_python_that_is_gone_is_replaced(setup: ModuleType, steps: Steps, tmp_path: Path) -> None:
    setup.main(tmp_path, f"{tmp_path} 1")
    (tmp_path / ".venv" / "bin" / "python").unlink()
    os.symlink("/no/such/python", tmp_path / ".venv" / "bin" / "python")
    setup.main(tmp_path, f"{tmp_path} 1")
    assert steps.done == ["environment", "install"] * 2


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (OSError(28, "No space left on device"), 1)])
def test_an_interrupted_set_up_is_begun_again(setup, steps: Steps, tmp_path: Path, capsys, error: BaseException, code: int) -> None:
    steps.failing = error
    assert setup.main(tmp_path, f"{tmp_path} 1") == code
    assert not (tmp_path / ".venv" / ".stamp").exists()
    assert capsys.readouterr().err.splitlines()[-1].startswith("minicdn: ")
    assert setup.main(tmp_path, f"{tmp_path} 1") == 0
    assert steps.done == ["environment", "install"] * 2


def test_the_wipe_spares_the_lock_alone(setup: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import venv

    monkeypatch.setattr(venv, "create", lambda *_args, **_options: None)
    (tmp_path / "lib").mkdir()
    for name in ("lib/half", ".stamp-old", setup.LOCK):
        (tmp_path / name).touch()
    os.symlink(tmp_path / "lib", tmp_path / "lib64")
    setup.make_environment(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [setup.LOCK]


def test_a_python_without_venv_is_told_how_to_get_it(setup: ModuleType, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    assert setup.main(tmp_path, f"{tmp_path} 1") == 1
    assert "python3-venv" in capsys.readouterr().err.splitlines()[-1]


def test_a_second_set_up_waits_for_the_first(tmp_path: Path) -> None:
    """The lock is the system's: it is gone with the process that held it."""
    code = f"""
import sys; sys.path.insert(0, {str(SCRIPTS)!r})
import make_venv
from pathlib import Path
make_venv.make_environment = lambda venv: print("environment", flush=True) or sys.stdin.readline()
make_venv.install = lambda *_: None
make_venv.python_of = lambda venv: Path(sys.executable)
sys.exit(make_venv.main(Path({str(tmp_path)!r}), {f"{tmp_path} 1"!r}))
"""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    killed = subprocess.Popen([sys.executable, "-c", code], **pipes)
    assert killed.stdout.readline() == "environment\n"
    second = subprocess.Popen([sys.executable, "-c", code], **pipes)
    assert "waiting" in second.stderr.readline()
    killed.kill()
    killed.communicate(timeout=30)
    assert second.stdout.readline() == "environment\n"
    third = subprocess.Popen([sys.executable, "-c", code], **pipes)
    assert "waiting" in third.stderr.readline()
    second.communicate("go on\n", timeout=30)
    out, _ = third.communicate(timeout=30)
    assert (second.returncode, third.returncode, out) == (0, 0, "")
