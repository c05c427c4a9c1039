"""sse-starlette behind the middleware of `wrapped`."""

from __future__ import annotations

from benchmarks.load.servers import sse_starlette_app
from benchmarks.load.servers.wrapped import Header

app = Header(sse_starlette_app.app)
