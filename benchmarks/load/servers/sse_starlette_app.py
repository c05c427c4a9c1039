"""sse-starlette, as its documentation broadcasts: a queue for each subscriber, drained by its generator."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator

from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

subscribers: defaultdict[str, set[asyncio.Queue[str]]] = defaultdict(set)


async def subscribe(request: Request) -> EventSourceResponse:
    async def events() -> AsyncIterator[dict[str, str]]:
        queue: asyncio.Queue[str] = asyncio.Queue()
        queues = subscribers[request.query_params["topic"]]
        queues.add(queue)
        try:
            while True:
                yield {"data": await queue.get()}
        finally:
            queues.discard(queue)

    return EventSourceResponse(events())


async def publish(request: Request) -> JSONResponse:
    data = (await request.body()).decode()
    for queue in subscribers[request.query_params["topic"]]:
        queue.put_nowait(data)
    return JSONResponse({})


async def health(_: Request) -> JSONResponse:
    return JSONResponse({"streams": sum(map(len, subscribers.values()))})


app = Starlette(
    routes=[
        Route("/events", subscribe),
        Route("/events", publish, methods=["POST"]),
        Route("/health", health),
    ]
)
