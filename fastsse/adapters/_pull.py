"""An ASGI response whose body is taken, part by part, by a framework that sends it itself.

The response runs in a task of its own, with a `receive` and a `send` that are made here. There is one place for a part
that is ready. A response that has a second one waits in `send`, so its time-out for sends counts how long the framework
and its client take.

The module knows ASGI's messages and one task; it must not know frameworks, streams or threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from fastsse._gate import outlast
from fastsse.asgi import App, Headers, Message, Scope

__all__ = ["CUT", "GONE", "Pull", "parts_of", "plain_scope"]

GONE = "the reader of this event stream has gone"
CUT = "this event stream was ended without the proper end of its body"

_log = logging.getLogger("fastsse.adapters")


def plain_scope(method: str = "GET") -> dict[str, Any]:
    """Make the scope of a request of which only the method is known."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "root_path": "",
        "headers": [],
        "client": None,
        "server": None,
    }


class Pull:
    """One request, answered by an ASGI response, whose parts are taken on the loop on which the response runs.

    Args:
        response: the ASGI response; begun at once.
        scope: the request's.
    """

    __slots__ = ("_bell", "_gone", "_loop", "_over", "_part", "_room", "_start", "_task", "_whole")

    def __init__(self, response: App, scope: Mapping[str, Any]) -> None:
        self._loop = asyncio.get_running_loop()
        self._part = b""  # ready to be taken
        self._start: Message | None = None
        self._whole = False  # the last part was given
        self._over = False  # nothing will come any more
        self._bell: asyncio.Future[None] | None = (
            None  # somebody waits for a part, or for the start
        )
        self._room: asyncio.Future[None] | None = None  # the response waits until the part is taken
        self._gone = asyncio.Event()
        self._task = self._loop.create_task(_call(response, dict(scope), self._receive, self._send))
        self._task.add_done_callback(self._end)

    async def start(self) -> tuple[int, Headers]:
        """Wait until the response starts, and return its status and headers.

        A wait that is cancelled closes the response: nobody would take its parts.

        Raises:
            Exception: the response has raised it instead.
        """
        try:
            while self._start is None and not self._over:
                await self._ring()
        except asyncio.CancelledError:
            await self.close()
            raise
        if self._start is None:
            self._raise()
            raise RuntimeError("the ASGI response has returned without an answer")
        return self._start["status"], list(self._start["headers"])

    async def part(self) -> bytes:
        """Wait for the next part of the body and return it; empty at the end of the body.

        Raises:
            ConnectionError: the body has ended without its proper end.
            Exception: the response has raised it.
        """
        while not self._part and not self._over:
            await self._ring()
        part, self._part = self._part, b""
        if part:
            _set(self._room)
        elif not self._whole:
            self._raise()
            raise ConnectionResetError(errno.ECONNRESET, CUT)
        return part

    def leave(self) -> None:
        """Tell the response, from any thread, that its reader has gone."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._leave)

    def _leave(self) -> None:
        self._gone.set()
        _set(self._room)

    async def close(self) -> None:
        """Tell the response that its reader has gone, and wait until it has returned. Idempotent."""
        self._leave()
        if not self._task.done():
            await outlast(self._task)
            error = None if self._task.cancelled() else self._task.exception()
            if error is not None:
                _log.error("an event stream failed after its reader had gone", exc_info=error)

    def _raise(self) -> None:
        """Raise what the response has raised, if anything."""
        if self._task.done() and not self._task.cancelled():
            self._task.result()

    async def _ring(self) -> None:
        self._bell = asyncio.get_running_loop().create_future()
        try:
            await self._bell
        finally:
            self._bell = None

    # The response's side.

    async def _receive(self) -> Message:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
        elif message["type"] == "http.response.body":
            while self._part and not self._gone.is_set():
                self._room = asyncio.get_running_loop().create_future()
                await self._room
            if self._gone.is_set():
                raise ConnectionResetError(errno.ECONNRESET, GONE)
            self._part = message.get("body", b"")
            self._whole = self._over = not message.get("more_body", False)
        _set(self._bell)

    def _end(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            task.exception()  # or the loop would complain of an exception that nobody has asked for
        self._over = True
        _set(self._bell)


async def parts_of(pull: Pull) -> AsyncGenerator[bytes]:
    """Yield the parts of a body, and close the pull in the end, whatever ends it."""
    try:
        while part := await pull.part():
            yield part
    finally:
        await pull.close()


async def _call(response: App, scope: Scope, receive: Any, send: Any) -> None:
    await response(scope, receive, send)


def _set(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)
