"""The server in memory of `fastsse.testing`, and two things that only our own tests need.

`open_stream` knows one more kind of `send`: "direct" is "granian" by the module of its class, too, so that a hub takes
the sends for granian's own and steps them. `turns` lets the loop run.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal

from fastsse import testing
from fastsse.testing import CHANNEL, Answer, Ended, Stream, fetch, lifespan

__all__ = [
    "CHANNEL",
    "Answer",
    "Ended",
    "Sends",
    "Stream",
    "fetch",
    "lifespan",
    "open_stream",
    "turns",
]

Sends = Literal["granian", "coroutine", "wrapped", "direct"]


class _Granian:
    """The server's side of a request, under the server's name."""

    __module__ = "granian.driver"

    def __init__(self, receive: Any, send: Any) -> None:
        self._receive = receive
        self._send = send

    def send(self, message: Any) -> Any:
        return self._send(message)

    async def receive(self) -> Any:
        return await self._receive()


def open_stream(
    app: Any, *arguments: Any, sends: Sends = "granian", **options: Any
) -> AbstractAsyncContextManager[Stream]:
    """Open a request to `app`, like `fastsse.testing.open_stream`."""
    if sends != "direct":
        return testing.open_stream(app, *arguments, sends=sends, **options)

    async def named(scope: Any, receive: Any, send: Any) -> None:
        server = _Granian(receive, send)
        await app(scope, server.receive, server.send)

    return testing.open_stream(named, *arguments, **options)


async def turns(count: int = 20) -> None:
    """Let the loop run for `count` turns: for "and then nothing happens"."""
    for _ in range(count):
        await asyncio.sleep(0)
