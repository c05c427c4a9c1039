"""Counts what a token costs in Python alone: contenders in one process, a server that takes everything, no network.

The CPU time of one thread hardly depends on who else uses the machine, and the contenders take turns, so the ratios of
the best rounds can guard the code. ``python -m benchmarks.response.inside`` prints them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from benchmarks.response.servers.streams import BLOCK, TOKEN
from fastsse import EventSourceResponse

__all__ = ["costs", "hoses"]

STREAMS = 10  # together
TOKENS = 1500  # of one stream
FIREHOSE = 30_000  # events of one stream
ROUNDS = 12

App = Callable[[Any, Any, Any], Any]


class Server:
    """A server that takes every message at once. Its module's name says that its `send` may be stepped."""

    __module__ = "uvicorn.benchmark"

    def __init__(self) -> None:
        self._gone = asyncio.Event()
        self.taken = 0  # bytes

    async def receive(self) -> Any:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.taken += len(message.get("body", b""))


def wrapped(send: Any) -> Any:
    """Wrap a `send` as Starlette does, to know whether the response has started."""
    begun = False

    async def wrapper(message: Any) -> None:
        nonlocal begun
        if message["type"] == "http.response.start":
            begun = True
        await send(message)

    return wrapper


async def tokens(item: Any) -> AsyncIterator[Any]:
    for _ in range(TOKENS):
        await asyncio.sleep(0)
        yield item


async def firehose(item: Any) -> AsyncIterator[Any]:
    for _ in range(FIREHOSE):
        yield item


async def floor(_scope: Any, _receive: Any, send: Any) -> None:
    for _ in range(TOKENS):
        await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": BLOCK, "more_body": True})


def ours(items: Callable[[Any], AsyncIterator[Any]]) -> App:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await EventSourceResponse(items(TOKEN))(scope, receive, _thrice(send))

    return app


def bare(items: Callable[[Any], AsyncIterator[Any]]) -> App:
    from starlette.responses import StreamingResponse

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await StreamingResponse(items(BLOCK))(scope, receive, _thrice(send))

    return app


def _thrice(send: Any) -> Any:
    return wrapped(wrapped(wrapped(send)))


def costs() -> dict[str, float]:
    """Measure the microseconds of CPU for a token: the floor, fastsse, a bare StreamingResponse."""
    apps = {"floor": floor, "fastsse": ours(tokens), "StreamingResponse": bare(tokens)}
    return _best(apps, STREAMS, TOKENS)


def hoses() -> dict[str, float]:
    """Measure the microseconds of CPU for an event of items that never wait: fastsse, a bare StreamingResponse."""
    apps = {"fastsse": ours(firehose), "StreamingResponse": bare(firehose)}
    return _best(apps, 1, FIREHOSE)


def _best(apps: dict[str, App], streams: int, events: int) -> dict[str, float]:
    """Let the applications take turns, and keep the best round of each."""
    found: dict[str, float] = {}
    with asyncio.Runner() as runner:
        for _ in range(ROUNDS):
            for name, app in apps.items():
                cost = runner.run(_run(app, streams, events)) / streams / events * 1e6
                found[name] = min(cost, found.get(name, cost))
    return found


async def _run(app: App, streams: int, events: int) -> float:
    """Return the seconds of CPU that an application takes for all events of all streams.

    Raises:
        AssertionError: not every byte has come.
    """
    servers = [Server() for _ in range(streams)]
    scope = {"type": "http", "method": "GET", "headers": [], "asgi": {"spec_version": "2.3"}}
    began = time.thread_time()
    await asyncio.gather(*(app(scope, server.receive, server.send) for server in servers))
    spent = time.thread_time() - began
    assert all(0 <= server.taken - events * len(BLOCK) <= 3 for server in servers)
    return spent


if __name__ == "__main__":
    for title, found in (("a token", costs()), ("an event that never waits", hoses())):
        print(f"us of CPU for {title}:", {name: round(cost, 2) for name, cost in found.items()})
