"""A look at a running node from the command line: one question, one answer in JSON. No event loop; a person waits for it."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import httpx

from minicdn import __version__
from minicdn.core.signing import ANYBODY
from minicdn.wire.signing import Signer
from minicdn.wire.tls import Contexts

LOOK_SECONDS = 10.0
ANSWER_BYTES_MAX = 8 * 1024 * 1024


class NoAnswer(Exception):
    """Nobody answers there, or no minicdn node; the text says which, for a person."""


def ask_explain(
    node_url: str, target: str, seconds: float = LOOK_SECONDS, *, signer: Signer | None = None, pin: str | None = None
) -> dict[str, Any]:
    """What the node at `node_url` says of a target (path and query, as a client would send it). pin: its certificate's fingerprint. Raises
    NoAnswer."""
    return _ask(node_url, f"/_explain?target={quote(target, safe='/')}", seconds, signer, pin)


def _ask(node: str, target: str, seconds: float, signer: Signer | None, pin: str | None) -> dict[str, Any]:
    headers = {"user-agent": f"minicdn/{__version__}"}
    if signer is not None:
        headers["authorization"] = signer.sign(ANYBODY, "GET", target.encode()).field.decode()
    verify = Contexts(lambda url: pin).of(node) or False
    try:
        with httpx.Client(timeout=seconds, trust_env=False, headers=headers, verify=verify) as client:
            del client.headers["accept-encoding"]
            answer = client.get(node + target)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise NoAnswer(f"{node} can't be asked: {str(error) or type(error).__name__}") from None
    if answer.status_code in (400, 401, 403):
        raise NoAnswer(f"{node} says: {answer.text.strip()[:300]}")
    try:
        found = json.loads(answer.content[:ANSWER_BYTES_MAX])
    except (ValueError, RecursionError):
        found = None
    if answer.status_code != 200 or not isinstance(found, dict) or not isinstance(found.get("node"), dict):
        raise NoAnswer(f"{node} answers, but not as a minicdn node that can explain (status {answer.status_code})")
    return found
