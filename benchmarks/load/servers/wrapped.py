"""fastsse behind a middleware that takes `send` into a task and a stream of its own: Starlette's BaseHTTPMiddleware."""

from __future__ import annotations

from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import Response

from fastsse.broadcast import Settings, tune_collector
from fastsse.broadcast.app import create_app


class Header(BaseHTTPMiddleware):
    """Add a header, which is what people write such a middleware for."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = await call_next(request)
        response.headers["x-served-by"] = "middleware"
        return response


app = Header(create_app(Settings.load()))
tune_collector()  # as docs/embedding.md says of an application with many streams
