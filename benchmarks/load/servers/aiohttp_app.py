"""aiohttp-sse on aiohttp's own server: ``python aiohttp_app.py PORT``; a queue for each subscriber."""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict

from aiohttp import web
from aiohttp_sse import EventSourceResponse, sse_response

subscribers: defaultdict[str, set[asyncio.Queue[str]]] = defaultdict(set)


async def subscribe(request: web.Request) -> EventSourceResponse:
    queue: asyncio.Queue[str] = asyncio.Queue()
    queues = subscribers[request.query["topic"]]
    async with sse_response(request) as response:
        queues.add(queue)
        try:
            while response.is_connected():
                await response.send(await queue.get())
        finally:
            queues.discard(queue)
    return response


async def publish(request: web.Request) -> web.Response:
    data = await request.text()
    for queue in subscribers[request.query["topic"]]:
        queue.put_nowait(data)
    return web.json_response({})


async def health(_: web.Request) -> web.Response:
    return web.json_response({"streams": sum(map(len, subscribers.values()))})


def main() -> None:
    app = web.Application()
    app.router.add_get("/events", subscribe)
    app.router.add_post("/events", publish)
    app.router.add_get("/health", health)
    web.run_app(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        backlog=4096,
        access_log=None,
        print=None,
        handler_cancellation=True,
    )


if __name__ == "__main__":
    main()
