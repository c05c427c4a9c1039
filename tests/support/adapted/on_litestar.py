"""The application of `shared` in Litestar."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from litestar import HttpMethod, Litestar, Request, get, post, route
from litestar.types import ASGIApp
from support.adapted import shared

import fastsse
from fastsse.adapters.litestar import EventSourceResponse, last_event_id

hub = shared.make_hub()


@asynccontextmanager
async def life(_: Litestar) -> AsyncIterator[None]:
    async with hub:
        yield


@get("/health")
async def health() -> str:
    return ""


@get("/words", media_type="text/event-stream")
async def words(request: Request[Any, Any, Any]) -> EventSourceResponse:
    return EventSourceResponse(shared.words(last_event_id(request)))


@route("/endless", http_method=[HttpMethod.GET, HttpMethod.HEAD])
async def endless() -> EventSourceResponse:
    return EventSourceResponse(shared.endless(), **shared.ENDLESS)


@get("/blocking")
async def blocking() -> EventSourceResponse:
    return EventSourceResponse(shared.blocking(), on_close=shared.log.append)


@get("/flood")
async def flood() -> EventSourceResponse:
    return EventSourceResponse(shared.flood(), **shared.FLOOD)


@get("/fails")
async def fails() -> EventSourceResponse:
    return EventSourceResponse(shared.fails())


@get("/first")
async def first() -> EventSourceResponse:
    return EventSourceResponse(shared.fails_first(), wait_first=True)


@get("/plain", response_headers={"x-layer": "1"})
async def plain() -> EventSourceResponse:
    response = EventSourceResponse(["one"], headers={"x-mine": "2"})
    response.set_cookie("seen", "yes")
    return response


@get("/bare", include_in_schema=False)
async def bare() -> fastsse.EventSourceResponse:
    return fastsse.EventSourceResponse(["one"])


@get("/hub")
async def follow() -> ASGIApp:
    return hub.response("news")


@post("/publish", status_code=200)
async def publish() -> None:
    await hub.publish("news", "hello")


@get("/log")
async def read_log() -> list[str]:
    return shared.log


app = Litestar(
    [health, words, endless, blocking, flood, fails, first, plain, bare, follow, publish, read_log],
    lifespan=[life],
)
