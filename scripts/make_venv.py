"""Makes or mends the clone's .venv:  make_venv.py ROOT STAMP [EXTRA]

Three things go wrong on other people's machines, and each has its answer here. Two first starts at once: the second waits
for a file lock, which the system drops when its holder dies, and then finds the work done. A set-up that was interrupted:
the stamp is removed first and written last, so the next start begins again from an empty folder. An environment that is
whole but older than pyproject.toml: only pip runs, since a node may be running from it at this moment.

EXTRA names an optional dependency group (`test`), which has a stamp of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

LOCK = ".lock"
VENV_ADVICE = "install it (Debian, Ubuntu: apt install python3-venv) and start again"


def main(root: Path, stamp: str, extra: str = "") -> int:
    venv = root / ".venv"
    stamp_file = venv / (f".stamp-{extra}" if extra else ".stamp")
    try:
        venv.mkdir(exist_ok=True)
        with (venv / LOCK).open("a+") as lock:
            wait_for(lock)
            if read(stamp_file) != stamp or not python_of(venv):
                set_up(root, venv, stamp_file, stamp, extra)
    except SetUpFailed as error:
        print(f"minicdn: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"minicdn: can't set up {venv}: {error}; make the folder writable, or install with pip (see README.md)", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("minicdn: set-up stopped; the next start begins it again", file=sys.stderr)
        return 130
    return 0


class SetUpFailed(Exception):
    pass


def wait_for(lock) -> None:
    if os.name == "posix":
        import fcntl

        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print("minicdn: another start is setting up; waiting for it ...", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        return
    import msvcrt  # waits ten seconds at a time

    while True:
        try:
            msvcrt.locking(lock.fileno(), msvcrt.LK_LOCK, 1)
            return
        except OSError:
            continue


def set_up(root: Path, venv: Path, stamp_file: Path, stamp: str, extra: str) -> None:
    is_whole = is_usable(root, venv)
    stamp_file.unlink(missing_ok=True)
    if not is_whole:
        print("minicdn: first start: setting up .venv, which takes a minute ...", file=sys.stderr)
        make_environment(venv)
    install(root, venv, extra)
    write_whole(stamp_file, stamp)


def is_usable(root: Path, venv: Path) -> bool:
    """A finished environment of this very folder whose Python still runs (the system's may have been replaced)."""
    stamps = [text for text in map(read, venv.glob(".stamp*")) if text]
    python = python_of(venv)
    if python is None or not any(text.startswith(f"{root} ") for text in stamps):
        return False
    return subprocess.run([python, "-c", "import pip"], capture_output=True, check=False).returncode == 0


def python_of(venv: Path) -> Path | None:
    return next((path for path in (venv / "bin" / "python", venv / "Scripts" / "python.exe") if path.exists()), None)


def make_environment(venv: Path) -> None:
    for path in venv.iterdir():
        if path.name != LOCK:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    try:
        import ensurepip
        import venv as venv_module
    except ImportError:
        raise SetUpFailed(f"{sys.executable} lacks the modules venv and ensurepip; {VENV_ADVICE}") from None
    del ensurepip
    try:
        venv_module.create(venv, with_pip=True, symlinks=os.name == "posix")
    except subprocess.CalledProcessError:
        raise SetUpFailed(f"{sys.executable} has no working ensurepip; {VENV_ADVICE}") from None


def install(root: Path, venv: Path, extra: str) -> None:
    target = f"{root}[{extra}]" if extra else str(root)
    log_file = venv / "setup.log"
    command = [python_of(venv), "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--editable", target]
    with log_file.open("w") as log:
        done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=root, check=False)
    if done.returncode:
        errors = [line for line in log_file.read_text(errors="replace").splitlines() if line.startswith("ERROR")]
        reason = " ".join(errors[0].split())[:300] if errors else f"pip ended with {done.returncode}"
        raise SetUpFailed(f"pip could not install what is needed ({reason}); see {log_file}, and start again")


def read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def write_whole(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(text + "\n")
    part.replace(path)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))
