"""Hubs for tests: started with nothing that a clock does, followed through any kind of `send`.

Knows the hub's public methods and the server in memory. Must not know what a stream of a hub looks like beyond its
opening block, which is the tests' business.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from support.driver import Sends, Stream, open_stream
from support.middlewares import passed

from fastsse import Event
from fastsse.broadcast import Hub, Settings, Store

__all__ = ["QUIET", "data", "follow", "opened", "started"]

QUIET = {"heartbeat": 0.0, "lifetime": 0.0, "retry": 2000}
STEPPED = ("granian", "coroutine")  # sends that the pump may call itself


@asynccontextmanager
async def started(
    sends: Sends = "granian", store: Store | None = None, **knobs: Any
) -> AsyncIterator[Hub]:
    """Run a hub that steps the sends of this kind if they can be stepped; `knobs` are settings."""
    step_sends = True if sends in STEPPED else None
    async with Hub(Settings(**{**QUIET, **knobs}), store, step_sends=step_sends) as hub:
        yield hub


def follow(
    hub: Hub, *topics: str, sends: Sends = "granian", **options: Any
) -> AbstractAsyncContextManager[Stream]:
    """Open a stream of the hub; `options` are those of `Hub.stream`."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await hub.stream(receive, send, topics, scope=scope, **options)

    return open_stream(passed(app) if sends == "direct" else app, sends=sends)


async def opened(stream: Stream) -> str:
    """Take the opening block and return the last event ID that it gave; empty when it gave none."""
    block = (await stream.block()).decode()
    assert block.startswith((": fastsse\n", ": fastsse heartbeat="))
    ids = [line[4:] for line in block.splitlines() if line.startswith("id: ")]
    return ids[0] if ids else ""


def data(events: Iterable[Event]) -> list[str]:
    """List the data of events."""
    return [event.data for event in events]
