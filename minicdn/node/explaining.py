"""Explains what a node would do with a request now, and why. Asks the same functions as the desk (cache.py), and changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicdn.core.decide import Serve, decide
from minicdn.core.explain import facts, in_words
from minicdn.core.message import Fields, Request
from minicdn.core.roster import Member, owners
from minicdn.core.vary import choose
from minicdn.store.body import Body
from minicdn.store.entry import Entry

if TYPE_CHECKING:
    from minicdn.node.node import Node

OWNERS_SHOWN_MAX = 3


def explain(node: Node, method: str, key: str, fields: Fields) -> dict[str, Any]:
    """fields: of the request, for Vary and its wishes. The result is plain values, for JSON."""
    request, now = Request(method, key.encode("ascii"), key, fields), node.clock.wall()
    entries = [entry for entry in node.cache.stored_for(key) if entry.stored is not None]
    index = choose(fields, [entry.stored for entry in entries])  # type: ignore[misc]
    chosen = entries[index] if index is not None else None
    plan = decide(request, chosen.stored if chosen is not None else None, now, node.cache.policy)
    ranked = [_named(member) for member in owners(key, node.peers.members, OWNERS_SHOWN_MAX)]
    is_owner = not ranked or ranked[0]["id"] == node.id
    words = in_words(plan)
    if isinstance(plan, Serve) and node.purger.is_unsure:
        words = {"action": "validate", "reason": "this node does not know yet which purges it has missed"}
    if words["action"] in ("fetch", "validate"):
        words["asks"] = _asked(node, key, ranked, is_owner=is_owner)
    return {
        "key": key,
        "method": method,
        "stored": chosen is not None,
        "variants": [_variant(entry, now, is_chosen=entry is chosen) for entry in entries],
        "plan": words,
        "is_passed_on": node.cache.is_passed_on(key),
        "owners": ranked,
        "is_owner": is_owner,
        "upstream": node.upstream_url,
        "mark": str(node.purger.mark or ""),
    }


def _asked(node: Node, key: str, ranked: list[dict[str, str]], *, is_owner: bool) -> str:
    if node.may_ask_upstream and (is_owner or node.cache.is_passed_on(key)):
        return "upstream"
    return ranked[0]["url"] if ranked else "nobody: no peer in the list may ask the upstream"


def _variant(entry: Entry, now: float, *, is_chosen: bool) -> dict[str, Any]:
    assert entry.stored is not None
    return {"is_chosen": is_chosen, **facts(entry.stored, now), "is_copy": entry.is_hot, "body": _body(entry.body)}


def _body(body: Body) -> dict[str, Any]:
    state = "whole" if body.is_whole else "filling" if body.is_filling else "partial"
    return {"medium": body.medium, "state": state, "bytes": body.have.total_bytes, "length": body.length}


def _named(member: Member) -> dict[str, str]:
    found = {"id": member.id, "url": member.url}
    return {**found, "fingerprint": member.fingerprint} if member.fingerprint else found
