"""The processes of a run: started in sessions of their own, ended by their own ids, and what each cost.

A Ctrl-C at the terminal reaches this program alone, which then ends them; if this program itself is killed, the kernel ends them.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

_TICKS = os.sysconf("SC_CLK_TCK")
_PR_SET_PDEATHSIG = 1


class Started:
    """A running process. `ended_at` is on the monotonic clock."""

    def __init__(self, name: str, words: Sequence[str], folder: Path, env: Mapping[str, str], *, is_told: bool = False) -> None:
        self.name = name
        self.out, self.err = folder / f"{name}.out", folder / f"{name}.err"
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self._popen = subprocess.Popen(
                list(words),
                stdin=subprocess.PIPE if is_told else subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=dict(env),
                cwd=folder,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        self.pid = self._popen.pid
        self.ended_at: float | None = None
        self._cpu_seconds = 0.0

    def tell(self, text: str) -> None:
        """Write to its standard input and close that."""
        assert self._popen.stdin
        with suppress(BrokenPipeError):
            self._popen.stdin.write(text.encode())
            self._popen.stdin.close()

    def is_running(self) -> bool:
        """Also takes note of its end."""
        if self.ended_at is not None:
            return False
        pid, status, usage = os.wait4(self.pid, os.WNOHANG)
        if pid:
            self._note_end(status, usage.ru_utime + usage.ru_stime)
        return not pid

    def _note_end(self, status: int, cpu_seconds: float) -> None:
        self.ended_at, self._cpu_seconds = time.monotonic(), cpu_seconds
        self._popen.returncode = os.waitstatus_to_exitcode(status)

    def cpu_seconds(self) -> float:
        """User and system time of the process and its children so far."""
        return tree_cpu_seconds(self.pid) if self.is_running() else self._cpu_seconds

    def kill(self) -> None:
        """The whole group at once: a shell and what it runs."""
        if self.is_running():
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            _, status, usage = os.wait4(self.pid, 0)
            self._note_end(status, usage.ru_utime + usage.ru_stime)

    def signal(self, number: signal.Signals) -> None:
        if self.is_running():
            os.kill(self.pid, number)

    def wait(self, deadline_seconds: float) -> bool:
        """Whether it ended in time."""
        end_at = time.monotonic() + deadline_seconds
        while self.is_running() and time.monotonic() < end_at:
            time.sleep(0.02)
        return not self.is_running()

    def said(self) -> str:
        """Its last words, on one line."""
        text = self.err.read_text("utf-8", "replace") or self.out.read_text("utf-8", "replace")
        return " / ".join(text.strip().splitlines()[-3:])


class Crew:
    """`with Crew(folder) as crew`: everything that it started is killed at the end."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self._folder, self._env = folder, env
        self.members: list[Started] = []

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for member in reversed(self.members):
            member.kill()

    def start(self, name: str, words: Sequence[str], *, is_told: bool = False, env: Mapping[str, str] | None = None) -> Started:
        started = Started(name, words, self._folder, {**self._env, **(env or {})}, is_told=is_told)
        self.members.append(started)
        return started

    def cpu_seconds(self) -> dict[str, float]:
        return {member.name: member.cpu_seconds() for member in self.members}


def wait_some(running: Iterable[Started], timeout_seconds: float) -> list[Started]:
    """Those that have ended, as soon as there is one; none after the timeout."""
    poll, watched = select.poll(), {}
    for process in running:
        watched[os.pidfd_open(process.pid)] = process
    for descriptor in watched:
        poll.register(descriptor, select.POLLIN)
    try:
        poll.poll(max(timeout_seconds, 0) * 1000)
    finally:
        for descriptor in watched:
            os.close(descriptor)
    return [process for process in watched.values() if not process.is_running()]


def tree_cpu_seconds(pid: int) -> float:
    """User and system time of a running process, of its children, and of those that it has waited for."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    columns = stat.rpartition(")")[2].split()
    return sum(int(column) for column in columns[11:15]) / _TICKS + sum(tree_cpu_seconds(int(child)) for child in children)


def machine_cpu_seconds() -> float:
    """Seconds that the machine's cores were busy, with whatever, interrupts included, since it started."""
    columns = [int(column) for column in Path("/proc/stat").read_text().partition("\n")[0].split()[1:8]]
    idle, iowait = columns[3], columns[4]
    return (sum(columns) - idle - iowait) / _TICKS


def wait_calm(deadline_seconds: float, *, share: float = 0.25) -> None:
    """Until the machine was busy for less than that share of two seconds, or the deadline."""
    end_at, cores = time.monotonic() + deadline_seconds, os.cpu_count() or 1
    while time.monotonic() < end_at:
        busy, began_at = machine_cpu_seconds(), time.monotonic()
        time.sleep(2)
        if machine_cpu_seconds() - busy < share * cores * (time.monotonic() - began_at):
            return


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
