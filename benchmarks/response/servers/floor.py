"""The floor: a raw ASGI application that waits, and sends bytes made before. Nothing less can send a token."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from benchmarks.response.servers.streams import (
    AT_ONCE,
    BLOCK,
    DELAY,
    FIREHOSE,
    counted,
    ends,
    served,
)

HEADERS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store")]


async def floor(scope: Any, _receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    with counted():
        await _STREAMS[scope["path"]](send)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def tokens(send: Any) -> None:
    begun = ends[0]
    while ends[0] == begun:
        await asyncio.sleep(DELAY)
        await send({"type": "http.response.body", "body": BLOCK, "more_body": True})


async def firehose(send: Any) -> None:
    end = time.monotonic() + FIREHOSE
    while time.monotonic() < end:
        for _ in range(AT_ONCE):
            await send({"type": "http.response.body", "body": BLOCK, "more_body": True})


async def idle(send: Any) -> None:
    await send({"type": "http.response.body", "body": BLOCK, "more_body": True})
    await asyncio.Event().wait()


_STREAMS = {"/tokens": tokens, "/firehose": firehose, "/idle": idle}

app = served(floor)
