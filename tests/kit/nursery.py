"""Processes of minicdn that need not import it first: they are forked from one that has.

Half of what a node's life costs in a test is Python's start and the import of all that it is made of, the same each time. Here one
process imports that and then does nothing but fork; the child gets the words, environment, folder and outputs that it would have been
started with, and runs the module as `python -m` does. It is a process of its own in all that tests do to it: signals, limits, files,
exit codes. Tests of the start itself start Python anew (`Process` without `is_forked`), and so does whoever changes what Python reads
at its start.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

MESSAGE_BYTES_MAX = 1 << 17
READ_AT_START = ("PYTHON", "LANG", "LC_", "LD_", "MALLOC_", "GLIBC_", "OPENSSL_", "TZ")
"""How the variables begin that have done their work when a child gets its environment."""


# In the tests


class Forked:
    """A child of the nursery, as subprocess.Popen shows its own. Until it is asked for its end, its pid is nobody else's."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self._nursery, self.pid = nursery, pid
        self.returncode: int | None = None
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        with self._lock:
            if self.returncode is None:
                self.returncode = self._nursery.ask({"reap": self.pid})["code"]
            return self.returncode

    def wait(self, timeout: float) -> int:
        if self.poll() is None:
            ending = os.pidfd_open(self.pid)
            try:
                select.select([ending], [], [], timeout)
            finally:
                os.close(ending)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
        return code


class Nursery:
    """It ends when its tests do, however they end: then nobody holds the other end of its socket."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = dict(env)
        self._lock = threading.Lock()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._popen = subprocess.Popen(
                [sys.executable, "-P", __file__, str(theirs.fileno())], pass_fds=[theirs.fileno()], env=self._env,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip

        atexit.register(self.close)

    def close(self) -> None:
        self._socket.close()
        self._popen.wait(20)

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            self._socket.send(json.dumps(question).encode())
            answer = self._socket.recv(MESSAGE_BYTES_MAX)
        assert answer, "the nursery has ended"
        return json.loads(answer)

    def start(self, command: Sequence[str], *, env: Mapping[str, str], cwd: Path, out: Path, err: Path) -> Forked:
        question = {"words": list(command), "env": dict(env), "cwd": str(cwd), "out": str(out), "err": str(err)}
        return Forked(self, self.ask(question)["pid"])

    def can_start(self, command: Sequence[str], env: Mapping[str, str]) -> bool:
        """A token among the words is Python's to take away, by starting anew."""
        differs = {name for name in {*env, *self._env} if env.get(name) != self._env.get(name)}
        return (
            list(command[:2]) == [sys.executable, "-m"]
            and not any(word.split("=")[0] == "--token" for word in command)
            and not any(name.startswith(READ_AT_START) for name in differs)
        )


_nurseries: list[Nursery] = []
_making = threading.Lock()


def nursery_for(command: Sequence[str], env: Mapping[str, str]) -> Nursery | None:
    """This run's, if it can start that; None where a process that has imported much can't well be forked (macOS, Windows)."""
    if sys.platform != "linux":
        return None
    with _making:
        if not _nurseries:
            _nurseries.append(Nursery({name: value for name, value in env.items() if not name.startswith("MINICDN_")}))
    return _nurseries[0] if _nurseries[0].can_start(command, env) else None


# In the nursery


def _import_all() -> None:
    """What a node and `minicdn get` import in their course; a test would only be slower without one of these."""
    from minicdn import announce, benching, cli, explain, getting, listener, server, workers  # noqa: F401
    from minicdn.get import command  # noqa: F401
    from minicdn.loops import loop_factory
    from minicdn.roles import manager, peer  # noqa: F401
    from minicdn.web import app, protocol  # noqa: F401

    protocol.protocol_class()
    loop_factory()


def _fork(tests: socket.socket) -> dict[str, Any] | None:
    """In each child: what it is to be. In the nursery: None, when the tests have ended."""
    while question := tests.recv(MESSAGE_BYTES_MAX):
        asked = json.loads(question)
        if "reap" in asked:
            ended, status = os.waitpid(asked["reap"], os.WNOHANG)
            answer = {"code": os.waitstatus_to_exitcode(status) if ended else None}
        else:
            pid = os.fork()
            if not pid:
                tests.close()
                return asked
            answer = {"pid": pid}
        tests.send(json.dumps(answer).encode())
    return None


def _become(asked: dict[str, Any]) -> None:
    os.setsid()
    for number, path in ((1, asked["out"]), (2, asked["err"])):
        file = os.open(path, os.O_WRONLY)
        os.dup2(file, number)
        os.close(file)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    sys.orig_argv[:] = asked["words"]
    sys.argv[1:] = asked["words"][3:]
    gc.enable()
    runpy.run_module(asked["words"][2], run_name="__main__", alter_sys=True)


def main() -> None:
    tests = socket.socket(fileno=int(sys.argv[1]))
    gc.disable()
    _import_all()
    gc.freeze()  # what is never looked at is never copied
    signal.signal(signal.SIGINT, signal.default_int_handler)
    asked = _fork(tests)
    if asked is not None:
        _become(asked)


if __name__ == "__main__":
    main()
