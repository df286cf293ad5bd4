"""Real clients, run as a user runs them, and whole downloads that are hashed rather than kept."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

CURL_PARTIAL_FILE = 18
"""curl's exit code for a transfer that ended before its length."""


@dataclass(frozen=True)
class Ran:
    code: int
    output: str


def need(*programs: str) -> None:
    """Skip the test, naming the program that is not installed."""
    for program in programs:
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed here")


def run(*command: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None, deadline_seconds: float = 100.0) -> Ran:
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=deadline_seconds,
        check=False,
    )
    return Ran(done.returncode, done.stdout.decode("utf-8", "replace"))


def run_well(*command: str | Path, **options) -> str:
    """As `run`; anything but exit code 0 fails the test, with what the program said."""
    ran = run(*command, **options)
    assert ran.code == 0, f"{' '.join(map(str, command))}\nended with {ran.code}:\n{ran.output[-4000:]}"
    return ran.output


@dataclass(frozen=True)
class Got:
    """One download: curl's exit code, how many bytes, and their sha256."""

    code: int
    size_bytes: int
    sha256: str


class CurlDownload:
    """curl -L into a hash, running since construction."""

    def __init__(self, url: str, *options: str) -> None:
        command = ["curl", "-sS", "-L", "--fail", "--max-time", "280", *options, url]
        self._popen = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self._digest, self.size_bytes = hashlib.sha256(), 0

    def read_until(self, size_bytes: int) -> None:
        """Take the body up to this many bytes, or to its end."""
        assert self._popen.stdout
        while self.size_bytes < size_bytes and (block := self._popen.stdout.read1(min(1 << 20, size_bytes - self.size_bytes))):
            self._digest.update(block)
            self.size_bytes += len(block)

    def finish(self) -> Got:
        self.read_until(1 << 62)
        return Got(self._popen.wait(300), self.size_bytes, self._digest.hexdigest())

    def kill(self) -> None:
        self._popen.kill()
        self._popen.wait(10)

    @property
    def pid(self) -> int:
        return self._popen.pid


def download(url: str, *options: str) -> Got:
    return CurlDownload(url, *options).finish()


def download_all(urls: Sequence[str], *options: str) -> list[Got]:
    """One curl for each url, all running at once."""
    started = [CurlDownload(url, *options) for url in urls]
    with ThreadPoolExecutor(len(started)) as pool:
        return list(pool.map(CurlDownload.finish, started))
