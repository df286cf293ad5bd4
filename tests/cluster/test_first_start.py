"""A fresh clone on a machine that knows nothing: its first start, twice at once, and those after it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from minicdn import __version__
from tests.kit.program import ROOT

pytestmark = [pytest.mark.skipif(os.name != "posix", reason="a POSIX shell's script"), pytest.mark.timeout(300)]


def clone(folder: Path) -> Path:
    """What a user gets, without history."""
    folder.mkdir()
    for name in ("minicdn", "scripts"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, folder)
    return folder


def begin(program: Path, *args: str, path: str | None = None) -> subprocess.Popen[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MINICDN_", "PYTHON", "VIRTUAL_ENV"))}
    if path is not None:
        env["PATH"] = path
    return subprocess.Popen(
        [program, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, cwd="/"
    )


def test_the_first_starts_of_a_clone(tmp_path: Path) -> None:
    folder = clone(tmp_path / "a clone")
    program = folder / "scripts" / "minicdn"
    both = [begin(program, "--version"), begin(program, "--version")]
    said = [one.communicate(timeout=280) for one in both]
    if any("pip could not install" in err for _, err in said):
        pytest.skip("no package index can be reached from here")
    assert [out for out, _ in said] == [f"minicdn {__version__}\n"] * 2, said
    assert sorted(err.count("\n") for _, err in said) == [1, 1]
    assert sum("setting up" in err and "first start" in err for _, err in said) == 1

    again = begin(program, "manager", "--upstream", "nonsense")
    out, err = again.communicate(timeout=60)
    assert (again.returncode, out, err.count("\n")) == (2, "", 1)
    assert "setting up" not in err

    # The source is used where it lies.
    (folder / "minicdn" / "__init__.py").write_text('__version__ = "9.9.9"\n')
    assert begin(program, "--version").communicate(timeout=60) == ("minicdn 9.9.9\n", "")

    # Python packages of the current folder are none of the program's business.
    stranger = tmp_path / "minicdn"
    stranger.mkdir()
    (stranger / "__main__.py").write_text("print('not this one')")
    done = subprocess.run([program, "--version"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "minicdn 9.9.9\n"


def test_a_machine_without_a_python_that_is_new_enough(tmp_path: Path) -> None:
    program = clone(tmp_path / "clone") / "scripts" / "minicdn"
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("dirname", "cksum", "sh"):
        (tools / name).symlink_to(shutil.which(name) or "")
    old = tools / "python3"
    old.write_text(f"#!/bin/sh\nexec '{sys.executable}' -c 'import sys; sys.exit(1)'\n")
    old.chmod(0o755)
    done = begin(program, "--version", path=str(tools))
    out, err = done.communicate(timeout=60)
    assert (done.returncode, out, err.count("\n")) == (1, "", 1)
    assert "3.11" in err
