"""A child process whose whole output is kept, and which is ended by its own pid."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.kit.nursery import Forked, nursery_for
from tests.kit.waiting import eventually


class Process:
    """Started at once; stdout and stderr go to files, so that no pipe can fill up and block it."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        folder: Path,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        is_forked: bool = False,
    ) -> None:
        """is_forked: minicdn, in a test that is not about its start: it may come from the nursery."""
        self.name = name
        folder.mkdir(parents=True, exist_ok=True)
        self._stdout, self._stderr = folder / f"{name}.stdout", folder / f"{name}.stderr"
        with self._stdout.open("wb") as out, self._stderr.open("wb") as err:
            words = [str(word) for word in command]
            nursery = nursery_for(words, env) if is_forked and env is not None else None
            self._popen: subprocess.Popen[bytes] | Forked
            if nursery is not None:
                self._popen = nursery.start(words, env=env or {}, cwd=cwd or Path.cwd(), out=self._stdout, err=self._stderr)
                return
            # A session of its own: a Ctrl-C at the test runner must not reach it twice, and tests signal its pid alone.
            self._popen = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=env, cwd=cwd, start_new_session=True
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def stdout(self) -> str:
        return self._stdout.read_text("utf-8", "replace")

    @property
    def stderr(self) -> str:
        return self._stderr.read_text("utf-8", "replace")

    @property
    def output(self) -> str:
        return self.stdout + self.stderr

    def show(self) -> str:
        """Its last lines, for a failure's message."""
        state = "running" if self.is_running() else f"ended with {self._popen.returncode}"
        return f"--- {self.name} (pid {self.pid}, {state})\n{self.output[-3000:]}"

    def is_running(self) -> bool:
        return self._popen.poll() is None

    def signal(self, number: signal.Signals) -> None:
        if self.is_running():
            os.kill(self.pid, number)

    def wait(self, *, deadline_seconds: float = 20.0) -> int:
        """Its exit code; killed by signal n is −n."""
        try:
            return self._popen.wait(deadline_seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end within {deadline_seconds:g} s\n{self.show()}") from None

    def wait_printed(self, text: str, *, deadline_seconds: float = 20.0) -> None:
        eventually(lambda: text in self.output, f"{self.name} to print {text!r}", deadline_seconds=deadline_seconds, show=self.show)

    def kill(self) -> None:
        """The crash: no chance to clean up. Fine for one that has ended."""
        self.signal(signal.SIGKILL)
        self._popen.wait(10)
