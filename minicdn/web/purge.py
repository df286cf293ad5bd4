"""The doors for purges: `PURGE /path` at any node's content door, and `POST /_purge` with a list. Both reach every node.

    PURGE /big.iso           that path               X-Minicdn-Purge: hard   remove it, instead of marking it stale
    PURGE /releases/*        every path that begins so
    POST  /_purge            {"paths": […], "prefixes": […], "tags": […], "soft": true}

The answer is JSON: how many entries on how many nodes, and the URLs of nodes that could not be told yet. A page of another site may not
have a browser purge: browsers say where such a request comes from.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.responses import Response as Answer
from starlette.routing import Route

from minicdn.core.headers import first
from minicdn.core.message import Fields
from minicdn.core.purging import Purge, parse_purge, purge_of_key
from minicdn.errors import ClientError, MinicdnError
from minicdn.node.node import Node
from minicdn.web.content import Response, parse_request
from minicdn.web.log import NO_STORE
from minicdn.web.status import status_of
from minicdn.web.watching import ClientGone, Receive, Scope, Send
from minicdn.wire.purges import PurgeAnswer, PurgeCall

KIND_FIELD = b"x-minicdn-purge"
KINDS = (b"soft", b"hard")


class Purges(Protocol):
    """What a role does about purges (roles/journaling.py, roles/handing.py)."""

    async def purge(self, purge: Purge) -> PurgeAnswer: ...
    async def handle(self, call: PurgeCall) -> PurgeAnswer: ...


class PurgingRole(Protocol):
    node: Node
    purges: Purges


class PurgeDoor:
    """Plain ASGI, for the method PURGE."""

    def __init__(self, role: PurgingRole) -> None:
        self._role = role

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = Response(self._role.node, scope, receive, send)
        try:
            request = response.request = parse_request(scope, self._role.node.ignored_query)
            refuse_strangers(request.fields)
            found = await self._role.purges.purge(purge_of_key(request.key, is_soft=_is_soft(request.fields)))
            await _answer(response, found)
        except MinicdnError as error:
            await response.refuse(*status_of(error))
        except ClientGone:
            pass
        finally:
            response.log()


def purge_route(role: PurgingRole, read_body: Callable[[Request], Awaitable[bytes]]) -> Route:
    """`POST /_purge`."""

    async def purge(request: Request) -> Answer:
        fields = request.headers.raw
        refuse_strangers(fields)
        host = (first(fields, b"host") or b"").decode("latin-1").lower()
        node, origins = role.node, {*role.node.origins(), f"http://{host}", f"https://{host}"}
        found = parse_purge(await read_body(request), origins, node.upstream_url or "", node.ignored_query)
        return JSONResponse(shown(await role.purges.purge(found)), headers=NO_STORE)

    return Route("/_purge", purge, methods=["POST"])


def shown(found: PurgeAnswer) -> dict[str, Any]:
    return {"purged": found.purged, "nodes": found.nodes, "unreachable": sorted(found.unreachable)}


async def _answer(response: Response, found: PurgeAnswer) -> None:
    answer = JSONResponse(shown(found), headers=NO_STORE)
    await response.start(200, answer.raw_headers, is_followed=True)
    await response.end(bytes(answer.body))


def _is_soft(fields: Fields) -> bool:
    kind = (first(fields, KIND_FIELD) or b"soft").lower()
    if kind not in KINDS:
        raise ClientError(400, "X-Minicdn-Purge is soft or hard")
    return kind == b"soft"


def refuse_strangers(fields: Fields) -> None:
    """A page of another site may not have a browser change anything here: browsers say where such a request comes from."""
    origin = first(fields, b"origin")
    if origin is None:
        return
    host = (first(fields, b"host") or b"").decode("latin-1").lower()
    try:
        is_own = urlsplit(origin.decode("latin-1").lower()).netloc == host
    except ValueError:
        is_own = False
    if not is_own:
        raise ClientError(403, "a page of another site may not do that")
