"""The set-ups: a manager alone, and a cluster of a manager with two peers; real servers on loopback, all in one process and one thread.

In the cluster every row's paths belong to the peer `one`; `two` meets them as somebody else's. The watch of `two` is set wrong by
SKEW_SECONDS, as a laptop's may be: no answer may show it. The manager's own watch runs, so that leases do.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Coroutine, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvicorn

from minicdn.core.roster import owners
from minicdn.core.target import parse_target
from minicdn.loops import loop_factory
from minicdn.roles.manager import Manager
from minicdn.roles.peer import Peer
from minicdn.roles.role import Role
from minicdn.server import _config
from minicdn.settings import KIB, MIB, Settings
from minicdn.web.app import build_app
from minicdn.web.protocol import protocol_class
from tests.conformance.kit_clock import Time, Watch
from tests.conformance.kit_origin import Origin
from tests.conformance.kit_rows import ALONE, FAR, OWNER

SKEW_SECONDS = -1000.0
SMALL_BYTES = 64 * KIB
SILENCE_SECONDS = 1.5
"""How long the nodes wait for an upstream that says nothing."""
WAIT_SECONDS = 20.0
SETTLE_SECONDS = 5.0


class Mistakes(logging.Filter):
    """Exceptions that nobody handled, noted instead of printed: the nodes' thread must not format tracebacks while pytest does (CPython
    3.11 then mixes up its parsers), and a row during which a node's program fails has failed."""

    LOGGERS = ("uvicorn.error", "asyncio")

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.lost: list[str] = []
        self.thread_id: int | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        if record.thread != self.thread_id:
            return True  # of somebody else's nodes, in the same process
        if record.levelno >= logging.ERROR:
            kind, error, trace = record.exc_info or (None, None, None)
            while trace is not None and trace.tb_next is not None:
                trace = trace.tb_next
            where = f" in {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else ""
            text = f"{record.getMessage()}: {kind.__name__ if kind else ''}: {error}{where}"
            # asyncio speaks of a lost task when it is collected, which may be rows later.
            (self.lost if record.name == "asyncio" else self.found).append(text)
        return False


class Served:
    """A role behind its listening socket."""

    def __init__(self, role: Role, listener: socket.socket) -> None:
        self.role = role
        self.node = role.node
        self.address: tuple[str, int] = listener.getsockname()
        self._listener = listener
        self._server = uvicorn.Server(_config(build_app(role), protocol_class()))

    @property
    def name(self) -> str:
        return f"minicdn-{self.node.id}"

    async def start(self) -> None:
        await self.role.start()
        self._serving = asyncio.ensure_future(self._server.serve(sockets=[self._listener]))
        while not self._server.started:  # noqa: ASYNC110 — uvicorn has no event for it
            await asyncio.sleep(0.005)
        self.role.listening(self.address[1])

    async def stop(self) -> None:
        await self.role.stop()
        self._server.should_exit = self._server.force_exit = True
        await self._serving


class Stage:
    """All nodes, their upstream and their time. Methods are called from the test's thread."""

    def __init__(self, folder: Path) -> None:
        self.time = Time()
        self.origin = Origin()
        self.mistakes = Mistakes()
        self._folder = folder
        self._loop = (loop_factory() or asyncio.new_event_loop)()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stage", daemon=True)

    @contextlib.contextmanager
    def open(self) -> Iterator[Stage]:
        self._thread.start()
        self.mistakes.thread_id = self._thread.ident
        for name in Mistakes.LOGGERS:
            logging.getLogger(name).addFilter(self.mistakes)
        try:
            self.run(self._start())
            yield self
        finally:
            self.run(self._stop())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(WAIT_SECONDS)
            for name in Mistakes.LOGGERS:
                logging.getLogger(name).removeFilter(self.mistakes)

    def run(self, work: Coroutine[Any, Any, Any], seconds: float = WAIT_SECONDS) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds)

    def tell(self, call: Any, *arguments: Any) -> None:
        """Something for the nodes' thread to do, done when this returns."""

        async def do() -> None:
            call(*arguments)

        self.run(do())

    # Who is who

    def client_side(self, set_up: str) -> Served:
        """The node that the client of this set-up meets."""
        return {ALONE: self.alone, OWNER: self.one, FAR: self.two}[set_up]

    def other_side(self, set_up: str) -> Served:
        return {ALONE: self.alone, OWNER: self.two, FAR: self.one}[set_up]

    def owner(self, set_up: str) -> Served:
        return self.alone if set_up == ALONE else self.one

    def nodes(self, set_up: str) -> list[Served]:
        return [self.alone] if set_up == ALONE else [self.one, self.two]

    def path(self, set_up: str, name: str, targets: list[str], ignored_query: Iterable[str] = ()) -> str:
        """A path that nobody has used, such that in a cluster `one` owns it and all of `targets` (where `@` stands for it)."""
        members = self.one.node.peers.members
        for number in range(10_000):
            path = f"/c/{set_up}-{name}.{number}"
            found = [target.replace("@", path).encode("latin-1") for target in targets if target.startswith("@")]
            keys = [parse_target(target, frozenset(ignored_query)) for target in found]
            if set_up == ALONE or all(owners(key, members, 1)[0].id == self.one.node.id for key in keys):
                return path
        raise AssertionError(f"no path of which all variations belong to one node: {targets}")

    # Between the steps

    def apply_policy(self, set_up: str, changes: dict[str, Any]) -> None:
        """What the operator sets differently, by names of Settings; {}: as at the start."""
        for served in self.nodes(set_up):
            self.tell(served.node.adopt, replace(self._settings[served.name], **changes))

    def joins(self, set_up: str) -> int:
        return sum(served.node.stats().get("joins_count", 0) for served in self.nodes(set_up))

    async def wait_until(self, is_so: Any, what: str, seconds: float = SETTLE_SECONDS) -> None:
        """Until something is so that no event tells of."""
        until = self._loop.time() + seconds
        while not is_so():
            assert self._loop.time() < until, f"not within {seconds:g} s: {what}"
            await asyncio.sleep(0.001)

    def settle(self, set_up: str) -> None:
        """Until no fill is under way."""
        nodes = [served.node for served in self.nodes(set_up)]
        self.run(self.wait_until(lambda: not any(node.stats()["fills_count"] for node in nodes), "the fills end"))

    # Life

    async def _start(self) -> None:
        await self.origin.start()
        self.alone = self._serve(Manager, "alone", 0.0)
        await self.alone.start()
        self.manager = self._serve(Manager, "manager", None)
        await self.manager.start()
        self.one, self.two = self._serve(Peer, "one", 0.0), self._serve(Peer, "two", SKEW_SECONDS)
        for served in (self.one, self.two):
            await served.start()
        for served in (self.one, self.two):
            await self.wait_until(lambda node=served.node: len(node.peers.members) == 2, f"{served.name} follows the list", WAIT_SECONDS)
        self._settings = {served.name: served.node.settings for served in (self.alone, self.one, self.two)}

    async def _stop(self) -> None:
        for served in (self.two, self.one, self.manager, self.alone):
            await served.stop()
        await self.origin.stop()

    def _serve(self, kind: type[Role], id: str, skew_seconds: float | None) -> Served:
        listener = socket.create_server(("127.0.0.1", 0))
        role: dict[str, Any] = {"upstream": f"http://127.0.0.1:{self.origin.port}"}
        if kind is Peer:
            role = {"role": "peer", "manager": f"http://127.0.0.1:{self.manager.address[1]}"}
        settings = Settings(
            host="127.0.0.1",
            port=listener.getsockname()[1],
            cache_dir=self._folder / id,
            memory_bytes=64 * MIB,
            disk_bytes=256 * MIB,
            small_bytes=SMALL_BYTES,
            upstream_read_seconds=SILENCE_SECONDS,
            **role,
        )
        clock = None if skew_seconds is None else Watch(self.time, skew_seconds)
        return Served(kind(settings, node_id=id, clock=clock, say=lambda text: None), listener)
