"""Litestar's server-sent events: the items are text."""

from __future__ import annotations

from litestar import Litestar, Request, get
from litestar.response import ServerSentEvent

from benchmarks.response.servers.streams import PATHS, TOKEN, served


@get(list(PATHS), sync_to_thread=False)
def stream(request: Request) -> ServerSentEvent:
    return ServerSentEvent(PATHS[request.url.path](TOKEN))


app = served(Litestar([stream]))
