"""A cluster as it is met from here: the manager, its list, and each peer at the URL to which clients are sent.

Peers are asked at once, PEERS_AT_ONCE of them at a time, each by a connection of its own, for CLUSTER_SECONDS in all.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

from minicdn import __version__
from minicdn.core.headers import first
from minicdn.core.signing import ANYBODY
from minicdn.doctor import clocks, cluster
from minicdn.doctor.cluster import Met, Row, health_of
from minicdn.doctor.finding import OK, Finding, fail, plain
from minicdn.doctor.reaching import not_reached
from minicdn.wire.examining import Looked, NotSeen, look, resolve
from minicdn.wire.signing import Signer
from minicdn.wire.tls import Contexts

SECONDS, PEER_SECONDS = 5.0, 3.0
PEERS_MAX, PEERS_AT_ONCE = 256, 32
CLUSTER_SECONDS = 30.0
PAGE_BYTES_MAX = 8 * 1024 * 1024
HEALTH_BYTES_MAX = 64 * 1024
UNREACHABLE_MAX = 32
TOKEN_TARGET = "/_explain?target=/"


async def examine_cluster(
    url: str, *, pin: str | None, token: str | None, rng: random.Random, is_joining: bool = False
) -> AsyncIterator[Finding]:
    """url: the manager's. pin: its certificate's fingerprint. rng: which of many peers are asked. is_joining: a peer with that token is to
    join."""
    pins = {url: pin} if pin is not None else {}
    contexts = Contexts(pins.get)
    try:
        await _resolve(url, SECONDS)
        looked = await _page(url, "/_health", contexts, HEALTH_BYTES_MAX)
        health = health_of(looked.status, looked.body)
        if health is None:
            yield cluster.no_node("manager", url, looked.status, first(looked.fields, b"server"))
            return
        listed = await _page(url, "/_peers", contexts, PAGE_BYTES_MAX)
        token_found = await _token(url, contexts, token, is_there=health.has_token, is_joining=is_joining)
    except NotSeen as error:
        yield fail("manager", *not_reached(url, error.kind, str(error)))
        return
    found = cluster.rows_of(listed.body) or ([], [])
    for finding in cluster.manager(url, health, __version__, min(looked.seconds, listed.seconds), len(found[0])):
        yield finding
    if health.role != "manager":
        return
    ahead = clocks.node_ahead_seconds(health.clock_at, looked.request_at, looked.response_at)
    yield clocks.node_clock("manager clock", ahead, "this machine's", with_token=health.has_token)
    yield token_found
    async for finding in _peers(url, found, contexts, pins, ahead or 0.0, health.version, rng):
        yield finding


async def _token(url: str, contexts: Contexts, token: str | None, *, is_there: bool, is_joining: bool) -> Finding:
    if token is None or not is_there:
        return cluster.token_untried(is_there=is_there, is_given=token is not None, is_joining=is_joining)
    signed = Signer(token, time.time).sign(ANYBODY, "GET", TOKEN_TARGET.encode())
    fields = ((b"Authorization", signed.field),)
    looked = await look(url + TOKEN_TARGET, seconds=SECONDS, context=contexts.of(url), fields=fields, bytes_max=PAGE_BYTES_MAX)
    reason = plain(looked.body[:200].decode("utf-8", "replace"))
    return cluster.token(looked.status, reason, is_signed=signed.is_mine(looked.status, looked.body, looked.fields))


async def _peers(
    url: str,
    found: tuple[list[Row], list[tuple[str, str]]],
    contexts: Contexts,
    pins: dict[str, str],
    manager_ahead: float,
    manager_version: str,
    rng: random.Random,
) -> AsyncIterator[Finding]:
    listed, away = found
    for each, reason in away[:UNREACHABLE_MAX]:
        yield cluster.unreachable(each, reason)
    if len(away) > UNREACHABLE_MAX:
        yield cluster.more_unreachable(len(away) - UNREACHABLE_MAX)
    rows = listed if len(listed) <= PEERS_MAX else rng.sample(listed, PEERS_MAX)
    size = cluster.list_size(len(listed), len(rows))
    if size is not None:
        yield size
    pins.update({row.url: row.fingerprint for row in rows if row.fingerprint is not None})
    is_few, met_count, good = len(rows) <= cluster.EACH_MAX, 0, []
    async for met in _met(rows, url, contexts, manager_ahead):
        met_count += 1
        finding = cluster.peer(met, url, manager_version)
        if finding.state == OK:
            good.append(met)
        if is_few or finding.state != OK:
            yield finding
    if not is_few:
        for finding in cluster.all_well(good, met_count):
            yield finding
    if met_count < len(rows):
        yield cluster.not_asked(len(rows) - met_count, CLUSTER_SECONDS)


async def _met(rows: list[Row], url: str, contexts: Contexts, manager_ahead: float) -> AsyncIterator[Met]:
    """Each as soon as it has answered, or not; for CLUSTER_SECONDS at most."""
    turns, loop = asyncio.Semaphore(PEERS_AT_ONCE), asyncio.get_running_loop()
    ends_at = loop.time() + CLUSTER_SECONDS
    waiting = {asyncio.create_task(_meet(row, url, contexts, manager_ahead, turns)) for row in rows}
    try:
        while waiting and loop.time() < ends_at:
            done, waiting = await asyncio.wait(waiting, timeout=ends_at - loop.time(), return_when=asyncio.FIRST_COMPLETED)
            for each in sorted((task.result() for task in done), key=lambda met: met.row.url):
                yield each
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def _meet(row: Row, manager_url: str, contexts: Contexts, manager_ahead: float, turns: asyncio.Semaphore) -> Met:
    async with turns:
        if cluster.is_out_of_the_way(manager_url, row.url):
            return Met(row)
        try:
            await _resolve(row.url, PEER_SECONDS)
            looked = await look(f"{row.url}/_health", seconds=PEER_SECONDS, context=contexts.of(row.url), bytes_max=HEALTH_BYTES_MAX)
        except NotSeen as error:
            return Met(row, trouble=(error.kind, str(error)))
    health = health_of(looked.status, looked.body)
    ahead = clocks.node_ahead_seconds(health.clock_at if health is not None else None, looked.request_at, looked.response_at)
    return Met(row, health, looked.seconds, None if ahead is None else ahead - manager_ahead)


async def _page(url: str, path: str, contexts: Contexts, bytes_max: int) -> Looked:
    return await look(url + path, seconds=SECONDS, context=contexts.of(url), bytes_max=bytes_max)


async def _resolve(url: str, seconds: float) -> None:
    parts = urlsplit(url)
    await resolve(parts.hostname or "", parts.port or 0, seconds)
