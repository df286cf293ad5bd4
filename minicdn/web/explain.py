"""`GET /_explain?target=/path`: what this node would do with a request for that target now, and why, as JSON.

The target is percent-encoded, as it goes into a query. The fields of this very request stand for the client's: Vary chooses by them.
"""

from __future__ import annotations

from typing import Any, Protocol
from urllib.parse import unquote_to_bytes

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from minicdn.core.headers import end_to_end
from minicdn.core.purging import parse_path
from minicdn.errors import ClientError
from minicdn.node.node import Node
from minicdn.web.log import NO_STORE


class ExplainingRole(Protocol):
    name: str
    node: Node

    def url(self) -> str | None: ...


def explain_route(role: ExplainingRole) -> Route:
    async def explain(request: Request) -> Response:
        node, target = role.node, _target(request.scope["query_string"])
        key = parse_path(target, node.origins(), node.upstream_url or "", node.ignored_query)
        if key.startswith("/_"):
            raise ClientError(400, "paths that begin with /_ belong to minicdn itself")
        found: dict[str, Any] = {"node": {"id": role.node.id, "role": role.name, "url": role.url()}}
        found |= role.node.explain("GET", key, end_to_end(request.headers.raw))
        return JSONResponse(found, headers=NO_STORE)

    return Route("/_explain", explain)


def _target(query: bytes) -> str:
    """A `+` is a plus here: paths know no other meaning."""
    for parameter in query.split(b"&"):
        name, _, value = parameter.partition(b"=")
        if name == b"target" and value:
            return unquote_to_bytes(value).decode("utf-8", "surrogateescape")
    raise ClientError(400, "which target? Ask for /_explain?target=/path, percent-encoded")
