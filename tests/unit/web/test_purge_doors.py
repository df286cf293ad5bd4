"""The doors for purges and for explain, at both roles, asked as a server would ask them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from minicdn.core.freshness import is_fresh
from minicdn.core.purging import Purge
from minicdn.roles.peer import Peer
from minicdn.settings import Settings
from minicdn.web.app import build_app
from minicdn.wire.codec import CONTENT_TYPE, decode, encode
from minicdn.wire.purges import PurgeAnswer, PurgeCall
from tests.unit.roles.making import Desk
from tests.unit.store.making import put
from tests.unit.web import asgi
from tests.unit.web.asgi import Answer

HOST = {"host": "cdn:11000"}


async def ask(app: Any, method: str, target: str, **more: Any) -> Answer:
    """From this machine, as without a token nobody else may."""
    return await asgi.ask(app, method, target, **{"client": ("127.0.0.1", 50123), **more})


class Purges:
    """Takes down what is asked for."""

    def __init__(self) -> None:
        self.asked: list[Purge] = []

    async def purge(self, purge: Purge) -> PurgeAnswer:
        self.asked.append(purge)
        return PurgeAnswer(3, 4, ("http://b", "http://a"))


def asked_at(folder: Path, role: str, test: Any) -> Any:
    """The result of the coroutine `test(role, app)` at a started manager or peer."""

    async def run() -> Any:
        if role == "manager":
            async with Desk(folder) as desk:
                return await test(desk.manager, build_app(desk.manager))
        settings = Settings(role="peer", manager="http://manager:11000", cache_dir=folder / "cache", disk_bytes=1 << 20)
        peer = Peer(settings)
        await peer.start()
        try:
            return await test(peer, build_app(peer))
        finally:
            await peer.stop()

    return asyncio.run(run())


def purged(folder: Path, role: str, method: str, target: str, **more: Any) -> tuple[Answer, list[Purge]]:
    async def test(role: Any, app: Any) -> tuple[Answer, list[Purge]]:
        real, role.purges = role.purges, Purges()
        try:
            return await ask(app, method, target, **{"headers": HOST, **more}), role.purges.asked
        finally:
            role.purges = real

    return asked_at(folder, role, test)


@pytest.mark.parametrize("role", ["manager", "peer"])
@pytest.mark.parametrize(
    ("method", "target", "more", "purge"),
    [
        ("PURGE", "/a?b=c", {}, Purge(frozenset(("/a?b=c",)))),
        ("PURGE", "/a/*", {}, Purge(prefixes=("/a/",))),
        ("PURGE", "/a", {"headers": {**HOST, "x-minicdn-purge": "Hard"}}, Purge(frozenset(("/a",)), is_soft=False)),
        ("PURGE", "/a", {"headers": {**HOST, "origin": "http://cdn:11000"}}, Purge(frozenset(("/a",)))),
        ("POST", "/_purge", {"body": b'{"tags": ["t"], "soft": false}'}, Purge(tags=frozenset(("t",)), is_soft=False)),
        ("POST", "/_purge", {"body": b'{"paths": ["http://cdn:11000/a", "http://127.0.0.1:9/b"]}'}, None),
    ],
)
def test_what_is_asked_for_goes_to_the_role(tmp_path: Path, role: str, method: str, target: str, more: Any, purge: Purge | None) -> None:
    answer, asked = purged(tmp_path, role, method, target, **more)
    if purge is None and role == "peer":  # it has not learned of the upstream yet
        assert answer.status == 400
        return
    assert asked == [purge or Purge(frozenset(("/a", "/b")))]
    assert answer.status == 200 and answer.headers["cache-control"] == "no-store"
    assert json.loads(answer.body) == {"purged": 3, "nodes": 4, "unreachable": ["http://a", "http://b"]}


@pytest.mark.parametrize(
    ("method", "target", "more", "status"),
    [
        ("PURGE", "/a", {"headers": {**HOST, "origin": "http://evil.example"}}, 403),
        ("PURGE", "/a", {"headers": {**HOST, "origin": "null"}}, 403),
        ("PURGE", "/a", {"headers": {**HOST, "x-minicdn-purge": "softly"}}, 400),
        ("PURGE", "/../a", {}, 400),
        ("PURGE", "http://other/a", {}, 421),
        ("PURGE", "/_stats", {}, 405),
        ("POST", "/_purge", {"headers": {**HOST, "origin": "http://evil.example"}, "body": b'{"tags": ["t"]}'}, 403),
        ("POST", "/_purge", {"body": b"{"}, 400),
        ("POST", "/_purge", {"body": b" " * (1 << 20) + b"{}"}, 413),
        ("PUT", "/_purge", {}, 405),
    ],
)
def test_what_is_refused_never_reaches_the_role(tmp_path: Path, method: str, target: str, more: Any, status: int) -> None:
    answer, asked = purged(tmp_path, "manager", method, target, **more)
    assert (answer.status, asked) == (status, [])
    assert answer.text.count("\n") == 1


@pytest.mark.parametrize("role", ["manager", "peer"])
def test_the_door_for_other_nodes(tmp_path: Path, role: str) -> None:
    async def test(role: Any, app: Any) -> None:
        entry = put(role.node.shelf, "/a", b"x")
        call = encode(PurgeCall("other", "t", Purge(frozenset(("/a",)))).to_wire())
        answer = await ask(app, "POST", "/_rpc/purge", body=call, headers={"content-type": CONTENT_TYPE})
        assert PurgeAnswer.from_wire(decode(answer.body)).purged == 1
        assert not is_fresh(entry.stored, role.clock.wall())
        assert (await ask(app, "POST", "/_rpc/purge", body=call)).status == 415

    asked_at(tmp_path, role, test)


@pytest.mark.parametrize("role", ["manager", "peer"])
def test_explain_tells_what_is_stored_and_what_would_be_done(tmp_path: Path, role: str) -> None:
    async def test(role: Any, app: Any) -> None:
        role.node.purger.is_unsure = False
        put(role.node.shelf, "/a+b?c=%2F&d", b"12345", response_at=role.clock.wall() - 60)
        answer = await ask(app, "GET", "/_explain?target=%2Fa+b%3Fc=%252F%26d", headers=HOST)
        found = json.loads(answer.body)
        assert found["key"] == "/a+b?c=%2F&d" and found["is_owner"] and found["owners"] == []
        assert found["plan"] == {"action": "serve", "reason": "it is fresh"}
        [variant] = found["variants"]
        assert variant["is_chosen"] and variant["is_fresh"] and variant["lifetime_seconds"] == 600.0
        assert variant["body"] == {"medium": "memory", "state": "whole", "bytes": 5, "length": 5}
        assert found["node"]["id"] == role.node.id
        hits = role.node.counters.get("hits_count")
        assert hits == 0, "to look is not to use"
        nothing = json.loads((await ask(app, "GET", "/_explain?target=/else", headers=HOST)).body)
        assert not nothing["stored"] and nothing["plan"]["action"] == "fetch" and nothing["plan"]["asks"] == "upstream"

    asked_at(tmp_path, role, test)


@pytest.mark.parametrize(
    "query", ["", "?target=", "?target=a", "?target=/_stats", "?target=http://evil.example/a", "?target=%FF", "?target=/%25zz"]
)
def test_explain_asked_wrongly_says_how(tmp_path: Path, query: str) -> None:
    async def test(role: Any, app: Any) -> None:
        answer = await ask(app, "GET", f"/_explain{query}", headers=HOST)
        assert answer.status == 400 and answer.text.count("\n") == 1

    asked_at(tmp_path, "manager", test)
