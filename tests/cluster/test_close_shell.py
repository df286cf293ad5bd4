"""The two closes, apart from caching and membership: real signals at a process whose role is a fake.

Times are bounds that the program promises (cold: a second) or generous deadlines, never measurements.
"""

from __future__ import annotations

import os
import pty
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kit.asking import ask, open_answer
from tests.kit.ports import can_connect
from tests.kit.process import Process
from tests.kit.program import environment
from tests.kit.waiting import eventually

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has other signals")
INT, TERM, QUIT, HUP = signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP
COLD = 130
Start = Callable[..., Process]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Process] = []

    def begin(*, ready: bool = True, **env: str) -> Process:
        env.setdefault("FAKE_GATE", str(tmp_path / "gate"))
        script = Path(__file__).with_name("fake_node.py")
        process = Process(f"node{len(started)}", [sys.executable, script], tmp_path, env=environment(env))
        started.append(process)
        process.wait_printed("ready at" if ready else "starting")
        return process

    yield begin
    for process in started:
        process.kill()


def url_of(process: Process) -> str:
    return process.stdout.split("ready at ")[1].split()[0]


def open_gate(tmp_path: Path) -> None:
    (tmp_path / "gate").touch()


@pytest.mark.parametrize("path", ["/gated", "/_rpc/get"])
@pytest.mark.parametrize("number", [INT, TERM, HUP])
def test_warm_a_running_download_is_finished(start: Start, tmp_path: Path, number: signal.Signals, path: str) -> None:
    """A client's, or another peer's."""
    node = start()
    with open_answer(url_of(node), path) as answer:
        assert answer.read(5) == b"begun"
        node.signal(number)
        node.wait_printed("finishing 1 download; Ctrl-C again to stop now")
        eventually(lambda: not can_connect(int(url_of(node).rsplit(":")[-1])), "the door to be closed", show=node.show)
        assert node.is_running()
        open_gate(tmp_path)
        assert answer.rest() == b"ended"
    assert node.wait() == 0, node.show()
    assert node.stdout.index("left the list") < node.stdout.index("every download finished") < node.stdout.index("stopped")
    assert node.stderr == ""


def test_warm_who_was_just_sent_here_is_still_served(start: Start, tmp_path: Path) -> None:
    """And is told to go elsewhere with the next request."""
    node = start()
    with open_answer(url_of(node), "/gated") as running:
        running.read(5)
        node.signal(INT)
        node.wait_printed("left the list")
        late = ask(url_of(node), "/late")
        assert (late.status, late.body, late["Connection"]) == (200, b"begunended", "close")
        open_gate(tmp_path)
        running.rest()
    assert node.wait() == 0


def test_warm_idle_connections_and_followers_hold_nobody_up(start: Start) -> None:
    node = start()
    with socket.create_connection(("127.0.0.1", int(url_of(node).rsplit(":")[-1])), timeout=20) as idle:
        idle.sendall(b"GET /once HTTP/1.1\r\nHost: x\r\n\r\n")
        received = b""
        while not received.endswith(b"0\r\n\r\n"):
            received += idle.recv(4096)
        with open_answer(url_of(node), "/_follow") as follower:
            follower.read(5)
            node.signal(INT)
            assert node.wait() == 0, node.show()
            assert "no download is running" in node.stdout
        assert idle.recv(4096) == b""


def test_warm_has_an_end(start: Start) -> None:
    node = start(FAKE_DRAIN="0.2")
    with open_answer(url_of(node), "/gated") as stuck:
        stuck.read(5)
        node.signal(INT)
        assert node.wait() == 0, node.show()
        assert "1 download cut off" in node.stdout


def test_warm_goes_on_when_leaving_fails(start: Start) -> None:
    node = start(FAKE_LEAVE="fail")
    node.signal(TERM)
    assert node.wait() == 0, node.show()
    assert "teapot" in node.stderr and node.stderr.count("\n") == 1


def test_warm_a_thread_that_hangs_does_not_keep_the_process(start: Start) -> None:
    node = start(FAKE_STOP="hang")
    node.signal(TERM)
    assert node.wait() == 0, node.show()


@pytest.mark.parametrize("signals", [[INT, INT], [TERM, INT], [TERM, TERM], [HUP, INT], [QUIT], [INT, QUIT]])
def test_cold_within_a_second(start: Start, signals: list[signal.Signals]) -> None:
    node = start()
    with open_answer(url_of(node), "/gated") as stuck:
        stuck.read(5)
        for number in signals[:-1]:
            node.signal(number)
            node.wait_printed("Ctrl-C again to stop now")
        node.signal(signals[-1])
        assert node.wait(deadline_seconds=1.0) == COLD, node.show()
    assert "Traceback" not in node.output


@pytest.mark.parametrize("path", ["/spin", "/block"])
def test_cold_ends_a_loop_that_is_stuck(start: Start, path: str) -> None:
    node = start()
    with open_answer(url_of(node), path) as stuck:
        stuck.read(5)
        # The first has no effect that could be waited for: nothing runs but the signals' own thread.
        node.signal(INT)
        eventually(lambda: not _is_pending(node.pid, INT), "the first to be taken")
        node.signal(INT)
        assert node.wait(deadline_seconds=1.0) == COLD, node.show()


def _is_pending(pid: int, number: signal.Signals) -> bool:
    """Two of one kind at once would be one."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        pytest.skip("needs /proc")
    pending = next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("ShdPnd"))
    return bool(int(pending, 16) >> (number - 1) & 1)


@pytest.mark.parametrize(("signals", "code"), [([INT], 0), ([TERM], 0), ([QUIT], COLD)])
def test_a_signal_during_the_start(start: Start, signals: list[signal.Signals], code: int) -> None:
    node = start(ready=False, FAKE_START="wait")
    for number in signals:
        node.signal(number)
    assert node.wait(deadline_seconds=5) == code, node.show()
    assert "closed before it had started" in node.stdout
    assert node.stderr == ""


def test_an_error_of_the_application_is_one_line(start: Start) -> None:
    node = start()
    assert ask(url_of(node), "/error").status == 500
    node.wait_printed("ValueError: an error of the application")
    assert node.stderr.count("\n") == 1
    assert ask(url_of(node), "/fine").status == 200


def test_on_a_terminal_the_progress_is_one_line_that_changes(start: Start, tmp_path: Path) -> None:
    import subprocess

    master, slave = pty.openpty()
    env = environment({"FAKE_GATE": str(tmp_path / "gate")})
    node = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("fake_node.py")], stdin=slave, stdout=slave, stderr=slave, env=env, start_new_session=True
    )
    os.close(slave)
    seen = b""
    try:
        seen = _read_until(master, seen, b"\r\n", after=b"ready at ")
        url = seen.split(b"ready at ")[1].split()[0].decode()
        with open_answer(url, "/gated") as answer:
            answer.read(5)
            os.kill(node.pid, INT)
            seen = _read_until(master, seen, b"\r\x1b[Kfinishing 1 download; Ctrl-C again to stop now", after=b"")
            open_gate(tmp_path)
            assert answer.rest() == b"ended"
        seen = _read_until(master, seen, b"\r\x1b[Kclosed: every download finished", after=b"")
        assert node.wait(20) == 0
    finally:
        node.kill()
        node.wait(10)
        os.close(master)


def _read_until(master: int, seen: bytes, text: bytes, *, after: bytes) -> bytes:
    """Ends by the test's own deadline when the text never comes."""
    while text not in seen[seen.find(after) if after else 0 :] or after not in seen:
        seen += os.read(master, 4096)
    return seen
