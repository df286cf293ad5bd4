"""A node that has started and not yet heard what its upstream is."""

from __future__ import annotations

import asyncio

from minicdn.node.node import Node
from minicdn.roles.manager import Manager
from minicdn.settings import Settings
from minicdn.web.app import build_app
from minicdn.wire.codec import decode, encode
from minicdn.wire.fetch import FetchAnswer, FetchRequest
from tests.unit.web.asgi import ask


def test_a_client_is_to_come_again_and_a_peer_is_to_ask_the_next_one() -> None:
    async def tell() -> None:
        role = Manager(Settings(upstream="http://127.0.0.1:9"), node_id="n", say=lambda text: None)
        assert isinstance(role.node, Node)
        role.node.set_upstream(None)
        app = build_app(role)
        answer = await ask(app, "GET", "/file", headers={"host": "h"})
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        found = await ask(app, "POST", "/_rpc/get", body=encode(FetchRequest("GET", "/file", ()).to_wire()))
        said = FetchAnswer.from_wire(decode(found.body[: int(found.headers["x-minicdn-head"])]))
        assert said.kind == "busy" and "not known yet" in said.detail
        await role.node.stop()

    asyncio.run(tell())
