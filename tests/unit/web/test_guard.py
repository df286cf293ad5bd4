"""Who may do what, asked of a node's whole web as a server would ask it."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from minicdn.core.headers import first
from minicdn.core.signing import ANSWER_FIELD, ANYBODY, MANAGER
from minicdn.roles.peer import Peer
from minicdn.settings import Settings
from minicdn.web.app import build_app
from minicdn.wire.codec import CONTENT_TYPE, decode, encode
from minicdn.wire.fetch import FetchRequest
from minicdn.wire.messages import Join, JoinAnswer
from minicdn.wire.signing import Signed, Signer
from tests.unit.node.fakes import FakeClock
from tests.unit.roles.making import Desk
from tests.unit.web.asgi import Answer, ask

TOKEN = "correct-horse-battery"
JOIN = encode(Join("anna", 11001, None, "0.1.0").to_wire())
HERE, ELSEWHERE = ("127.0.0.1", 50123), ("10.0.0.5", 50123)
CLOSED = [
    ("PURGE", "/a"),
    ("POST", "/_purge"),
    ("POST", "/_preheat"),
    ("DELETE", "/_preheat/x"),
    ("GET", "/_log"),
    ("GET", "/_explain?target=/a"),
    ("GET", "/_nothing"),
]
RPC = ["join", "renew", "leave", "lease", "accuse", "log", "purge", "load", "get", "pieces"]
OPEN = ["/_health", "/_peers", "/_stats", "/_metrics", "/_targets"]


class Node:
    """A manager, or a peer that the list calls http://10.0.0.5:11001, and its web."""

    def __init__(self, desk: Desk) -> None:
        self.desk, self.clock = desk, desk.clock
        self.app = build_app(desk.manager)
        self.said = desk.said
        desk.clock.wall_now += 1
        self.signer = Signer(TOKEN, desk.clock.wall)

    def sign(self, target: str, body: bytes = b"", *, method: str = "POST", audience: str = MANAGER) -> Signed:
        return self.signer.sign(audience, method, target.encode(), body)

    async def ask(self, method: str, target: str, body: bytes = b"", authorization: bytes | None = None, **more: Any) -> Answer:
        headers = {"content-type": CONTENT_TYPE, "host": "cdn:11000"}
        if authorization is not None:
            headers["authorization"] = authorization.decode("latin-1")
        return await ask(self.app, method, target, body=body, headers=headers, **{"client": ELSEWHERE, **more})

    async def join(self, signed: Signed | None, body: bytes = JOIN, target: str = "/_rpc/join") -> Answer:
        return await self.ask("POST", target, body, signed.field if signed is not None else None)


def at_manager(folder: Path, story: Any, token: str | None = TOKEN) -> Any:
    async def run() -> Any:
        async with Desk(folder, token=token) as desk:
            return await story(Node(desk))

    return asyncio.run(run())


@pytest.mark.parametrize(("method", "target"), CLOSED)
def test_with_a_token_nobody_else_sees_or_purges(method: str, target: str, tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        for client in (HERE, ELSEWHERE):
            answer = await node.ask(method, target, client=client)
            assert answer.status == 401 and answer.headers["www-authenticate"] == 'Bearer realm="minicdn"'
            assert answer.text.count("\n") == 1 and "token" in answer.text

    at_manager(tmp_path, story)


@pytest.mark.parametrize("name", RPC)
def test_with_a_token_no_rpc_is_answered_unsigned(name: str, tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        for authorization in (
            None,
            b"Bearer " + TOKEN.encode(),
            b"Basic abc",
            Signer("another-token-altogether", node.clock.wall).sign(MANAGER, "POST", b"/_rpc/" + name.encode(), JOIN).field,
        ):
            answer = await node.ask("POST", f"/_rpc/{name}", JOIN, authorization, client=HERE)
            assert answer.status == 401 and answer.headers["www-authenticate"] == "Minicdn"
        assert not node.desk.ids and not node.desk.prober.probed
        assert node.desk.manager.node.counters.get("refusals_count") == 4

    at_manager(tmp_path, story)


@pytest.mark.parametrize("target", OPEN)
def test_probes_and_clients_need_no_token(target: str, tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        answer = await node.ask("GET", target)
        assert answer.status == 200 and TOKEN not in answer.text

    at_manager(tmp_path, story)


@pytest.mark.parametrize(("method", "target"), CLOSED)
def test_without_a_token_people_are_answered_on_the_nodes_own_machine_only(method: str, target: str, tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        answer = await node.ask(method, target)
        assert answer.status == 403 and "--token-file" in answer.text
        assert (await node.ask(method, target, client=HERE)).status not in (401, 403)

    at_manager(tmp_path, story, token=None)


def test_without_a_token_nodes_join(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        assert (await node.join(None)).status == 200 and node.desk.ids == ["anna"]

    at_manager(tmp_path, story, token=None)


def test_the_bearer_of_the_token_may(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        for scheme in (b"Bearer ", b"bearer "):
            answer = await node.ask("GET", "/_explain?target=/a", authorization=scheme + TOKEN.encode())
            assert answer.status == 200
        for other in (b"Bearer " + TOKEN[:-1].encode(), b"Bearer", b"Bearer ", b"Bearer \xff"):
            assert (await node.ask("GET", "/_explain?target=/a", authorization=other)).status == 401

    at_manager(tmp_path, story)


def test_a_signed_join_is_answered_with_a_signed_list(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        signed = node.sign("/_rpc/join", JOIN)
        answer = await node.join(signed)
        assert answer.status == 200 and JoinAnswer.from_wire(decode(answer.body)).status == "joined"
        fields = [(name.encode(), value.encode()) for name, value in answer.headers.items()]
        assert first(fields, ANSWER_FIELD) is not None
        assert signed.is_mine(200, answer.body, fields)
        assert not signed.is_mine(200, answer.body[:-1] + b"x", fields)
        assert not node.sign("/_rpc/join", JOIN).is_mine(200, answer.body, fields)

    at_manager(tmp_path, story)


def test_a_repeated_message_is_refused_and_said(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        first, second = node.sign("/_rpc/join", JOIN), node.sign("/_rpc/join", JOIN)
        assert [(await node.join(signed)).status for signed in (second, first, second, first)] == [200, 200, 401, 401]
        assert any("refused POST '/_rpc/join' of 10.0.0.5: this message does not count: it was sent before" in line for line in node.said)
        assert len([line for line in node.said if "refused" in line]) == 1, "one who guesses must not fill the log"

    at_manager(tmp_path, story)


def test_a_changed_message_is_refused(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        signed = node.sign("/_rpc/join", JOIN)
        assert (await node.join(signed, JOIN.replace(b"anna", b"evil"))).status == 401
        assert (await node.join(signed, target="/_rpc/join?x")).status == 401
        assert (await node.join(signed, target="/_rpc/leave")).status == 401
        assert (await node.join(signed)).status == 200

    at_manager(tmp_path, story)


@pytest.mark.parametrize(("seconds", "side"), [(-301, "behind"), (301, "ahead of")])
def test_a_wrong_clock_is_named(seconds: int, side: str, tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        # As after ten minutes of running: nothing is too old for the start's sake.
        node.clock.wall_now += 600
        there = Signer(TOKEN, lambda: node.clock.wall_now + seconds)
        answer = await node.join(there.sign(MANAGER, "POST", b"/_rpc/join", JOIN))
        assert answer.status == 401
        assert f"the sender's clock is 301 s {side} this node's; they may differ by 300 s" in answer.text
        near = Signer(TOKEN, lambda: node.clock.wall_now + seconds * 0.99)
        assert (await node.join(near.sign(MANAGER, "POST", b"/_rpc/join", JOIN))).status == 200

    at_manager(tmp_path, story)


def test_what_was_signed_before_the_node_started_is_to_be_signed_again(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        before = Signer(TOKEN, lambda: node.clock.wall_now - 10)
        answer = await node.join(before.sign(MANAGER, "POST", b"/_rpc/join", JOIN))
        assert answer.status == 425 and "sign it again" in answer.text

    at_manager(tmp_path, story)


def test_a_look_of_any_name_is_for_get_alone(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        looked = node.sign("/_explain?target=/a", method="GET", audience=ANYBODY)
        assert (await node.ask("GET", "/_explain?target=/a", authorization=looked.field)).status == 200
        assert (await node.join(node.sign("/_rpc/join", JOIN, audience=ANYBODY))).status == 401

    at_manager(tmp_path, story)


def test_what_was_said_to_one_peer_does_not_count_at_another(tmp_path: Path) -> None:
    async def story() -> None:
        clock = FakeClock()
        settings = Settings(
            role="peer", manager="http://manager:11000", cache_dir=tmp_path / "cache", disk_bytes=1 << 20, token=TOKEN,
            advertise="http://10.0.0.5:11001",
        )  # fmt: skip
        peer = Peer(settings, clock=clock)
        await peer.start()
        app = build_app(peer)
        clock.wall_now += 1
        signer, body = Signer(TOKEN, clock.wall), encode(FetchRequest("GET", "/a", ()).to_wire())
        try:
            for url, status in (("http://10.0.0.6:11001", 401), (MANAGER, 401), (ANYBODY, 401), ("http://10.0.0.5:11001", 200)):
                field = signer.sign(url, "POST", b"/_rpc/get", body).field.decode()
                assert (
                    await ask(app, "POST", "/_rpc/get", body=body, headers={"authorization": field, "host": "10.0.0.6:11001"})
                ).status == status
        finally:
            await peer.stop()

    asyncio.run(story())


def test_an_endless_message_is_cut_off_before_it_is_looked_at(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        assert (await node.join(None, b"x" * (1024 * 1024 + 1))).status == 413

    at_manager(tmp_path, story)


def test_content_never_meets_the_guard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client of the site's files pays nothing for tokens, and needs none."""
    from minicdn.web import guard

    async def story(node: Node) -> None:
        met: list[str] = []

        async def pass_on(self: Any, scope: Any, *more: Any) -> None:
            met.append(scope["path"])

        monkeypatch.setattr(guard.Guard, "pass_on", pass_on)
        await node.join(node.sign("/_rpc/join", JOIN))
        for method in ("GET", "HEAD", "POST", "OPTIONS"):
            await node.ask(method, "/a")
        assert met == ["/_rpc/join"]

    at_manager(tmp_path, story)


def test_every_page_is_known_to_be_open_or_closed(tmp_path: Path) -> None:
    """A page that is new is closed until somebody decides otherwise, here and in docs/security.md."""

    async def story(node: Node) -> None:
        from minicdn.web.control import control_app

        for route in control_app(node.desk.manager).routes:
            path = re.sub(r"\{.*?\}", "x", route.path)
            for method in sorted(route.methods):
                assert ((await node.ask(method, path)).status == 401) == (path not in OPEN), path

    at_manager(tmp_path, story)
