"""A process that closes as minicdn does and serves nothing real: server.py and closing.py around a role of a few lines.

Paths: /gated streams until the file named by FAKE_GATE exists; /spin never gives the event loop back; /block sits in a system
call; /_follow streams for ever, as a follower of the log does; /error raises. FAKE_START=wait: the start never ends.
"""

# ruff: noqa: ASYNC110, ASYNC240, ASYNC251 - what no real role may do is what these tests are about
from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

from minicdn.closing import Closing
from minicdn.console import Console, set_up_logging
from minicdn.listener import open_listener
from minicdn.server import serve
from minicdn.web.protocol import protocol_class


class FakeRole:
    connections_count = None

    async def start(self) -> None:
        print("starting", flush=True)
        if os.environ.get("FAKE_START") == "wait":
            await asyncio.Event().wait()

    def listening(self, port: int) -> None:
        pass

    async def begin_drain(self) -> None:
        print("left the list", flush=True)
        if os.environ.get("FAKE_LEAVE") == "fail":
            raise RuntimeError("the manager is a teapot")

    async def stop(self) -> None:
        print("stopped", flush=True)
        if os.environ.get("FAKE_STOP") == "hang":
            loop = asyncio.get_running_loop()
            loop.run_in_executor(None, time.sleep, 3600)


async def app(scope, receive, send) -> None:
    path = scope["path"]
    if path == "/error":
        raise ValueError("an error of\nthe application")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"begun", "more_body": True})
    if path == "/spin":
        while True:
            pass
    if path == "/block":
        time.sleep(3600)
    while path == "/_follow" or (path in ("/gated", "/_rpc/get") and not Path(os.environ["FAKE_GATE"]).exists()):
        await asyncio.sleep(0.02)
    await send({"type": "http.response.body", "body": b"ended", "more_body": False})


if __name__ == "__main__":
    closing = Closing()
    closing.listen()
    set_up_logging()
    console = Console(sys.stdout)
    listener = open_listener("127.0.0.1", 0)
    code = serve(
        FakeRole(), app, protocol_class(), [listener], closing=closing, console=console,
        announce=lambda: console.say(f"ready at http://127.0.0.1:{listener.getsockname()[1]}"),
        leaves_a_list=True, drain_seconds=float(os.environ.get("FAKE_DRAIN", "60")),
    )  # fmt: skip
    sys.exit(code)
