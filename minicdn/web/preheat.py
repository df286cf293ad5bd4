"""The doors for preheats, at the manager: files that are to be in the cluster before anybody asks for them.

POST   /_preheat        {"urls": ["/big.iso"], "copies": 1, "headers": {}}     202, and where its state is
GET    /_preheat        all that are remembered, the newest first
GET    /_preheat/ID     its state, per node; ?wait=SECONDS: when it is over, or after so long
DELETE /_preheat/ID     it ends; what is there stays
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from minicdn.core.headers import first
from minicdn.core.preheat import parse_order
from minicdn.errors import ClientError
from minicdn.roles.manager import Manager
from minicdn.web.log import NO_STORE
from minicdn.web.purge import refuse_strangers

PATH = "/_preheat"


def preheat_routes(manager: Manager, read_body: Callable[[Request], Awaitable[bytes]]) -> list[Route]:
    preheats, node = manager.preheats, manager.node

    async def listing(request: Request) -> Response:
        if request.method == "POST":
            return await begin(request)
        now = node.clock.wall()
        return JSONResponse({"preheats": [each.as_json(now, is_brief=True) for each in preheats.all()]}, headers=NO_STORE)

    async def begin(request: Request) -> Response:
        fields = request.headers.raw
        refuse_strangers(fields)
        host = (first(fields, b"host") or b"").decode("latin-1").lower()
        origins = {*node.origins(), f"http://{host}", f"https://{host}"}
        preheat = preheats.begin(parse_order(await read_body(request), origins, node.upstream_url or ""))
        headers = {**NO_STORE, "location": f"{PATH}/{preheat.id}"}
        return JSONResponse(preheat.as_json(node.clock.wall()), 202, headers=headers)

    async def one(request: Request) -> Response:
        id = request.path_params["id"]
        if request.method == "DELETE":
            refuse_strangers(request.headers.raw)
            found = preheats.cancel(id)
        else:
            found = await preheats.wait(id, _seconds(request.query_params.get("wait", "0")))
        return JSONResponse(found.as_json(node.clock.wall()), headers=NO_STORE)

    return [Route(PATH, listing, methods=["GET", "POST"]), Route(f"{PATH}/{{id}}", one, methods=["GET", "DELETE"])]


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise ClientError(400, "wait is a number of seconds")
    return seconds
