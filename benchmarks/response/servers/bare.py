"""Starlette's StreamingResponse, without any library for events: the items are blocks made before."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from benchmarks.response.servers.streams import BLOCK, PATHS, served


async def stream(request: Request) -> StreamingResponse:
    return StreamingResponse(PATHS[request.url.path](BLOCK), media_type="text/event-stream")


app = served(Starlette(routes=[Route(path, stream) for path in PATHS]))
