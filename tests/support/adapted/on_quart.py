"""The application of `shared` in Quart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from quart import Quart, request
from support.adapted import shared

import fastsse
from fastsse.adapters.quart import EventSourceResponse, from_asgi, last_event_id

hub = shared.make_hub()
app = Quart(__name__)


@app.while_serving
async def life() -> AsyncIterator[None]:
    async with hub:
        yield


@app.get("/health")
async def health() -> str:
    return ""


@app.get("/words")
async def words() -> Any:
    return EventSourceResponse(shared.words(last_event_id(request)))


@app.get("/endless")
async def endless() -> Any:
    return EventSourceResponse(shared.endless(), **shared.ENDLESS)


@app.get("/blocking")
async def blocking() -> Any:
    return EventSourceResponse(shared.blocking(), on_close=shared.log.append)


@app.get("/flood")
async def flood() -> Any:
    return EventSourceResponse(shared.flood(), **shared.FLOOD)


@app.get("/fails")
async def fails() -> Any:
    return EventSourceResponse(shared.fails())


@app.get("/first")
async def first() -> Any:
    return await from_asgi(fastsse.EventSourceResponse(shared.fails_first(), wait_first=True))


@app.get("/context")
async def context() -> Any:
    async def items() -> AsyncIterator[str]:
        yield request.args["q"]

    return EventSourceResponse(items())


@app.get("/hub")
async def follow() -> Any:
    return await from_asgi(hub.response("news"))


@app.post("/publish")
async def publish() -> str:
    await hub.publish("news", "hello")
    return ""


@app.get("/log")
async def read_log() -> Any:
    return shared.log
