"""An ASGI response whose messages become the writes of a framework that is told of clients by cancellation.

The response runs in a task of its own, so that a cancellation of the framework's task, which means that the client has
gone, reaches the response as a disconnect: its items are closed in their own time. The framework's task starts its own
response meanwhile, because hooks that run then belong to the request.

The module knows ASGI's messages and tasks; it must not know frameworks or streams.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from fastsse._gate import outlast
from fastsse.adapters._pull import GONE
from fastsse.asgi import App, Message, Send

__all__ = ["Push", "Writer", "in_a_task"]


class Writer(Protocol):
    """The framework's side of a response."""

    async def begin(self, message: Message) -> None:
        """Start the framework's response by ASGI's message; called in the framework's task."""
        ...

    async def put(self, body: bytes, more: bool) -> None:
        """Write a part of the body; without `more` it is the last one. May be called outside any task."""
        ...


class Push:
    """One request, answered by an ASGI response through a framework's writes.

    Args:
        response: the ASGI response.
        scope: the request's.
        writer: what writes.
        send: makes the response's `send` of one that may be stepped outside a task.

    Attributes:
        started: the framework's response was started.
        whole: the end of the body was written.
    """

    def __init__(
        self,
        response: App,
        scope: Mapping[str, Any],
        writer: Writer,
        send: Callable[[Send], Send] = lambda send: send,
    ) -> None:
        self.started = False
        self.whole = False
        self._response = response
        self._scope = dict(scope)
        self._writer = writer
        self._as_send = send
        self._gone = asyncio.Event()
        self._start: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        """Run the response to its end.

        Raises:
            asyncio.CancelledError: the framework has cancelled this call; the response has returned.
            Exception: the response has raised it.
        """
        task = asyncio.get_running_loop().create_task(self._answer())
        try:
            either: list[asyncio.Future[Any]] = [task, self._start]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if self._start.done():
                await self._begin(self._start.result())
            await asyncio.wait([task])
        except asyncio.CancelledError:
            self.leave()
            await outlast(task)
            raise
        task.result()

    def leave(self) -> None:
        """Tell the response that its client has gone."""
        self._gone.set()
        if not self._begun.done():
            self._begun.set_exception(ConnectionResetError(errno.ECONNRESET, GONE))
            self._begun.exception()  # or the loop would complain where nobody waits for the start

    async def _begin(self, message: Message) -> None:
        """Start the framework's response; what it raises goes to the ASGI response, which ends by it."""
        try:
            await self._writer.begin(message)
        except Exception as error:
            if not self._begun.done():
                self._begun.set_exception(error)
        else:
            self.started = True
            if not self._begun.done():
                self._begun.set_result(None)

    async def _answer(self) -> None:
        await self._response(self._scope, self._receive, self._as_send(self._send))

    async def _receive(self) -> Message:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start.set_result(message)
            await self._begun
        elif message["type"] == "http.response.body":
            more = message.get("more_body", False)
            await self._writer.put(message.get("body", b""), more)
            self.whole = not more


def in_a_task(send: Send) -> Send:
    """Make a `send` that is always called in a task, for frameworks that run hooks of others in it."""

    async def calling(message: Message) -> None:
        await send(message)

    return calling
