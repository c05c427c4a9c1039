"""Middlewares around an application, such as people have."""

from __future__ import annotations

from typing import Any

from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import Response

from fastsse.broadcast import Direct

__all__ = ["Header", "passed"]


class Header(BaseHTTPMiddleware):
    """Adds a header, and takes every chunk through a queue into another task."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = await call_next(request)
        response.headers["x-served-by"] = "middleware"
        return response


def passed(app: Any) -> Direct:
    """Put the application behind two middlewares, which its streams pass by."""
    return Direct(Header(Header(app)))
