"""An application that embeds a hub in every way that fastsse offers, for the tests to run under real servers.

`app` is as the README has it: a hub in the lifespan, an endpoint that returns a response. `EMBEDDED=direct` and so on
choose what stands around it.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import PlainTextResponse, Response

from fastsse import EventSourceResponse
from fastsse.broadcast import Direct, Hub, Settings
from fastsse.broadcast.app import create_app

hub = Hub(Settings(heartbeat=0, lifetime=0))
mounted = create_app(hub=Hub(Settings(heartbeat=0, lifetime=0)))


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    await hub.start()
    await mounted.hub.start()
    yield
    await mounted.hub.stop()
    await hub.stop()
    print("stopped", flush=True)


fast = FastAPI(lifespan=lifespan)


@fast.get("/response")
async def response() -> Any:
    return hub.response("a")


@fast.get("/items", response_model=None)
async def items() -> Response:
    async def follow() -> AsyncIterator[Any]:
        yield "open"
        async with hub.subscribe("a") as events:
            async for event in events:
                yield event

    return EventSourceResponse(follow(), last="shutdown")  # type: ignore[return-value]


@fast.get("/health")
async def health() -> Response:
    return PlainTextResponse(str(hub.open_streams))


fast.mount("/mounted", mounted)


class Raw:
    """An endpoint of plain ASGI, beside those of the framework."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == "/raw":
            await hub.stream(receive, send, "a", scope=scope)
        else:
            await fast(scope, receive, send)


class _Through(BaseHTTPMiddleware):
    async def dispatch(self, request: Any, call_next: Any) -> Any:
        return await call_next(request)


_around = os.environ.get("EMBEDDED", "")
if "middleware" in _around:
    fast.add_middleware(_Through)
app: Any = Direct(Raw()) if "direct" in _around else Raw()
