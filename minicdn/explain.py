"""`minicdn explain URL`: what the cluster would do with that URL now, and why, in words.

Asks the node in the URL, then the owner of the key, where that is another one: the owner decides, others keep copies of what it says.
"""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import urlsplit

from minicdn.errors import OperatorError, UsageError

_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def explain(url: str, *, as_json: bool, token: str | None = None, pin: str | None = None) -> str:
    """The text to print. pin: the fingerprint of that node's certificate. OperatorError where the node can't be asked; UsageError where
    the URL is none."""
    from minicdn.wire.looking import NoAnswer, ask_explain
    from minicdn.wire.signing import Signer

    node_url, target = _split(url)
    signer = Signer(token, time.time) if token is not None else None
    try:
        found = {"asked": ask_explain(node_url, target, signer=signer, pin=pin), "owner": None}
    except NoAnswer as error:
        raise OperatorError(str(error)) from None
    trouble = ""
    asked = found["asked"]
    if asked and not asked["is_owner"] and asked["owners"]:
        try:
            owner = asked["owners"][0]
            found["owner"] = ask_explain(owner["url"], target, signer=signer, pin=owner.get("fingerprint"))
        except NoAnswer as error:
            trouble = str(error)
    if as_json:
        return json.dumps({**found, "trouble": trouble}, indent=2)
    return _in_words(node_url, found, trouble)


def _split(url: str) -> tuple[str, str]:
    """The node's own URL, and path and query as a client sends them."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc or "@" in parts.netloc:
        raise UsageError(f"{url!r} is not a URL such as http://192.168.1.5:11000/big.iso")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return f"{parts.scheme}://{parts.netloc}", target


def _in_words(node_url: str, found: dict[str, Any], trouble: str) -> str:
    asked, owner = found["asked"], found["owner"]
    lines = [asked["key"], *_at(asked, node_url)]
    if owner is not None:
        lines += _at(owner, asked["owners"][0]["url"])
    if trouble:
        lines.append(f"  its owner {trouble}")
    return "\n".join(lines)


def _at(found: dict[str, Any], url: str) -> list[str]:
    role = found["node"]["role"]
    lines = [f"at {url} ({role}{', the owner' if found['is_owner'] and found['owners'] else ''})"]
    if role == "manager" and found["owners"]:
        lines.append("  sends clients to one of its peers")
    else:
        lines.append(f"  would {_plan(found['plan'])}")
    if not found["variants"]:
        lines.append("  stored: nothing" + (" (recent answers were for one client each)" if found["is_passed_on"] else ""))
    for variant in found["variants"]:
        lines += [f"  {line}" for line in _variant(variant)]
    lines.append(f"  owner: {_owners(found)}")
    return lines


def _plan(plan: dict[str, Any]) -> str:
    match plan["action"]:
        case "serve" | "serve stale" as action:
            return f"{action} what is stored: {plan['reason']}"
        case "refuse":
            return f"refuse: {plan['reason']}"
        case action:
            return f"{action} ({plan['reason']}), asking {'the upstream' if plan['asks'] == 'upstream' else plan['asks']}"


def _variant(variant: dict[str, Any]) -> list[str]:
    body = variant["body"]
    amount = f"{body['bytes']} bytes" if body["state"] == "whole" else f"{body['bytes']} of {body['length'] or 'unknown'} bytes"
    what = "a copy of the owner's" if variant["is_copy"] else "its own"
    state = "" if variant["is_chosen"] else ", for other request fields than these"
    lines = [f"stored: status {variant['status']}, {amount} ({body['state']}) in {body['medium']}, {what}{state}"]
    lines += [f"  {_freshness(variant)}", f"  decided by: {variant['decided_by']}", f"  {_allowances(variant)}"]
    if variant["tags"]:
        lines.append(f"  tags: {', '.join(variant['tags'])}")
    if variant["vary"] == "*":
        lines.append("  chosen by: more than request fields say (Vary: *)")
    elif variant["vary"]:
        lines.append("  chosen by: " + ", ".join(f"{name}: {'-' if value is None else value}" for name, value in variant["vary"].items()))
    return lines


def _freshness(variant: dict[str, Any]) -> str:
    lifetime = f"{_time(variant['age_seconds'])} old, of {_time(variant['lifetime_seconds'])}"
    if variant["always_validate"]:
        return f"never used unasked (no-cache); {lifetime}"
    if variant["is_fresh"]:
        return f"fresh for {_time(variant['fresh_seconds'])} more, until {variant['fresh_until']}; {lifetime}"
    return f"stale for {_time(-variant['fresh_seconds'])}, since {variant['fresh_until']}; {lifetime}"


def _allowances(variant: dict[str, Any]) -> str:
    if not variant["may_serve_stale"]:
        return "stale: never served"
    allowed = [f"for {_time(variant['stale_if_error_seconds'])} when the upstream fails"] if variant["stale_if_error_seconds"] else []
    if variant["stale_while_revalidate_seconds"]:
        allowed.append(f"for {_time(variant['stale_while_revalidate_seconds'])} while it is refreshed")
    return f"stale: may be served {' and '.join(allowed)}" if allowed else "stale: not served"


def _owners(found: dict[str, Any]) -> str:
    if not found["owners"]:
        return "this node, as it knows of no peers"
    first, *backups = (member["url"] for member in found["owners"])
    return first + (f", then {', '.join(backups)}" if backups else "")


def _time(seconds: float) -> str:
    """Two units at most: `1 h 20 min`."""
    left, parts = int(seconds), []
    for name, unit in _UNITS:
        if left >= unit and len(parts) < 2:
            parts.append(f"{left // unit} {name}")
            left %= unit
    return " ".join(parts) or "0 s"
