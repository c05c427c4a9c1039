"""fastsse in Starlette: the items are text."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from benchmarks.response.servers.streams import PATHS, TOKEN, served
from fastsse import EventSourceResponse


async def stream(request: Request) -> EventSourceResponse:
    return EventSourceResponse(PATHS[request.url.path](TOKEN))


app = served(Starlette(routes=[Route(path, stream) for path in PATHS]))
