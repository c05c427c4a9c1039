"""fastsse behind a middleware that wraps `send` in a task and stream of its own: Starlette's BaseHTTPMiddleware."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount

from fastsse.broadcast.app import create_app
from fastsse.broadcast.settings import Settings


class Header(BaseHTTPMiddleware):
    """What people write it for."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = await call_next(request)
        response.headers["x-served-by"] = "middleware"
        return response


broadcast = create_app(Settings.load())
app = Starlette(
    routes=[Mount("/", broadcast)],
    middleware=[Middleware(Header)],
    lifespan=lambda _: broadcast._lifespan(broadcast._rest),
)
