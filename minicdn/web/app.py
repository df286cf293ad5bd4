"""Where a request goes: peers' questions, control under /_…, purges, or content. One `if` each."""

from __future__ import annotations

import random
from typing import Any

from minicdn.core.playing import PLAY
from minicdn.errors import ClientError
from minicdn.web.content import Content, parse_request
from minicdn.web.control import control_app
from minicdn.web.direct import Direct
from minicdn.web.guard import Guard
from minicdn.web.peerlane import PeerLane
from minicdn.web.pieces import PiecesDoor
from minicdn.web.play import PREFIX, inside, showing
from minicdn.web.protocol import target_of
from minicdn.web.purge import PurgeDoor
from minicdn.web.rpc import PeerDoor
from minicdn.web.shedding import Shedding
from minicdn.web.status import text_fields
from minicdn.web.watching import Receive, Scope, Send


def build_app(role: Any, rng: random.Random | None = None, *, listens_since: float | None = None) -> Any:
    """The whole web of a node. role: a Manager or a Peer; rng: for the choice of a peer to redirect to; listens_since: guard.py."""
    choose = getattr(role, "choose_peer", None)

    def serves_itself() -> bool:
        is_busy = role.is_draining or role.node.purger.is_sweeping
        return not is_busy and (choose is None or not role.node.peers.members)

    dice = rng or random.Random()
    shedding = Shedding(role.settings.connections_max, role.node.counters)
    content, peers, control, purges = Content(role.node, shedding, serves_itself), PeerDoor(role.node), control_app(role), PurgeDoor(role)
    pieces, guard = PiecesDoor(role.node, dice), Guard(role, role.settings.token, listens_since)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path, prefix = scope["raw_path"], b""
        if path.startswith(PREFIX):
            if scope["method"] not in ("GET", "HEAD"):
                await _say(send, 405, "what is played is asked for with GET or HEAD", [(b"allow", b"GET, HEAD")])
                return
            scope, prefix = inside(scope), PLAY
            send = showing(send, scope)
        elif path.startswith(b"/_"):
            door = peers if path == b"/_rpc/get" else pieces if path == b"/_rpc/pieces" else control
            await guard.pass_on(scope, receive, send, door)
            return
        if scope["method"] == "PURGE":
            await guard.pass_on(scope, receive, send, purges)
            return
        if choose is not None and scope["method"] in ("GET", "HEAD"):
            member = choose(dice)
            if member is not None:
                await _redirect(role, scope, send, member.url + prefix.decode())
                return
        await content(scope, receive, send)

    app.express, app.shedding = content.express, shedding  # type: ignore[attr-defined]
    app.direct = Direct(role.node, content, PeerLane(role.node, content.name) if role.settings.token is None else None)  # type: ignore[attr-defined]
    return app


async def _redirect(role: Any, scope: Scope, send: Send, url: str) -> None:
    """302 to the same path and query, byte for byte, at a peer."""
    try:
        parse_request(scope)
    except ClientError as error:
        await _say(send, error.status, error.reason, [])
        return
    target = target_of(scope)
    if not target.startswith(b"/"):
        target = b"/" + target.split(b"://", 1)[1].partition(b"/")[2]
    role.node.counters.add("redirects_count")
    location = url.encode() + target
    await _say(send, 302, "this file is served by a peer", [(b"location", location)])


async def _say(send: Send, status: int, reason: str, more: list[tuple[bytes, bytes]]) -> None:
    text = (reason + "\n").encode("utf-8", "replace")
    await send({"type": "http.response.start", "status": status, "headers": [*text_fields(status, len(text)), *more]})
    await send({"type": "http.response.body", "body": text, "more_body": False})
