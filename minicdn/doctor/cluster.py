"""What a manager and its peers say of themselves, and what it means to be told it, or not, from here. Pure: values in, findings out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any
from urllib.parse import urlsplit

from minicdn.core.nodeurl import is_loopback_url, parse_node_url
from minicdn.doctor.clocks import NOTICED_SECONDS, in_words
from minicdn.doctor.finding import Finding, fail, ok, plain, warn
from minicdn.doctor.reaching import not_reached

EACH_MAX = 32
"""Peers that have a line of their own while all is well with them; of more, only those with troubles."""
SLOW_SECONDS = 1.0
CLUSTER_TOKEN = "cluster token"
GET_TOKEN = "get the cluster's token file from who runs the manager, and give it with --token-file"
MANAGERS = "the manager's"
SEEN_SECONDS = 30.0
"""Twice the default window: a manager that lists whoever was silent for that long does so by its own options."""


@dataclass(frozen=True, slots=True)
class Row:
    """A peer on the manager's list. seen_seconds: since it reported, None where the list does not say."""

    url: str
    id: str
    fingerprint: str | None = None
    seen_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """What /_health said; texts are what they claim to be or empty. clock_at: its wall clock, seconds since 1970."""

    role: str
    id: str
    version: str
    is_ready: bool
    state: str
    manager: str
    upstream: str
    has_token: bool
    clock_at: float | None


@dataclass(frozen=True, slots=True)
class Met:
    """A peer as it was met from here. health: None where another program answers. ahead: its clock before the manager's, seconds. trouble:
    kind and text of a NotSeen."""

    row: Row
    health: Health | None = None
    seconds: float = 0.0
    ahead: float | None = None
    trouble: tuple[str, str] | None = None


def read_json(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def health_of(status: int, body: bytes) -> Health | None:
    """None: no minicdn node answers there."""
    found = read_json(body) if status in (200, 503) else None
    if found is None or found.get("role") not in ("manager", "peer") or not isinstance(found.get("id"), str):
        return None
    said = {
        name: found[name] if isinstance(found.get(name), str) else "" for name in ("role", "id", "version", "state", "manager", "upstream")
    }
    return Health(
        is_ready=found.get("ready") is True, has_token=found.get("has_token") is True, clock_at=_number(found.get("clock_at")), **said
    )


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and -1e12 < value < 1e12
    return float(value) if is_number else None


def rows_of(body: bytes) -> tuple[list[Row], list[tuple[str, str]]] | None:
    """The listed peers; and those that the manager can't reach, with its reasons. What is no peer is left out. None: no such page."""
    found = read_json(body)
    if found is None or not isinstance(found.get("peers"), list):
        return None
    listed = [row for row in map(_row, found["peers"]) if row is not None]
    away = found.get("unreachable")
    others = [(row.url, each.get("reason")) for each in (away if isinstance(away, list) else []) if (row := _row(each)) is not None]
    return listed, [(url, reason if isinstance(reason, str) else "") for url, reason in others]


def _row(each: Any) -> Row | None:
    try:
        url, id, pin, seen = parse_node_url(each["url"]), each["id"], each.get("fingerprint"), each.get("seen_seconds")
    except (ValueError, TypeError, LookupError, AttributeError):
        return None
    return Row(url, str(id), pin if isinstance(pin, str) and pin else None, _number(seen))


def no_node(check: str, url: str, status: int, server: bytes | None) -> Finding:
    by = f", Server: {plain(server.decode('latin-1'))[:60]}" if server else ""
    return fail(
        check,
        f"{url} answers {status}, but not as a minicdn node{by}",
        "another program has that port; take the URL that the manager's start printed",
    )


def manager(url: str, health: Health, own_version: str, seconds: float, peers_count: int) -> list[Finding]:
    if health.role == "peer":
        at = f", at {health.manager}" if health.manager else ""
        return [fail("manager", f"{url} is a peer, and no manager", f"ask its manager{at}")]
    peers = f"{peers_count} peer{'' if peers_count == 1 else 's'}"
    seen = f"{url}: minicdn {health.version}, {health.state}, serves {health.upstream}, {peers}, in {1000 * seconds:.0f} ms"
    if not health.is_ready:
        return [warn("manager", seen, "it is starting or closing; ask again in a moment")]
    found = [ok("manager", seen)]
    if health.version != own_version:
        found.append(
            warn(
                "version", f"the manager has {health.version}, this is {own_version}", "install the same version everywhere before the day"
            )
        )
    return found


def token_untried(*, is_there: bool, is_given: bool, is_joining: bool) -> Finding:
    """Where one of the two sides has none. is_there: the manager's. is_given: ours. is_joining: a peer with our settings is to join."""
    if is_given:
        return fail(
            CLUSTER_TOKEN,
            "the manager has none, and a peer that has one will not join it",
            "start the manager with --token-file, or peers without",
        )
    if is_there and is_joining:
        return fail(CLUSTER_TOKEN, "the cluster has one, and the peer that is set up here none: it would not be let in", GET_TOKEN)
    if is_there:
        return ok(CLUSTER_TOKEN, "the cluster has one; give it with --token-file to have it checked")
    return ok(CLUSTER_TOKEN, "the cluster has none: whoever reaches the manager's port can join as a peer")


def token(status: int, reason: str, *, is_signed: bool) -> Finding:
    """What the manager said to a question signed with ours. is_signed: its answer, by the same."""
    check = CLUSTER_TOKEN
    if status == 401:
        return fail(
            check,
            f"the manager refuses it: {reason}",
            "copy the manager's token file anew; if its clock is named, set the clock that is wrong",
        )
    if not is_signed:
        return fail(
            check,
            f"the manager's answer ({status}) is not signed with it",
            "something between here and there changes answers; ask it directly",
        )
    return ok(check, "the manager has the same")


def list_size(peers_count: int, asked_count: int) -> Finding | None:
    if not peers_count:
        return warn(
            "peers",
            "none has joined: the manager serves everything by itself",
            "each colleague who helps types the line that the manager's start printed",
        )
    if asked_count < peers_count:
        return ok("peers", f"{peers_count} are listed; {asked_count} of them, drawn by lot, are asked")
    return None


def is_out_of_the_way(manager_url: str, url: str) -> bool:
    """Listed under an address that means another machine to each who reads it."""
    return is_loopback_url(url) and not is_loopback_url(manager_url)


def unreachable(url: str, reason: str) -> Finding:
    if "wrong bytes" in reason:
        return fail(
            f"peer {url}",
            f"the manager keeps it off the list: {reason}",
            "look at that machine's disk, memory and minicdn, and start it anew",
        )
    return fail(
        f"peer {url}",
        f"the manager can't reach it: {reason or 'no reason given'}",
        f"{_open_advice(url)}; or start it with the right --advertise",
    )


def more_unreachable(count: int) -> Finding:
    return fail("peers", f"the manager can't reach {count} more, or keeps them off the list", "mend those that are named, and ask again")


def peer(met: Met, manager_url: str, manager_version: str) -> Finding:
    """One line for one peer: the worst that is to be said of it."""
    row, health = met.row, met.health
    check = f"peer {row.url}"
    if is_out_of_the_way(manager_url, row.url):
        return fail(
            check,
            "listed under an address that is each machine's own: clients sent there find nobody",
            "start it with --host 0.0.0.0, or --advertise its address",
        )
    if met.trouble is not None:
        seen, _ = not_reached(row.url, *met.trouble)
        return fail(
            check, f"not reached from here: {seen.removeprefix(row.url + ': ')}{_last_seen(row)}", _peer_advice(row.url, *met.trouble)
        )
    if health is None:
        return fail(
            check,
            "another program answers there",
            "the peer listens elsewhere, or has gone; restart it, with --advertise if its address is shared",
        )
    if health.id != row.id:
        return fail(
            check,
            "another minicdn node answers there than the one that is listed",
            "restarted this moment? Ask again. Else two machines share the address: --advertise",
        )
    seen = f"{health.version}, {health.state or 'no state'}, in {1000 * met.seconds:.0f} ms"
    if not health.is_ready:
        return warn(check, seen, "it is joining or closing; ask again in a moment")
    if row.seen_seconds is not None and row.seen_seconds > SEEN_SECONDS:
        return warn(
            check, f"{seen}; the manager has not heard of it for {row.seen_seconds:.0f} s", "look whether that machine reaches the manager"
        )
    if health.version != manager_version:
        return warn(
            check, f"it has minicdn {health.version}, the manager {manager_version}", "install the same version everywhere before the day"
        )
    if met.ahead is not None and abs(met.ahead) > NOTICED_SECONDS:
        return warn(
            check,
            f"{seen}; its clock {in_words(met.ahead, MANAGERS)}",
            "turn on automatic time (NTP) there; with a token 300 s is the most",
        )
    if met.seconds > SLOW_SECONDS:
        return warn(
            check,
            f"{seen}: slow to answer",
            "an overloaded machine or a bad link: try a cable in place of wireless, or leave this peer out",
        )
    return ok(check, seen)


def all_well(good: Sequence[Met], asked_count: int) -> list[Finding]:
    """One line for those of many peers of whom nothing is to be said."""
    if not good:
        return []
    times = [1000 * each.seconds for each in good]
    seen = f"{len(good)} of {asked_count} asked answer as they should, in {median(times):.0f} ms (median), {max(times):.0f} ms at most"
    return [ok("peers asked", seen)]


def not_asked(count: int, seconds: float) -> Finding:
    return warn(
        "peers", f"{count} were not asked within {seconds:.0f} s, since so many did not answer", "mend those that are named, and ask again"
    )


def _last_seen(row: Row) -> str:
    return f"; the manager heard of it {row.seen_seconds:.0f} s ago" if row.seen_seconds is not None else ""


def _peer_advice(url: str, kind: str, text: str) -> str:
    match kind:
        case "refused" | "cut":
            return "it has ended, probably, and the list drops it in some seconds: start it there again"
        case "silent":
            return (
                "it is frozen or overloaded; the list drops who reports no more in some seconds: look at that machine, start it there again"
            )
        case "fingerprint":
            return "another node, or somebody in between, answers there; restart the peer, so that it joins with the certificate it has now"
        case "no connection" | "unreachable":
            return f"clients sent there would fail like this one: {_open_advice(url)}"
        case _:
            return not_reached(url, kind, text)[1]


def _open_advice(url: str) -> str:
    port = urlsplit(url).port or (443 if url.startswith("https:") else 80)
    return f"open port {port} in that machine's firewall"
