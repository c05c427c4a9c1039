"""An application whose event stream has its first item only after an hour, as a model that thinks for long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from fastsse import EventSourceResponse


async def items() -> AsyncIterator[str]:
    await asyncio.sleep(3600)
    yield "late"


async def events(_: Request) -> EventSourceResponse:
    return EventSourceResponse(items())


async def health(_: Request) -> PlainTextResponse:
    return PlainTextResponse("ok")


app = Starlette(routes=[Route("/events", events), Route("/health", health)])
