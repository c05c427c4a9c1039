"""The application of `shared` in Sanic, over its own server: ``python -m support.adapted.on_sanic PORT``."""

from __future__ import annotations

import sys
from typing import Any

from sanic import Request, Sanic
from sanic.response import empty, json
from support.adapted import shared

from fastsse.adapters.sanic import EventSourceResponse, from_asgi, last_event_id

hub = shared.make_hub()
app: Any = Sanic("adapted")


@app.before_server_start
async def start(_: Any) -> None:
    await hub.start()


@app.after_server_stop
async def stop(_: Any) -> None:
    await hub.stop()


@app.get("/health")
async def health(_: Request) -> Any:
    return json({})


@app.get("/words")
async def words(request: Request) -> Any:
    return EventSourceResponse(shared.words(last_event_id(request)))


@app.route("/endless", ["GET", "HEAD"])
async def endless(_: Request) -> Any:
    return EventSourceResponse(shared.endless(), **shared.ENDLESS)


@app.get("/blocking")
async def blocking(_: Request) -> Any:
    return EventSourceResponse(shared.blocking(), on_close=shared.log.append)


@app.get("/flood")
async def flood(_: Request) -> Any:
    return EventSourceResponse(shared.flood(), **shared.FLOOD)


@app.get("/fails")
async def fails(_: Request) -> Any:
    return EventSourceResponse(shared.fails())


@app.get("/first")
async def first(_: Request) -> Any:
    return EventSourceResponse(shared.fails_first(), wait_first=True)


@app.get("/hub")
async def follow(_: Request) -> Any:
    return from_asgi(hub.response("news"))


@app.post("/publish")
async def publish(_: Request) -> Any:
    await hub.publish("news", "hello")
    return empty(200)


@app.get("/log")
async def read_log(_: Request) -> Any:
    return json(shared.log)


if __name__ == "__main__":
    app.run("127.0.0.1", int(sys.argv[1]), single_process=True, access_log=False, motd=False)
