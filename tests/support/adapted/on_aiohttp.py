"""The application of `shared` in aiohttp, over its own server: ``python -m support.adapted.on_aiohttp PORT LOOP``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import AsyncIterator

from aiohttp import web
from support.adapted import shared

from fastsse.adapters.aiohttp import EventSourceResponse, from_asgi, last_event_id

hub = shared.make_hub()
routes = web.RouteTableDef()


async def life(_: web.Application) -> AsyncIterator[None]:
    async with hub:
        yield


@routes.get("/health")
async def health(_: web.Request) -> web.StreamResponse:
    return web.Response()


@routes.get("/words")
async def words(request: web.Request) -> web.StreamResponse:
    return EventSourceResponse(shared.words(last_event_id(request)))


@routes.get("/endless")
async def endless(_: web.Request) -> web.StreamResponse:
    return EventSourceResponse(shared.endless(), **shared.ENDLESS)


@routes.get("/blocking")
async def blocking(_: web.Request) -> web.StreamResponse:
    return EventSourceResponse(shared.blocking(), on_close=shared.log.append)


@routes.get("/flood")
async def flood(_: web.Request) -> web.StreamResponse:
    return EventSourceResponse(shared.flood(), **shared.FLOOD)


@routes.get("/fails")
async def fails(_: web.Request) -> web.StreamResponse:
    return EventSourceResponse(shared.fails())


@routes.get("/first")
async def first(_: web.Request) -> web.StreamResponse:
    return EventSourceResponse(shared.fails_first(), wait_first=True)


@routes.get("/within")
async def within(request: web.Request) -> web.StreamResponse:
    return await EventSourceResponse(shared.fails_first(), wait_first=True).stream(request)


@routes.get("/hub")
async def follow(_: web.Request) -> web.StreamResponse:
    return from_asgi(hub.response("news"))


@routes.post("/publish")
async def publish(_: web.Request) -> web.StreamResponse:
    await hub.publish("news", "hello")
    return web.Response()


@routes.get("/log")
async def read_log(_: web.Request) -> web.StreamResponse:
    return web.json_response(shared.log)


@web.middleware
async def translate(request: web.Request, handler: web.Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except RuntimeError:
        return web.Response(status=503)


app = web.Application(middlewares=[translate])
app.add_routes(routes)
app.cleanup_ctx.append(life)

if __name__ == "__main__":
    loop = importlib.import_module(sys.argv[2]).new_event_loop()
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, loop=loop)
