"""sse-starlette in Starlette: the items are dicts, as in its documentation."""

from __future__ import annotations

from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from benchmarks.response.servers.streams import PATHS, TOKEN, served


async def stream(request: Request) -> EventSourceResponse:
    return EventSourceResponse(PATHS[request.url.path]({"data": TOKEN}))


app = served(Starlette(routes=[Route(path, stream) for path in PATHS]))
