"""A server of your own: a countdown as an event stream, in Starlette (any ASGI framework will do).

    python -m granian --interface asgi --working-dir examples --port 8001 countdown:app
    curl -N 'localhost:8001/countdown?start=5'

Each event's id is its number, so a client that was cut off goes on where it was. `last_event_id` returns the id that
the client has seen last, whether the client sends it in a header or in the query.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from fastsse import Event, EventSourceResponse, last_event_id

LONGEST = 3600  # seconds
SECOND = 1.0


async def countdown(request: Request) -> Response:
    given = last_event_id(request.scope) or request.query_params.get("start", "10")
    if not given.isascii() or not given.isdigit() or int(given) > LONGEST:
        return PlainTextResponse(f"start {given!r:.60}: must be 0 to {LONGEST}\n", 400)
    return EventSourceResponse(numbers(int(given)), retry=1000)


async def numbers(start: int) -> AsyncIterator[Event]:
    """Yield one event a second, down to zero, then `done`, after which a client need not come back."""
    for left in range(start - 1, 0, -1):
        yield Event(str(left), event="left", id=str(left))
        await asyncio.sleep(SECOND)
    yield Event("lift-off", event="done", id="0")


app = Starlette(routes=[Route("/countdown", countdown)])
