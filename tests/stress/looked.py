"""The broadcast with a look inside, for the stress test: ``GET /tasks`` says how many tasks the loop has.

`app` is served as it is, `wrapped` behind a middleware that takes `send` into a task of its own, and
`direct` behind the same, with streams that pass it by.
"""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from fastsse.broadcast import Direct
from fastsse.broadcast.app import create_app
from fastsse.broadcast.settings import Settings

broadcast = create_app(Settings.load())


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http" and scope["path"] == "/tasks":
        tasks = JSONResponse({"tasks": len(asyncio.all_tasks())})
        await tasks(scope, receive, send)
    else:
        await broadcast(scope, receive, send)


class Header(BaseHTTPMiddleware):
    """Adds a header, as many middlewares of applications do."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = await call_next(request)
        response.headers["x-served-by"] = "middleware"
        return response


wrapped = Header(app)
direct = Direct(wrapped)
