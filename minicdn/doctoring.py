"""`minicdn doctor` at the command line: what to look at follows from what was typed and from the settings that a node would take here; each
finding is printed as it is made."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from minicdn.config import Resolved, find_file, pin_of, read_file, resolve, token_of
from minicdn.console import Console
from minicdn.core.freshness import Policy
from minicdn.doctor.finding import Finding, fail, has_failed, lines_of, ok, summary
from minicdn.doctor.look_cluster import examine_cluster
from minicdn.doctor.look_here import Place, examine_machine, examine_place
from minicdn.doctor.look_upstream import examine_upstream
from minicdn.errors import COLD_EXIT_CODE, CheckFailed, UsageError
from minicdn.listener import file_limit, open_listener, raise_file_limit
from minicdn.loops import run_stoppable
from minicdn.node.node import policy_of
from minicdn.options import BOTH
from minicdn.pressure import memory_room
from minicdn.settings import Settings
from minicdn.values import parse_base_url, parse_node_url
from minicdn.wire.address import own_url

STAND_INS = {"manager": {"upstream": "http://upstream.invalid"}, "peer": {"manager": "http://manager.invalid"}}
"""For a role that nobody has set up here: what it can't do without."""
SAID_ONCE = ("address", "token")
Findings = AsyncIterator[Finding]
DefaultFolder = Callable[[str, int], Path]


def doctor(
    *,
    manager: str | None,
    upstream: str | None,
    config: str | None,
    token_file: str | None,
    fingerprint: str | None,
    as_json: bool,
    default_folder: DefaultFolder,
) -> int:
    """The exit code. default_folder: of a role on a port. Raises UsageError."""
    raise_file_limit()
    if manager is None and upstream is None:
        path = find_file(config, os.environ, Path.cwd())
        if fingerprint is not None:
            raise UsageError("--fingerprint is the manager's: give --manager https://… with it")
        findings = _this_machine(read_file(path) if path else {}, {"token-file": token_file}, default_folder)
    else:
        findings = _elsewhere(manager, upstream, token_file, fingerprint)
    return _tell(findings, as_json=as_json)


def _tell(findings: Findings, *, as_json: bool) -> int:
    console, told = Console(sys.stdout), []

    def take(finding: Finding) -> None:
        told.append(finding)
        if not as_json:
            console.say(_writable(lines_of(finding)))

    is_stopped = run_stoppable(_gather(findings, take))
    console.say(json.dumps([finding.as_json() for finding in told], indent=2) if as_json else summary(told, is_stopped=is_stopped))
    if is_stopped:
        return COLD_EXIT_CODE
    return CheckFailed.exit_code if has_failed(told) else 0


async def _gather(findings: Findings, take: Callable[[Finding], None]) -> bool:
    """Whether it was stopped before its end."""
    try:
        async for finding in findings:
            take(finding)
    except asyncio.CancelledError:
        return True
    return False


def _writable(text: str) -> str:
    """Where the console can't show a sign, its number."""
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _elsewhere(manager: str | None, upstream: str | None, token_file: str | None, fingerprint: str | None) -> Findings:
    pin = pin_of(fingerprint)
    url = _parsed("--manager", parse_node_url, manager) if manager is not None else None
    if pin is not None and not (url or "").startswith("https://"):
        raise UsageError("--fingerprint is for a manager that speaks TLS: give --manager https://… with it")
    token = token_of(token_file, os.environ)
    tried = _tried(upstream) if upstream is not None else None

    async def findings() -> Findings:
        if url is not None:
            async for finding in examine_cluster(url, pin=pin, token=token, rng=random.Random()):
                yield finding
        if tried is not None:
            async for finding in examine_upstream(tried, is_file=_names_file(tried), policy=Policy()):
                yield finding

    return findings()


def _parsed(flag: str, parse: Callable[[str], str], text: str) -> str:
    try:
        return parse(text)
    except ValueError as error:
        raise UsageError(f"{flag}: {error}") from None


def _tried(text: str) -> str:
    """The URL with its path, its query and its last slash."""
    base, question, query = text.strip().partition("?")
    url = _parsed("--upstream", parse_base_url, base)
    if not query.isascii() or not query.isprintable() or " " in query or "#" in query:
        raise UsageError("--upstream: percent-encode the query")
    return url + ("/" if base.endswith("/") or not urlsplit(url).path else "") + question + query


def _names_file(url: str) -> bool:
    return not urlsplit(url).path.endswith("/")


# This machine


async def _this_machine(file: dict[str, object], flags: dict[str, str | None], default_folder: DefaultFolder) -> Findings:
    roles, troubles = _roles(file, flags)
    urls = [_manager_url(one.settings) for one in roles if not _is_stand_in(one.settings)]
    for finding in examine_machine(dict(os.environ), urls):
        yield finding
    for finding in troubles or [ok("settings", _set_up(roles))]:
        yield finding
    told: set[tuple[str, str]] = set()
    for one in roles:
        async for finding in examine_place(_place(one, default_folder), file_limit(), memory_room()):
            # Both roles have much in common, and more where nobody has said anything of either.
            what = (finding.check, "" if _is_stand_in(one.settings) and finding.check in SAID_ONCE else finding.seen)
            if what not in told:
                told.add(what)
                yield finding
    for one in roles:
        if not _is_stand_in(one.settings):
            async for finding in _others(one.settings):
                yield finding


def _roles(file: dict[str, object], flags: dict[str, str | None]) -> tuple[list[Resolved], list[Finding]]:
    """The roles that were set up here, as they would start; both, where none was. And what keeps them from starting."""
    wanted = [role for role in BOTH if _is_set_up(role, file)]
    resolved, troubles = [], []
    for role in wanted or BOTH:
        stand_in = {} if wanted else STAND_INS[role]
        try:
            resolved.append(resolve(role, {**flags, **stand_in}, os.environ, file))
        except UsageError as error:
            troubles.append(
                fail(
                    "settings",
                    str(error),
                    f"mend that (environment, minicdn.toml): no {role} would start with it, and nothing more of it is checked",
                )
            )
    return resolved, list({finding.seen: finding for finding in troubles}.values())


def _is_set_up(role: str, file: dict[str, object]) -> bool:
    [needed] = STAND_INS[role]
    section = file.get(role)
    return bool(os.environ.get(f"MINICDN_{needed.upper()}")) or (isinstance(section, dict) and needed in section)


def _set_up(roles: list[Resolved]) -> str:
    settings = [one.settings for one in roles if not _is_stand_in(one.settings)]
    if not settings:
        return "neither a manager nor a peer is set up here (environment, minicdn.toml): what they would take by default is looked at"
    return " and ".join(f"a manager of {one.upstream}" if one.role == "manager" else f"a peer of {one.manager}" for one in settings)


def _manager_url(settings: Settings) -> str:
    """By which clients would begin."""
    return settings.manager or own_url(settings.host, settings.port, settings.advertise, has_tls=settings.tls_cert is not None)


def _is_stand_in(settings: Settings) -> bool:
    return (settings.upstream or settings.manager or "").endswith(".invalid")


def _place(one: Resolved, default_folder: DefaultFolder) -> Place:
    settings = one.settings
    settings = replace(settings, cache_dir=settings.cache_dir or default_folder(settings.role, settings.port))
    may_take_next = settings.role == "peer" and "port" not in one.given
    return Place(settings, may_take_next, lambda: open_listener(settings.host, settings.port).close())


async def _others(settings: Settings) -> Findings:
    """Whom the node would talk to."""
    if settings.role == "peer" and settings.manager is not None:
        known = {"pin": settings.fingerprint, "token": settings.token}
        async for finding in examine_cluster(settings.manager, **known, rng=random.Random(), is_joining=True):
            yield finding
    if settings.role == "manager" and settings.upstream is not None:
        async for finding in examine_upstream(settings.upstream + "/", is_file=False, policy=policy_of(settings)):
            yield finding
