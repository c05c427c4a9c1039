"""The items and options that the applications share, and the log of what became of their streams.

Each application has these endpoints, answered by the framework's own EventSourceResponse:

    /health         ready
    /words          two events, the second with the last event ID of the request
    /endless        one item, then heartbeats only; `last` is "bye"
    /blocking       a plain generator that blocks between its items, for ever
    /flood          large items without a pause, for ever; a send may take 0.3 s
    /fails          one item, then an exception
    /first          an exception before the first item, with `wait_first`
    /hub, /publish  a stream of a hub, and a publish
    /log            what has happened, as JSON
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from fastsse import Event
from fastsse.broadcast import Hub, Settings

__all__ = [
    "ENDLESS",
    "FLOOD",
    "SECRET",
    "blocking",
    "endless",
    "fails",
    "flood",
    "log",
    "make_hub",
    "words",
]

SECRET = "what-no-client-may-see"

log: list[str] = []

ENDLESS: dict[str, Any] = {"heartbeat": 0.2, "last": "bye", "on_close": log.append}
FLOOD: dict[str, Any] = {"send_timeout": 0.3, "on_close": log.append}


def make_hub() -> Hub:
    return Hub(Settings(heartbeat=0, lifetime=0))


async def words(last_event_id: str) -> AsyncIterator[Any]:
    yield {"data": "one\ntwo", "event": "word"}
    await asyncio.sleep(0)
    yield Event("three", id=last_event_id)


async def endless() -> AsyncIterator[str]:
    try:
        yield "open"
        await asyncio.Event().wait()
    finally:
        log.append("closed")


def blocking() -> Iterator[str]:
    try:
        while True:
            yield "open"
            time.sleep(0.01)
    finally:
        log.append("closed")


async def flood() -> AsyncIterator[str]:
    try:
        while True:
            yield "x" * 60_000
            await asyncio.sleep(0)
    finally:
        log.append("closed")


async def fails() -> AsyncIterator[str]:
    yield "open"
    await asyncio.sleep(0.01)
    raise RuntimeError(SECRET)


async def fails_first() -> AsyncIterator[str]:
    await asyncio.sleep(0.01)
    raise RuntimeError(SECRET)
    yield ""
