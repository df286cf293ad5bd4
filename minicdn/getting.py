"""`minicdn get` at the command line: what was typed becomes an order, and the report a line, a JSON object and an exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from minicdn.config import timeout_of
from minicdn.console import Console, to_line
from minicdn.errors import UsageError
from minicdn.get.command import Order, Sayings, run
from minicdn.get.tally import PEER, size_text
from minicdn.get.wish import STDOUT, parse_wish
from minicdn.loops import run_stoppable


def get(
    what: str,
    *,
    output: str | None,
    sha256: str | None,
    manager: str | None,
    peers: Sequence[str],
    as_json: bool,
    timeout: str | None,
    pin: str | None = None,
) -> int:
    """The exit code. pin: the fingerprint of the certificate of the manager, or of the node that is asked. Raises UsageError."""
    console = Console(sys.stderr)
    order = Order(parse_wish(what, manager, peers, pin), output, _digest(sha256), timeout_of(timeout))
    sayings = Sayings(console.progress if console.is_terminal else None, lambda text: console.say(f"minicdn: {to_line(text)}"))
    try:
        report = run_stoppable(run(order, sayings))
    except BrokenPipeError:  # whoever read it has enough
        return 0
    if report["error"] is not None:
        console.say(f"minicdn: {to_line(report['error'])}")
    elif console.is_terminal:
        console.say(_in_words(report))
    if as_json:
        Console(sys.stderr if output == STDOUT else sys.stdout).say(json.dumps(report, indent=2))
    return int(report["exit_code"])


def _digest(text: str | None) -> bytes | None:
    try:
        found = bytes.fromhex(text) if text is not None else None
    except ValueError:
        found = b""
    if found is not None and len(found) != 32:
        raise UsageError(f"--sha256: {text!r} is not a sha256, which has 64 hexadecimal digits")
    return found


def _in_words(report: dict[str, Any]) -> str:
    peers = sum(source["kind"] == PEER and source["bytes"] > 0 for source in report["sources"])
    speed = (report["bytes_peer"] + report["bytes_upstream"]) / report["seconds"] if report["seconds"] else 0.0
    checked = f"sha256 as {report['verified_by']} says" if report["verified_by"] else f"sha256 {report['sha256']}, unchecked"
    return (
        f"{report['file']}: {size_text(report['bytes'])} in {report['seconds']:.1f} s ({size_text(speed)}/s), "
        f"{size_text(report['bytes_peer'])} from {peers} peers, {size_text(report['bytes_upstream'])} from the upstream; {checked}"
    )
