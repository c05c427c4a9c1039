"""One open stream in the manner of sse-starlette, from its first message to its last.

An item is asked for when the one before has been sent, which generators and memory channels may rely on: that is the
difference to `fastsse.response`, which reads ahead and sends what is ready together. The items' own task sends each of
them, so nothing is handed from one task to another.

    the response's own task   waits in receive() until the client leaves
    the items' task           iterates them from beginning to end, sends each, and closes them
    the producer's task       runs `data_sender_callable`, where there is one
    a ping's task             lives while one ping is being sent; no other send is pending meanwhile

The module knows ASGI's messages and tasks; it must not know requests, headers or events.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable
from logging import Logger
from typing import Any, NamedTuple, Protocol

import anyio

from fastsse._asyncio import require_asyncio
from fastsse._gate import Gate, cancellable_task, keep, outlast
from fastsse._items import aclose
from fastsse._stepping import own_send
from fastsse.asgi import Message, Receive, Send, body_message
from fastsse.compat.sse_starlette import _status

__all__ = ["FAREWELL", "Manner", "Settable", "Stream"]

FAREWELL = (
    0.4  # s that items may take to close, and the last message to leave, when the server ends
)
_TURN = 32  # items after which the rest of the process has its turn
_CLOSING = "Error closing body iterator after encoding or send failure"
_ENOUGH = (
    1.0  # s that a second cancellation of a cleanup may take before the response returns without it
)


class Settable(Protocol):
    """The part of an event object, anyio's or asyncio's, that a stream needs."""

    def set(self) -> object:
        """Tell whoever waits for the event."""
        ...


class Manner(NamedTuple):
    """How a stream is served.

    Attributes:
        write: makes each item's block.
        make_ping: makes each ping.
        ping: seconds between two pings; 0 for none.
        send_timeout: seconds that one send of the body may take; None for no limit. The start has none: it comes before
            the items, which would be closed without having run.
        timed_out: makes the exception that says so.
        producer: started beside the items, and cancelled with them.
        left: called with the message that says that the client has left, before the items are cancelled.
        shutdown_event: set when the server ends.
        grace: seconds that the items may go on after that.
        cleanup_timeout: seconds that the items may take to close; None for no limit.
        log: where a cleanup that fails or takes too long is written.
    """

    write: Callable[[Any], bytes]
    make_ping: Callable[[], bytes]
    ping: float
    send_timeout: float | None
    timed_out: Callable[[], Exception]
    producer: Callable[[], Awaitable[object]] | None
    left: Callable[[Message], Awaitable[object]]
    shutdown_event: Settable | None
    grace: float
    cleanup_timeout: float | None
    log: Logger


class _ClientLeft(Exception):
    """`send` has raised OSError, as servers of ASGI 2.4 do once the client has gone."""


class Stream:
    """One open stream, open until `_finish` is called; the first call counts.

    Args:
        manner: how the stream is served.
        start: the message that starts the response.
        items: what is iterated; closed in the end.
        send: the server's.
    """

    __slots__ = (
        "_busy_since",
        "_cancelled",
        "_closed",
        "_ending",
        "_error",
        "_gate",
        "_items",
        "_left",
        "_loop",
        "_manner",
        "_open",
        "_ping_at",
        "_ping_due",
        "_pinging",
        "_producer",
        "_send",
        "_sender",
        "_start",
        "_started",
        "_timer",
        "_told",
        "_warned",
    )

    def __init__(
        self, manner: Manner, start: Message, items: AsyncIterable[Any], send: Send
    ) -> None:
        self._manner = manner
        self._start = start
        self._items = items
        self._send = send
        self._loop = loop = require_asyncio("EventSourceResponse")
        self._open = True
        self._error: BaseException | None = None  # for the server
        self._gate = Gate()  # where the response's own task is in receive()
        self._cancelled = False  # the items were cancelled, which happens once
        self._closed = False  # the items are closed
        self._told = False  # the server ends: the items go on for the time of grace
        self._ending = False  # the server ends: the last message is to follow
        self._left = False  # `send` has told that the client has gone
        self._started = False
        self._warned = False
        self._busy_since = 0.0  # loop time at which the pending send began; 0 while there is none
        self._ping_due = False  # a ping waits for the pending send
        self._pinging: asyncio.Task[None] | None = None
        self._ping_at = loop.time() + manner.ping
        self._timer: asyncio.TimerHandle | None = None
        self._producer: asyncio.Task[None] | None = None
        self._sender = loop.create_task(self._serve())

    async def run(self, receive: Receive) -> None:
        """Serve the stream until it is over and its items are closed.

        Raises:
            Exception: the items, the producer, a callback, `send` or `receive` has raised it.
            asyncio.CancelledError: somebody has cancelled the response's task.
        """
        _status.register(self._loop, self)
        if self._manner.producer is not None:
            self._producer = self._loop.create_task(_await(self._manner.producer))
            self._producer.add_done_callback(self._produced)
        self._set_timer()
        last: Message = {}

        async def listen() -> Message:
            nonlocal last
            last = await receive()
            if last["type"] == "websocket.disconnect":  # the response denies a WebSocket
                last = {**last, "type": "http.disconnect"}
            return last

        try:
            if await self._gate.listen(listen):
                await self._manner.left(last)
            elif self._left:
                await self._manner.left({"type": "http.disconnect"})
            self._finish()
        except asyncio.CancelledError:
            self._finish()
            raise
        except Exception as error:
            self._finish(error)
        finally:
            self._stop()
            await self._wait_for(self._loop.create_task(self._close()))
        if self._error is not None:
            raise self._error

    async def _wait_for(self, closing: asyncio.Task[None]) -> None:
        """Wait for the end of everything, also where a cancel scope outside cancels at every turn of the loop."""
        if cancellable_task() is None:  # a task of granian's own, in which anyio has no scopes
            await outlast(closing)
            return
        with anyio.CancelScope(shield=True):
            await outlast(closing)

    # The items.

    async def _serve(self) -> None:
        """Send the start, the items and the end, and close the items, all in one task."""
        try:
            await self._deliver(self._start)
            self._started = True
            # Past wrappers that note the start alone.
            self._send = own_send(self._send) or self._send
            await self._iterate()
            await self._deliver(body_message(b"", more=False))
            self._finish()
        except _ClientLeft:
            self._left = True
            self._finish()
        except asyncio.CancelledError as error:
            if self._open:
                said = RuntimeError("the items of an EventSourceResponse were cancelled")
                said.__cause__ = error
                self._finish(said)
        except BaseException as error:
            if not self._open:
                self._manner.log.error(_CLOSING, exc_info=error)
            self._finish(error)
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise

    async def _iterate(self) -> None:
        source = aiter(self._items)
        write, deliver = self._manner.write, self._deliver
        turn = 0
        try:
            async for item in source:
                if self._cancelled:  # the items have swallowed the cancellation
                    break
                await deliver(body_message(write(item)))
                turn += 1
                if self._ping_due:
                    self._ping_due = False
                    await deliver(body_message(self._manner.make_ping()))
                if turn == _TURN:  # neither these items nor this server need ever wait
                    turn = 0
                    await asyncio.sleep(0)
        except asyncio.CancelledError:
            if not self._ending:
                raise
        finally:
            await self._close_items(source)

    async def _close_items(self, source: object) -> None:
        """Close the items, within the time that they may take."""
        limit = asyncio.timeout(self._manner.cleanup_timeout)
        try:
            async with limit:
                await aclose(source)
        except TimeoutError:
            pass
        except Exception:
            self._manner.log.exception(_CLOSING)
        finally:
            self._closed = True
        if limit.expired():
            self._warn()

    def _warn(self) -> None:
        if not self._warned:
            self._warned = True
            self._manner.log.warning(
                "Body iterator cleanup cancelled after %s seconds", self._manner.cleanup_timeout
            )

    def _produced(self, task: asyncio.Task[None]) -> None:
        """End the stream when its producer fails, as the items' own failure would."""
        if not task.cancelled() and (error := task.exception()) is not None:
            if self._open:
                self._finish(error)
            else:
                self._manner.log.error("data_sender_callable failed", exc_info=error)

    # Sending. One send at a time: the items' task waits for a ping that is under way, and sends one that is due.

    async def _deliver(self, message: Message) -> None:
        """Send a message from the items' task."""
        if self._pinging is not None:
            await asyncio.wait([self._pinging])
        await self._send_timed(message)

    async def _send_timed(self, message: Message) -> None:
        """Send a message within `send_timeout`, which the timer watches."""
        self._busy_since = self._loop.time()
        try:
            await self._send(message)
        except OSError as error:
            raise _ClientLeft from error
        finally:
            self._busy_since = 0.0

    async def _ping(self) -> None:
        try:
            await self._send_timed(body_message(self._manner.make_ping()))
        except _ClientLeft:
            self._left = True
            self._finish()
        except Exception as error:
            self._finish(error)
        finally:
            self._pinging = None

    def _set_timer(self) -> None:
        """Look again when something may be due: one timer for pings and timeouts, which no send touches."""
        timeout, now = self._manner.send_timeout, self._loop.time()
        due = [self._ping_at] if self._manner.ping else []
        if timeout is not None:
            due.append((self._busy_since or now) + timeout)
        if due and self._open:
            self._timer = self._loop.call_at(max(now, min(due)), self._look)

    def _look(self) -> None:
        manner, now = self._manner, self._loop.time()
        busy = now - self._busy_since if self._busy_since and self._started else 0.0
        if manner.send_timeout is not None and busy >= manner.send_timeout:
            self._finish(manner.timed_out())
            return
        if manner.ping and now >= self._ping_at:
            self._ping_at = now + manner.ping
            if self._busy_since or self._pinging is not None:
                self._ping_due = True
            else:
                self._pinging = self._loop.create_task(self._ping())
        self._set_timer()

    # The end.

    def shut_down(self) -> None:
        """End the stream because the server ends: after the time of grace, where there is one."""
        if self._told or not self._open:
            return
        self._told = True
        if self._manner.shutdown_event is not None:
            self._manner.shutdown_event.set()
        if self._manner.grace:
            self._loop.call_later(self._manner.grace, self._end)
        else:
            self._end()

    def _end(self) -> None:
        """Cancel the items, and let the last message follow, if that takes a moment only."""
        if self._open:
            self._ending = True
            self._cancel_items()
            self._loop.call_later(FAREWELL, self._finish)

    def _finish(self, error: BaseException | None = None) -> None:
        """End the stream, from whichever task; the response's own task does what is left to do."""
        if self._open:
            self._open = False
            self._error = error
            self._gate.close()

    def _cancel_items(self) -> None:
        """Cancel the items once; once more only when they are closed, and a send is what does not return."""
        if not self._cancelled or self._closed:
            self._cancelled = True
            self._sender.cancel()

    def _stop(self) -> None:
        """Tell everything to stop before anything is awaited: the producer first, before its channel is closed."""
        if self._timer is not None:
            self._timer.cancel()
        for task in (self._producer, self._pinging):
            if task is not None:
                task.cancel()
        self._cancel_items()

    async def _close(self) -> None:
        """Wait for the end of everything, in a task of its own: nobody's cancel scope can cut it short."""
        tasks = {task for task in (self._sender, self._producer, self._pinging) if task is not None}
        try:
            limit = self._manner.cleanup_timeout
            _, late = await asyncio.wait(tasks, timeout=None if limit is None else limit + 0.1)
            if late:
                self._warn()
                for task in late:
                    task.cancel()
                _, late = await asyncio.wait(late, timeout=_ENOUGH)
            for task in late:
                keep(task)
        finally:
            _status.unregister(self._loop, self)


async def _await(function: Callable[[], Awaitable[object]]) -> None:
    await function()
