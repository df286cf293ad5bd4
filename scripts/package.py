"""Makes minicdn one file that runs without Python:  python3 scripts/package.py [FOLDER]

The file, FOLDER/minicdn (minicdn.exe), is for machines like the one that makes it: the same system and processor, and on Linux a C library
that is not older. It is made in an environment of its own, build/package, and tried at the end: it says its version, serves a file through
a manager and a peer, and closes by a signal. FOLDER is dist, where none is given.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import venv
from contextlib import ExitStack
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parents[1]
ENTRY = "from minicdn.__main__ import main\n\nmain()\n"
START_SECONDS, CLOSE_SECONDS = 60.0, 20.0


def main(folder: Path) -> int:
    build = ROOT / "build" / "package"
    python = environment(build / "venv")
    made = make(python, build, folder)
    try_out(made)
    print(f"{made}: {made.stat().st_size / 2**20:.0f} MiB, tried")
    return 0


def environment(folder: Path) -> Path:
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        venv.create(folder, with_pip=True, clear=True)
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, "--force-reinstall", "--no-deps", ROOT], check=True)
    subprocess.run([*pip, f"{ROOT}[cert,package]"], check=True)
    return python


def make(python: Path, build: Path, folder: Path) -> Path:
    entry = build / "entry.py"
    entry.write_text(ENTRY)
    command = [python, "-m", "PyInstaller", "--onefile", "--noconfirm", "--log-level", "ERROR", "--name", "minicdn"]
    folders = ["--distpath", folder, "--workpath", build / "work", "--specpath", build]
    subprocess.run([*command, *folders, "--collect-submodules", "minicdn", "--copy-metadata", "minicdn", entry], check=True)
    shutil.rmtree(build / "work", ignore_errors=True)
    return folder / ("minicdn.exe" if os.name == "nt" else "minicdn")


def try_out(made: Path) -> None:
    """Raises where it does not do what it is for."""
    with ExitStack() as ends:
        folder = Path(ends.enter_context(tempfile.TemporaryDirectory()))
        content = os.urandom(3_000_000)
        (folder / "www").mkdir()
        (folder / "www" / "file.bin").write_bytes(content)
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder / "www")))
        Thread(target=server.serve_forever, daemon=True).start()
        ends.callback(server.shutdown)

        def start(role: str, *words: str) -> tuple[subprocess.Popen[str], str]:
            command = [made, role, *words, "--host", "127.0.0.1", "--port", "0", "--cache-dir", folder / role]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            ends.callback(process.kill)
            assert process.stdout is not None
            return process, process.stdout.readline().rpartition(" ")[2].strip()

        manager, manager_url = start("manager", "--upstream", f"http://127.0.0.1:{server.server_port}")
        peer, _ = start("peer", "--manager", manager_url)
        ends_at = time.monotonic() + START_SECONDS
        while b'"url"' not in urlopen(f"{manager_url}/_peers", timeout=10).read().partition(b"unreachable")[0]:
            if time.monotonic() > ends_at:
                raise SystemExit("the peer is not in the manager's list")
            time.sleep(0.1)
        with urlopen(f"{manager_url}/file.bin", timeout=30) as answer:
            if answer.read() != content or answer.url.startswith(manager_url):
                raise SystemExit("the file did not come whole from the peer")
        if os.name == "posix":
            for process in (peer, manager):
                process.send_signal(signal.SIGINT)
                if process.wait(CLOSE_SECONDS) != 0:
                    raise SystemExit("a signal did not close it warm")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "dist").resolve()))
