"""The doors under `/_…`: what peers say to their manager, and what anybody may look at.

    GET  /_health  /_peers  /_stats      JSON, at every node
    GET  /_metrics                       Prometheus' text, at every node
    GET  /_targets                       JSON, at the manager
    GET  /_explain?target=/path          JSON, at every node (explain.py)
    POST /_purge                         JSON, at every node (purge.py)
    GET  /_log?limit=N&follow=1          JSON lines, at the manager (log.py)
    POST /_rpc/join  renew  leave  lease  accuse  log   msgpack, at the manager
    POST /_rpc/purge                     msgpack, at every node

A message must come as application/msgpack: no web page can make a browser send that to a stranger, so none can sign a peer
off. Nothing here may be stored on the way. What is wrong is answered with one line of text that says why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from minicdn.core.metrics import CONTENT_TYPE as METRICS_TYPE
from minicdn.core.metrics import Metric, exposition
from minicdn.core.targets import METRICS_PATH
from minicdn.errors import ClientError
from minicdn.roles.manager import Manager
from minicdn.web.explain import explain_route
from minicdn.web.log import NO_STORE, log_response
from minicdn.web.preheat import preheat_routes
from minicdn.web.purge import purge_route
from minicdn.wire.codec import CONTENT_TYPE, MESSAGE_BYTES_MAX, Taker, decode, encode
from minicdn.wire.messages import Accusation, Join, LeaseCall, LogBatch, Renew, take_id
from minicdn.wire.preheats import LoadCall
from minicdn.wire.purges import PurgeCall

PAGES = "_health, _peers, _stats, _metrics, _targets, _log, _explain, _purge, _preheat and _play/PATH"
BODY_SECONDS = 10.0
"""How long a message's body may take to arrive."""

Handle = Callable[[dict[str, Any], str | None], Awaitable[Mapping[str, Any]]]
"""A message as a map, and the address it came from; gives the answer as a map."""


class Visible(Protocol):
    """What every role shows of itself."""

    def health(self) -> dict[str, Any]: ...
    def peers(self) -> dict[str, Any]: ...
    def stats(self) -> dict[str, Any]: ...
    def metrics(self) -> list[Metric]: ...


def control_app(role: Visible) -> Starlette:
    """The Starlette application for every path that begins with `/_` and is not about content (/_rpc/get, /_play/…)."""
    routes = [*_look_routes(role), *_door_routes(role), *(_manager_routes(role) if isinstance(role, Manager) else _peer_routes(role))]
    handlers: dict[Any, Any] = {HTTPException: _on_http_error, ClientError: _on_client_error, Exception: _on_mistake}
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.router.redirect_slashes = False
    return app


def _look_routes(role: Visible) -> list[Route]:
    async def health(request: Request) -> Response:
        found = role.health()
        return JSONResponse(found, 200 if found["ready"] else 503, headers=NO_STORE)

    async def peers(request: Request) -> Response:
        return JSONResponse(role.peers(), headers=NO_STORE)

    async def stats(request: Request) -> Response:
        return JSONResponse(role.stats(), headers=NO_STORE)

    async def metrics(request: Request) -> Response:
        return Response(exposition(role.metrics()), headers=NO_STORE, media_type=METRICS_TYPE)

    return [Route("/_health", health), Route("/_peers", peers), Route("/_stats", stats), Route(METRICS_PATH, metrics)]


def _door_routes(role: Any) -> list[Route]:
    async def purge(found: dict[str, Any], address: str | None) -> Mapping[str, Any]:
        return (await role.purges.handle(PurgeCall.from_wire(found))).to_wire()

    return [explain_route(role), purge_route(role, _read_body), Route("/_rpc/purge", _message_door(purge), methods=["POST"])]


def _manager_routes(manager: Manager) -> list[Route]:
    async def log(request: Request) -> Response:
        file = manager.log.file if manager.log is not None else None
        return await log_response(file, request, stall_seconds=manager.settings.client_stall_seconds)

    async def targets(request: Request) -> Response:
        return JSONResponse(manager.targets(), headers=NO_STORE)

    async def join(found: dict[str, Any], address: str | None) -> Mapping[str, Any]:
        return (await manager.handle_join(Join.from_wire(found), address)).to_wire()

    async def renew(found: dict[str, Any], address: str | None) -> Mapping[str, Any]:
        return (await manager.handle_renew(Renew.from_wire(found), address)).to_wire()

    async def leave(found: dict[str, Any], address: str | None) -> Mapping[str, Any]:
        await manager.handle_leave(take_id(Taker(found)))
        return {}

    async def lease(found: dict[str, Any], address: str | None) -> Mapping[str, Any]:
        return (await manager.handle_lease(LeaseCall.from_wire(found))).to_wire()

    async def accuse(found: dict[str, Any], address: str | None) -> Mapping[str, Any]:
        await manager.handle_accuse(Accusation.from_wire(found), address)
        return {}

    async def take_log(found: dict[str, Any], address: str | None) -> Mapping[str, Any]:
        await manager.handle_log(LogBatch.from_wire(found))
        return {}

    calls: dict[str, Handle] = {"join": join, "renew": renew, "leave": leave, "lease": lease, "accuse": accuse, "log": take_log}
    rpc = [Route(f"/_rpc/{name}", _message_door(handle), methods=["POST"]) for name, handle in calls.items()]
    return [Route("/_log", log), Route("/_targets", targets), *preheat_routes(manager, _read_body), *rpc]


def _peer_routes(peer: Any) -> list[Route]:
    """Those who took this node for the manager are told where that is."""

    async def elsewhere(request: Request) -> Response:
        manager = peer.health().get("manager")
        raise ClientError(404, f"this is a peer; ask its manager, at {manager}{request.url.path}")

    async def load(found: dict[str, Any], address: str | None) -> Mapping[str, Any]:
        return (await peer.node.loads.load(LoadCall.from_wire(found))).to_wire()

    calls = ("join", "renew", "leave", "lease", "accuse", "log")
    pages = [
        Route("/_log", elsewhere),
        Route("/_targets", elsewhere),
        Route("/_preheat", elsewhere, methods=["GET", "POST"]),
        Route("/_preheat/{id}", elsewhere, methods=["GET", "DELETE"]),
    ]
    rpc = [Route(f"/_rpc/{name}", elsewhere, methods=["POST"]) for name in calls]
    return [*pages, Route("/_rpc/load", _message_door(load), methods=["POST"]), *rpc]


def _message_door(handle: Handle) -> Callable[[Request], Awaitable[Response]]:
    async def door(request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != CONTENT_TYPE:
            raise ClientError(415, f"a message comes as {CONTENT_TYPE}")
        found = decode(await _read_body(request))
        answer = await handle(found, request.client.host if request.client is not None else None)
        return Response(encode(answer), headers=NO_STORE, media_type=CONTENT_TYPE)

    return door


async def _read_body(request: Request) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MESSAGE_BYTES_MAX:
                    raise ClientError(413, f"a message has at most {MESSAGE_BYTES_MAX} bytes")
    except TimeoutError:
        raise ClientError(408, f"the message did not arrive within {BODY_SECONDS:g} s") from None
    except ClientDisconnect:
        raise ClientError(400, "the message broke off") from None
    return bytes(body)


# What went wrong, in one line of text


async def _on_client_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ClientError)
    return _text(error.status, error.reason)


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        allowed = ", ".join(sorted((error.headers or {}).get("Allow", "").split(", ")))
        return _text(405, f"this path answers to {allowed} only", {"allow": allowed})
    if error.status_code == 404:
        return _text(404, f"no such page; under /_ there are {PAGES}, and never anything of the upstream")
    return _text(error.status_code, error.detail, error.headers)


async def _on_mistake(request: Request, error: Exception) -> Response:
    return _text(500, "a mistake in minicdn; its standard error says more")


def _text(status: int, reason: str, headers: Mapping[str, str] | None = None) -> Response:
    return PlainTextResponse(f"{reason}\n", status, headers={**NO_STORE, **(headers or {})})
