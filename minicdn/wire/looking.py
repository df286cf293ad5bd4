"""A person at the command line asks a running node: one question, one answer in JSON. No event loop; a person waits for it."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import httpx

from minicdn import __version__
from minicdn.core.signing import ANYBODY, MANAGER
from minicdn.wire.signing import Signer
from minicdn.wire.tls import Contexts

LOOK_SECONDS = 10.0
ANSWER_BYTES_MAX = 8 * 1024 * 1024
_COUNTS = ("urls_count", "waiting_count", "loading_count", "done_count", "failed_count", "bytes")
_PREHEAT = {"id": (str,), "state": (str,), "seconds": (int, float), "nodes": (list,), "failures": (list,), **dict.fromkeys(_COUNTS, (int,))}
"""What a preheat's state has at least; what else a newer manager says is shown as it is."""


class NoAnswer(Exception):
    """Nobody answers there, or no minicdn node, or it refuses; the text says which. status: of a refusal of its own, else 0."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


def ask_explain(
    node_url: str, target: str, seconds: float = LOOK_SECONDS, *, signer: Signer | None = None, pin: str | None = None
) -> dict[str, Any]:
    """What the node at `node_url` says of a target (path and query, as a client would send it). pin: its certificate's fingerprint. Raises
    NoAnswer."""
    status, found = _ask(node_url, "GET", f"/_explain?target={quote(target, safe='/')}", seconds, signer, pin, ANYBODY)
    if status != 200 or not isinstance(found.get("node"), dict):
        raise NoAnswer(f"{node_url} answers, but not as a minicdn node that can explain (status {status})")
    return found


class PreheatDoor:
    """A manager's `/_preheat`. Each call raises NoAnswer; `pin`: the fingerprint of the manager's certificate."""

    def __init__(self, manager_url: str, *, signer: Signer | None = None, pin: str | None = None) -> None:
        self._url, self._signer, self._pin = manager_url, signer, pin

    def begin(self, order: dict[str, Any]) -> dict[str, Any]:
        return self._call("POST", "/_preheat", json.dumps(order).encode())

    def state(self, id: str, wait_seconds: float) -> dict[str, Any]:
        """When it is over, or after so long."""
        return self._call("GET", f"/_preheat/{quote(id)}?wait={wait_seconds:g}", wait_seconds=wait_seconds)

    def cancel(self, id: str) -> dict[str, Any]:
        return self._call("DELETE", f"/_preheat/{quote(id)}")

    def _call(self, method: str, target: str, content: bytes = b"", *, wait_seconds: float = 0.0) -> dict[str, Any]:
        status, found = _ask(self._url, method, target, LOOK_SECONDS + wait_seconds, self._signer, self._pin, MANAGER, content)
        if status not in (200, 202) or not all(type(found.get(name)) in kinds for name, kinds in _PREHEAT.items()):
            raise NoAnswer(f"{self._url} answers, but not as a minicdn manager that can preheat (status {status})")
        return found


def _ask(
    node: str, method: str, target: str, seconds: float, signer: Signer | None, pin: str | None, audience: str, content: bytes = b""
) -> tuple[int, dict[str, Any]]:
    """The answer's status, and its object; an empty one where it is none. NoAnswer where there is no answer, or a refusal of ours, which
    is its text."""
    headers = {"user-agent": f"minicdn/{__version__}"}
    if signer is not None:
        headers["authorization"] = signer.sign(audience, method, target.encode(), content).field.decode()
    verify = Contexts(lambda url: pin).of(node) or False
    try:
        with httpx.Client(timeout=seconds, trust_env=False, headers=headers, verify=verify) as client:
            del client.headers["accept-encoding"]
            answer = client.request(method, node + target, content=content or None)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise NoAnswer(f"{node} can't be asked: {str(error) or type(error).__name__}") from None
    if answer.status_code >= 400 and answer.headers.get("content-type", "").startswith("text/plain"):
        raise NoAnswer(f"{node} says: {' '.join(answer.text.split())[:300]}", answer.status_code)
    try:
        found = json.loads(answer.content[:ANSWER_BYTES_MAX])
    except (ValueError, RecursionError):
        found = None
    return answer.status_code, found if isinstance(found, dict) else {}
