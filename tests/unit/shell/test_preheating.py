"""`minicdn preheat` while it waits for the end."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from minicdn import preheating as module
from minicdn.console import Console
from minicdn.preheating import _wait
from minicdn.wire.looking import NoAnswer

RUNNING = {
    **{name: 0 for name in ("waiting_count", "loading_count", "done_count", "failed_count", "bytes", "seconds")},
    **{"id": "one", "state": "running", "nodes": [], "failures": []},
}


class FakeDoor:
    """A manager whose state is the next of `says`, the last one for ever."""

    def __init__(self, *says: Any) -> None:
        self._says = list(says)
        self.cancelled: list[str] = []

    def state(self, id: str, wait_seconds: float) -> dict[str, Any]:
        said = self._says.pop(0) if len(self._says) > 1 else self._says[0]
        if isinstance(said, BaseException):
            raise said
        return said

    def cancel(self, id: str) -> dict[str, Any]:
        self.cancelled.append(id)
        return {**RUNNING, "state": "cancelled"}


def wait(door: FakeDoor, seconds: float | None = None) -> tuple[str, bool]:
    found, is_stopped = _wait(door, RUNNING, Console(sys.stderr), seconds)  # type: ignore[arg-type]
    return found["state"], is_stopped


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.0)


def test_a_lost_connection_does_not_end_the_waiting() -> None:
    lost = NoAnswer("it can't be asked: timed out")
    assert wait(FakeDoor(lost, RUNNING, lost, lost, {**RUNNING, "state": "done"})) == ("done", False)


def test_a_manager_that_stays_away_or_refuses_does(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NoAnswer, match="no such preheat"):
        wait(FakeDoor(NoAnswer("no such preheat here", 404)))
    monkeypatch.setattr(module, "SILENCE_SECONDS", 0.01)
    with pytest.raises(NoAnswer, match="timed out"):
        wait(FakeDoor(NoAnswer("it can't be asked: timed out")))


def test_time_and_ctrl_c_cancel_it_meanwhile_too() -> None:
    door = FakeDoor(NoAnswer("it can't be asked: timed out"))
    assert wait(door, 0.01) == ("cancelled", False)
    door = FakeDoor(NoAnswer("it can't be asked: timed out"), KeyboardInterrupt())
    assert wait(door) == ("cancelled", True) and door.cancelled == ["one"]
