"""A look at a running node from the command line: one question, one answer in JSON. No event loop; a person waits for it."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import httpx

from minicdn import __version__

LOOK_SECONDS = 10.0
ANSWER_BYTES_MAX = 8 * 1024 * 1024


class NoAnswer(Exception):
    """Nobody answers there, or no minicdn node; the text says which, for a person."""


def ask_explain(node_url: str, target: str, seconds: float = LOOK_SECONDS) -> dict[str, Any]:
    """What the node at `node_url` says of a target (path and query, as a client would send it). Raises NoAnswer."""
    return _ask(f"{node_url}/_explain?target={quote(target, safe='/')}", seconds)


def _ask(url: str, seconds: float) -> dict[str, Any]:
    node = url.partition("/_")[0]
    try:
        with httpx.Client(timeout=seconds, trust_env=False, headers={"user-agent": f"minicdn/{__version__}"}) as client:
            del client.headers["accept-encoding"]
            answer = client.get(url)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise NoAnswer(f"{node} can't be asked: {str(error) or type(error).__name__}") from None
    if answer.status_code == 400:
        raise NoAnswer(f"{node} says: {answer.text.strip()[:300]}")
    try:
        found = json.loads(answer.content[:ANSWER_BYTES_MAX])
    except (ValueError, RecursionError):
        found = None
    if answer.status_code != 200 or not isinstance(found, dict) or not isinstance(found.get("node"), dict):
        raise NoAnswer(f"{node} answers, but not as a minicdn node that can explain (status {answer.status_code})")
    return found
