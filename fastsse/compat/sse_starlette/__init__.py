"""The names of sse-starlette 3: put ``fastsse.compat.sse_starlette`` where an import says ``sse_starlette``.

    from fastsse.compat.sse_starlette import EventSourceResponse, JSONServerSentEvent, ServerSentEvent
    from fastsse.compat.sse_starlette.sse import AppStatus

The differences stand at the top of `sse` and `event`, and in `docs/migrating/sse-starlette.md`.
"""

from __future__ import annotations

from fastsse.compat.sse_starlette.event import JSONServerSentEvent, ServerSentEvent
from fastsse.compat.sse_starlette.sse import EventSourceResponse

__all__ = ["EventSourceResponse", "JSONServerSentEvent", "ServerSentEvent"]

__version__ = "3.7.0"  # whose names and bytes these are
