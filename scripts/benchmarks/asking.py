"""Asking nodes, and waiting for what they say."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from scripts.benchmarks.processes import Started


class RunFailed(Exception):
    """A run that did not come to its end, and why."""


def ask(address: str, port: int, target: str, inside: AbstractContextManager | None = None) -> bytes | None:
    """The body of an answer to a GET, whatever its status; None where nobody answers. The socket is made `inside`."""
    connection = http.client.HTTPConnection(address, port, timeout=5)
    try:
        with inside or nullcontext():
            connection.connect()
        connection.request("GET", target)
        return connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def ask_json(address: str, port: int, target: str, inside: AbstractContextManager | None = None) -> dict[str, Any]:
    """The same as a map; empty where there is none."""
    try:
        found = json.loads(ask(address, port, target, inside) or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def wait_for(what: str, is_so: Callable[[], bool], by: Sequence[Started], *, deadline_seconds: float = 60.0) -> None:
    """RunFailed when the deadline passes, or when one of those that should bring it about has ended."""
    end_at = time.monotonic() + deadline_seconds
    while not is_so():
        ended = next((process for process in by if not process.is_running()), None)
        if ended is not None:
            raise RunFailed(f"{ended.name} ended: {ended.said()}")
        if time.monotonic() > end_at:
            raise RunFailed(f"waited {deadline_seconds:g} s for {what}")
        time.sleep(0.1)
