"""Runs one role behind one listening socket, and closes it well.

Two steps end a node (closing.py says when; docs/adr/0003-close.md says why):

    warm   leave the list -> answer on for a moment those who were already on their way -> close the door
           -> let running downloads finish, within --drain -> stop the role -> exit code 0
    cold   cut every connection, stop the role, exit code 130; closing.py's thread ends the process if that takes too long

The socket is bound before anything else starts, so that a taken port is said at once, and listening from then on, so that
whoever connects during the start waits instead of being refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import socket
import ssl
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, Protocol

import uvicorn

from minicdn.closing import Closing, Stage, exit_within
from minicdn.console import Console
from minicdn.errors import COLD_EXIT_CODE
from minicdn.loops import keep_tidy, loop_factory, settle_collector
from minicdn.pressure import watch_memory

LEAVE_SECONDS = 4.0
"""For the role to leave its list; it has a shorter deadline of its own. A manager that can't be told notices by our silence."""
LINGER_SECONDS = 1.0
"""Clients redirected just before we left arrive within this time, and are served."""
SHARED_SECONDS = 10.0
"""A worker that has not joined by then answers all the same, and says why."""
STOP_SECONDS = 5.0
COLD_STOP_SECONDS = 0.4
KEEP_ALIVE_SECONDS = 75
_POLL_SECONDS = 0.05
_log = logging.getLogger("minicdn.server")


class Role(Protocol):
    connections_count: Callable[[], int] | None

    @property
    def is_ready(self) -> bool: ...
    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def begin_drain(self) -> None: ...
    def listening(self, port: int) -> None: ...


def serve(
    role: Role, app: Any, protocol: type[asyncio.Protocol], listeners: Sequence[socket.socket], *,
    closing: Closing, console: Console, announce: Callable[[], None], leaves_a_list: bool, drain_seconds: float,
    tls: ssl.SSLContext | None = None,
) -> int:  # fmt: skip
    """Until a signal ends it. Returns the exit code; errors of the start (OperatorError) come out as they are.

    app: an ASGI callable; listeners: the first one's port is the node's own; protocol: a subclass of one of uvicorn's HTTP protocols.
    """
    settle_collector()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        config = _config(app, protocol, tls)
        server = NodeServer(role, config, closing, console, announce, leaves_a_list=leaves_a_list, drain_seconds=drain_seconds)
        code = runner.run(server.run_until_closed(listeners))
        exit_within(STOP_SECONDS, code)  # a thread that hangs in a system call must not keep the process
    return code


def _config(app: Any, protocol: type[asyncio.Protocol], tls: ssl.SSLContext | None = None) -> uvicorn.Config:
    return uvicorn.Config(
        app, http=protocol, ws="none", lifespan="off", interface="asgi3", log_config=None, access_log=False,
        server_header=False, date_header=False, proxy_headers=False, timeout_keep_alive=KEEP_ALIVE_SECONDS,
        ssl_context_factory=None if tls is None else lambda config, default: tls,
    )  # fmt: skip


class NodeServer(uvicorn.Server):
    """uvicorn's connections and protocols; start, end and signals are ours."""

    def __init__(
        self, role: Role, config: uvicorn.Config, closing: Closing, console: Console, announce: Callable[[], None], *,
        leaves_a_list: bool, drain_seconds: float,
    ) -> None:  # fmt: skip
        super().__init__(config)
        self._role, self._closing, self._console, self._announce = role, closing, console, announce
        self._leaves_a_list = leaves_a_list
        self._drain_seconds = drain_seconds
        self._opening: asyncio.Task[None] | None = None
        role.connections_count = lambda: len(self.server_state.connections)

    async def run_until_closed(self, listeners: Sequence[socket.socket]) -> int:
        self._closing.attach(asyncio.get_running_loop())
        if not await self._start_role():
            self._console.say("closed before it had started")
            return COLD_EXIT_CODE if self._closing.stage == Stage.COLD else 0
        serving = asyncio.ensure_future(self.serve(sockets=list(listeners[:1])))
        self._opening = asyncio.ensure_future(self._open_shared(listeners[1:]))
        self._tidying = asyncio.ensure_future(keep_tidy(lambda: self.server_state.total_requests))
        shedding = getattr(self.config.app, "shedding", None)
        self._watching = asyncio.ensure_future(watch_memory(shedding)) if shedding is not None else None
        if await self._is_over_before_cold(serving):
            await serving
            await _within(STOP_SECONDS, self._role.stop(), "stopping")
            return 0
        self._console.say("stopping now")
        self._cut_connections()
        serving.cancel()
        await _within(COLD_STOP_SECONDS, self._role.stop(), "stopping")
        return COLD_EXIT_CODE

    async def _open_shared(self, listeners: Sequence[socket.socket]) -> None:
        """The ports that other processes serve, too: who is not ready would take their clients to answer them with an error. Those who
        have come wait meanwhile, but not for ever."""
        loop = asyncio.get_running_loop()
        until = loop.time() + SHARED_SECONDS
        while listeners and not (self.started and (self._role.is_ready or loop.time() > until)):  # noqa: ASYNC110 — there is no event for both
            await asyncio.sleep(_POLL_SECONDS)
        for listener in listeners:
            config = self.config
            self.servers.append(await loop.create_server(self._new_connection, sock=listener, ssl=config.ssl, backlog=config.backlog))

    def _new_connection(self) -> asyncio.Protocol:
        """As uvicorn makes them."""
        return self.config.http_protocol_class(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    async def _start_role(self) -> bool:
        """False: a signal came first."""
        starting = asyncio.ensure_future(self._role.start())
        asked = asyncio.ensure_future(self._closing.wait_for(Stage.WARM))
        await asyncio.wait({starting, asked}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if self._closing.stage == Stage.RUNNING:
            await starting  # raises what the start raised
            return True
        starting.cancel()
        await asyncio.wait({starting}, timeout=COLD_STOP_SECONDS)
        await _within(COLD_STOP_SECONDS, self._role.stop(), "stopping")
        return False

    async def _is_over_before_cold(self, serving: asyncio.Task[None]) -> bool:
        asked = asyncio.ensure_future(self._closing.wait_for(Stage.COLD))
        await asyncio.wait({serving, asked}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        return self._closing.stage < Stage.COLD

    # What uvicorn calls, in this order

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn would handle them, and raise them again at the end, which spoils the exit code."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        assert sockets
        found = self._role.listening(sockets[0].getsockname()[1])
        if inspect.isawaitable(found):
            await found
        self._announce()

    async def main_loop(self) -> None:
        await self._closing.wait_for(Stage.WARM)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._closing.stage == Stage.COLD:
            return  # at once, by SIGQUIT: run_until_closed cuts
        await self._leave()
        self._close_door(sockets or [])
        await self._drain()

    # The steps of a warm close

    async def _leave(self) -> None:
        self._say_goodbye_with_each_answer()
        self._console.say(f"closing: {self._doing()}; Ctrl-C again to stop now")
        await _within(LEAVE_SECONDS, self._role.begin_drain(), "leaving the list")
        if self._leaves_a_list:
            await asyncio.sleep(LINGER_SECONDS)

    def _say_goodbye_with_each_answer(self) -> None:
        """From here on an answer closes its connection, so that the next request goes elsewhere. The app is exchanged rather than
        wrapped from the start: requests pay for it only while closing."""
        app = self.config.loaded_app = _closing_after(self.config.loaded_app)
        for connection in self.server_state.connections:
            connection.app = app  # type: ignore[union-attr]

    def _doing(self) -> str:
        leaving = "leaving the list, " if self._leaves_a_list else ""
        count = self._download_count()
        return leaving + (f"finishing {_downloads(count)}" if count else "no download is running")

    def _close_door(self, sockets: list[socket.socket]) -> None:
        if self._opening is not None:
            self._opening.cancel()
        for server in self.servers:
            server.close()
        for listener in sockets:
            listener.close()

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + self._drain_seconds
        said_count = 0
        while count := self._shut_idle():
            if loop.time() >= until:
                self._console.say(f"closed: {_downloads(count)} cut off, since --drain was over")
                self._cut_connections()
                return
            if count != said_count:
                self._console.progress(f"finishing {_downloads(count)}; Ctrl-C again to stop now")
                said_count = count
            await asyncio.sleep(_POLL_SECONDS)
        self._cut_connections()
        self._console.say("closed: every download finished")

    def _shut_idle(self) -> int:
        """Tell idle connections to close and busy ones to close after their answer; how many downloads are left."""
        for connection in list(self.server_state.connections):
            connection.shutdown()
        return self._download_count()

    def _download_count(self) -> int:
        return sum(_is_download(connection) for connection in self.server_state.connections)

    def _cut_connections(self) -> None:
        for connection in list(self.server_state.connections):
            transport = getattr(connection, "transport", None)
            if transport is not None:
                transport.abort()


def _closing_after(app: Any) -> Any:
    async def answer_and_close(scope: Any, receive: Any, send: Any) -> None:
        async def send_with_close(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
            await send(message)

        await app(scope, receive, send_with_close)

    return answer_and_close


def _is_download(connection: Any) -> bool:
    """Somebody (a client, or a peer by RPC) is being sent content. A follower of /_log or a held renewal is none: it never ends."""
    cycle = getattr(connection, "cycle", None)
    if cycle is None or cycle.response_complete:
        return connection.transport is not None and connection.transport.get_write_buffer_size() > 0
    path = cycle.scope.get("path", "")
    return not path.startswith("/_") or path in ("/_rpc/get", "/_rpc/pieces") or path.startswith("/_play/")


def _downloads(count: int) -> str:
    return "1 download" if count == 1 else f"{count} downloads"


async def _within(seconds: float, work: Coroutine[Any, Any, None], what: str) -> None:
    """A step of a close that must not hold up the next: what goes wrong in it is said, and no more."""
    try:
        async with asyncio.timeout(seconds):
            await work
    except TimeoutError:
        _log.warning("%s took longer than %g s; going on without", what, seconds)
    except Exception:
        _log.warning("%s went wrong; going on without", what, exc_info=True)
