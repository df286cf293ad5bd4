"""`minicdn preheat` at the command line: an order to the manager, its progress, what became of it, and an exit code."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

from minicdn.closing import Repeats
from minicdn.config import timeout_of
from minicdn.console import Console
from minicdn.core.nodeurl import parse_node_url
from minicdn.core.preheat import URLS_MAX, Copies
from minicdn.core.target import ascii_url
from minicdn.errors import COLD_EXIT_CODE, Refused, SourcesFailed, UsageError
from minicdn.get.tally import size_text
from minicdn.urlfile import lines_of
from minicdn.wire.looking import NoAnswer, PreheatDoor
from minicdn.wire.signing import Signer

WAIT_SECONDS, SHOW_SECONDS = 20.0, 1.0
"""Between two looks, and where a person watches."""
SILENCE_SECONDS, RETRY_SECONDS = 30.0, 1.0
"""A manager that does not answer is asked again for so long: what it was told to do goes on meanwhile."""
SHOWN_MAX = 20


def preheat(
    urls: Sequence[str],
    *,
    manager: str,
    url_file: str | None,
    copies: str,
    headers: Sequence[str],
    timeout: str | None,
    waits: bool,
    as_json: bool,
    token: str | None,
    pin: str | None,
) -> int:
    """The exit code. Raises UsageError; Refused where the manager will not; SourcesFailed where it can't be asked."""
    order = {"urls": _targets([*urls, *lines_of(url_file, URLS_MAX)]), "copies": _copies(copies), "headers": _fields(headers)}
    seconds = timeout_of(timeout)
    door = PreheatDoor(_manager(manager), signer=Signer(token, time.time) if token is not None else None, pin=pin)
    console, is_stopped = Console(sys.stderr), False
    _take_signals()
    try:
        found = door.begin(order)
        if waits:
            found, is_stopped = _wait(door, found, console, seconds)
    except NoAnswer as error:
        console.clear()
        raise (UsageError if error.status in (400, 413) else Refused if 400 < error.status < 500 else SourcesFailed)(str(error)) from None
    console.clear()
    Console(sys.stdout).say(json.dumps(found, indent=2) if as_json else in_words(found))
    if is_stopped:
        return COLD_EXIT_CODE
    return 0 if found["state"] == "done" or not waits else SourcesFailed.exit_code


def _wait(door: PreheatDoor, found: dict[str, Any], console: Console, seconds: float | None) -> tuple[dict[str, Any], bool]:
    """Its last state, and whether it was stopped from here. Who stops waiting cancels it, so that nobody downloads for nobody."""
    until, silent_since = None if seconds is None else time.monotonic() + seconds, None
    try:
        while found["state"] == "running":
            left = WAIT_SECONDS if until is None else until - time.monotonic()
            if left <= 0:
                return door.cancel(found["id"]), False
            try:
                found = door.state(found["id"], min(left, SHOW_SECONDS if console.is_terminal else WAIT_SECONDS))
            except NoAnswer as error:
                silent_since = silent_since or time.monotonic()
                if error.status or time.monotonic() - silent_since >= SILENCE_SECONDS:
                    raise
                time.sleep(RETRY_SECONDS)
                continue
            silent_since = None
            console.progress(_so_far(found))
        return found, False
    except KeyboardInterrupt:
        return door.cancel(found["id"]), True


def _so_far(found: dict[str, Any]) -> str:
    done, all_count = found["done_count"] + found["failed_count"], _all_count(found)
    failed = f"  {found['failed_count']} failed" if found["failed_count"] else ""
    speed = found["bytes"] / found["seconds"] if found["seconds"] else 0.0
    return f"{done} of {all_count} copies  {size_text(found['bytes'])}  {size_text(speed)}/s{failed}  (Ctrl-C cancels)"


def _all_count(found: dict[str, Any]) -> int:
    return sum(found[name] for name in ("waiting_count", "loading_count", "done_count", "failed_count"))


def in_words(found: dict[str, Any]) -> str:
    nodes = sum(node["done_count"] > 0 for node in found["nodes"])
    urls_count = found["urls_count"]
    files = "1 file" if urls_count == 1 else f"{urls_count} files"
    state = "under way" if found["state"] == "running" else found["state"]
    lines = [
        f"preheat {found['id']}: {state}; {files}, {found['done_count']} of {_all_count(found)} copies on {nodes} nodes, "
        f"{size_text(found['bytes'])} in {found['seconds']:.1f} s"
    ]
    failures = found["failures"]
    lines += [f"  failed: {each['url']} at {each['node']}: {each['reason']}" for each in failures[:SHOWN_MAX]]
    if found["failed_count"] > len(failures[:SHOWN_MAX]):
        lines.append(f"  and {found['failed_count'] - len(failures[:SHOWN_MAX])} more")
    return "\n".join(lines)


def _take_signals() -> None:
    """SIGTERM means what Ctrl-C does, which may come twice."""
    repeats = Repeats()

    def interrupt(number: int, _frame: object) -> None:
        if not repeats.has(number):
            raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, interrupt)


# What was typed


def _targets(texts: Iterable[str]) -> list[str]:
    found = [ascii_url(text.strip()) for text in texts if text.strip() and not text.strip().startswith("#")]
    if not found:
        raise UsageError("no URL is given")
    if len(found) > URLS_MAX:
        raise UsageError(f"more than {URLS_MAX} URLs; make it several preheats")
    return found


def _manager(text: str) -> str:
    try:
        return parse_node_url(text)
    except ValueError as error:
        raise UsageError(f"--manager: {error}") from None


def _copies(text: str) -> str:
    try:
        return str(Copies.parse(text))
    except ValueError as error:
        raise UsageError(f"--copies: {error}") from None


def _fields(texts: Sequence[str]) -> dict[str, str]:
    found = {}
    for text in texts:
        name, colon, value = text.partition(":")
        if not colon or not name.strip():
            raise UsageError(f"--header: {text!r} is not a field such as 'Accept-Encoding: gzip'")
        found[name.strip()] = value.strip()
    return found
