"""One open event stream of an `EventSourceResponse`, from its first message to its last.

A connection has the task that the server gave it, and at most two more:

    the connection's own   waits in receive() (`Gate.listen`), so that a client that has gone is noticed at once:
                           granian neither raises from send() nor cancels anything, and tells it only there
    the items'             iterates them from beginning to end (`Source`); a sync iterator has a thread instead
                           (`ThreadSource`)
    a sender               carries on a send that waits; behind middlewares it makes all sends (`Sending`)

Mostly a message leaves in the step in which the items begin to wait. Blocks that are ready together leave as one chunk,
and nothing waits for more.

In the end all of them are told to stop before any is waited for, and that wait is in a task of its own.

One timer serves heartbeats and the send timeout. SIGTERM and SIGINT are heard before the server's own handlers, because
a server waits for open responses without telling them (`fastsse._signals`).

The module knows ASGI's messages, sources and signals; it must not know requests, headers or frameworks.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from fastsse._gate import Gate, keep, outlast
from fastsse._items import HEARTBEAT, Items, Write
from fastsse._sending import Sending
from fastsse._signals import on_shutdown
from fastsse._source import start_source
from fastsse.asgi import Message, Receive, Send, body_message

__all__ = ["CLEANUP", "FAREWELL", "JOIN", "Connection", "Manner", "OnClose", "tell_closed"]

# Bytes: ready blocks leave in chunks of about this size, and items are read ahead this far.
JOIN = 2**16
FAREWELL = 0.4  # s that the final chunk waits for the items to close when the server shuts down
CLEANUP = 30.0  # s that the items may take to close before they are left behind

OnClose = Callable[[str], object]  # may return an awaitable

_log = logging.getLogger("fastsse.response")


class Manner(NamedTuple):
    """How a response serves its stream: the arguments of `EventSourceResponse`, checked.

    Attributes:
        write: makes each item's block.
        opening: bytes that come before the first item.
        last: a block that is sent last when the server shuts down.
        heartbeat: seconds of silence before a heartbeat; None for none.
        send_timeout: seconds that one send may take; None for no limit.
        wait_first: start the response with the first item, or the first heartbeat.
        on_close: called once when the stream is over, with the reason.
        may_beat: asked when a heartbeat is due; False for none now, so that it starts no response either.
        beat: the bytes of a heartbeat.
    """

    write: Write
    opening: bytes
    last: bytes
    heartbeat: float | None
    send_timeout: float | None
    wait_first: bool
    on_close: OnClose | None
    may_beat: Callable[[], bool] | None = None
    beat: bytes = HEARTBEAT


class Connection(Sending):
    """One open event stream. The stream is open until `_finish` gives it a reason; the first reason counts.

    Args:
        manner: how the stream is served.
        start: makes the message that starts the response, when the response starts.
        items: what is iterated; closed in the end.
        send: the server's.
    """

    __slots__ = (
        "_ending",
        "_error",
        "_gate",
        "_heartbeat_due",
        "_hurried",
        "_manner",
        "_opening",
        "_reason",
        "_shutting_down",
        "_start",
        "_timer",
    )

    def __init__(
        self, manner: Manner, start: Callable[[], Message], items: Items, send: Send
    ) -> None:
        super().__init__(send)
        self._reason = ""  # why the stream is over; empty while it is open
        self._error: BaseException | None = None  # for the server
        self._manner = manner
        self._start = start
        self._opening = b""  # what leaves before the blocks that are ready
        self._ending = ""  # why the stream is over once the message that is being sent has left
        self._heartbeat_due = False
        self._shutting_down = (
            False  # the items were told to stop; the final chunk waits for their end
        )
        self._hurried = False  # the final chunk waits no longer
        self._timer: asyncio.TimerHandle | None = None
        self._gate = Gate()  # where the connection's own task is in receive()
        self._source = start_source(items, manner.write, limit=JOIN, notify=self._flush)

    async def run(self, receive: Receive) -> None:
        """Serve the stream until it is over and its items are closed.

        Raises:
            Exception: the items, the server's `send` or its `receive` has raised it.
            asyncio.CancelledError: the server has cancelled its task.
        """
        _register(self._loop, self)
        self._set_timer()
        if not self._manner.wait_first:
            self._loop.call_soon(self._flush)
        try:
            if await self._gate.listen(receive):
                self._finish("disconnected")
        except asyncio.CancelledError:
            self._finish("cancelled")
            raise
        except Exception as error:
            self._finish("failed", error)
        finally:
            await outlast(self._loop.create_task(self._close(self._stop())))
        if self._error is not None:
            raise self._error

    # The end.

    def _finish(self, reason: str, error: BaseException | None = None) -> None:
        """End the stream, from whichever task; the connection's own task does what is left to do."""
        if not self._reason:
            self._reason = reason
            self._error = error
            self._over = True
            self._gate.close()

    def _fail(
        self, error: BaseException, said: str = "the items of an EventSourceResponse were cancelled"
    ) -> None:
        """End the stream with an error. A cancellation becomes another error, so that nobody takes it for ours."""
        if isinstance(error, asyncio.CancelledError):
            cause, error = error, RuntimeError(said)
            error.__cause__ = cause
        self._finish("failed", error)

    def _stop(self) -> asyncio.Task[None] | None:
        """Tell everything to stop before anything is awaited. Returns the sender, which must end besides the items."""
        if self._timer is not None:
            self._timer.cancel()
        self._source.stop()
        if self._sender is not None:
            self._sender.cancel()
        return self._sender

    async def _close(self, sender: asyncio.Task[None] | None) -> None:
        """Wait for the end of everything, in a task of its own: nobody's cancel scope can cut it short."""
        if self._reason == "cancelled":
            self._loop.call_later(FAREWELL, self._source.abandon)
        try:
            ends = (self._source.closed, sender)
            await asyncio.wait([end for end in ends if end is not None], timeout=CLEANUP)
        finally:
            if sender is not None and not sender.done():
                keep(sender)  # a send() that does not heed its cancellation
            _unregister(self._loop, self)
            self._report()
            await tell_closed(self._manner.on_close, self._reason)

    def _report(self) -> None:
        """Log what nobody else would hear of."""
        source = self._source
        if source.left_behind and source.closed.done():
            _log.warning("items that block were left behind when the server ended")
        elif source.left_behind:
            keep(source.closed)
            _log.warning("items were not closed %g s after the end of their stream", CLEANUP)
        elif source.error is not None and self._reason != "failed":
            _log.error("items failed while they were closed", exc_info=source.error)
        if self._reason == "timeout":
            _log.info("stream ended: a send took more than %g s", self._manner.send_timeout)

    # Sending.

    def _sent(self) -> None:
        if self._ending:
            self._finish(self._ending)

    def _send_failed(self, error: BaseException) -> None:
        if isinstance(error, OSError):  # servers of ASGI 2.4 raise it when the client has gone
            self._finish("disconnected")
        else:  # our own cancellation comes only after the end
            self._fail(error, "the send() of an EventSourceResponse was cancelled")

    def _next(self) -> Message | None:
        """Make the message that can be sent now. Without one, let the items go on, and return None."""
        if self._over:
            return None
        source = self._source
        body = source.take()
        if not self._started:
            return self._first(body)
        if self._opening:
            body = self._opening + body
            self._opening = b""
        if body or self._heartbeat_due:
            self._heartbeat_due = False
            return body_message(body or self._manner.beat)
        if source.over or self._shutting_down:
            return self._last()
        self._plain = self._own is not None
        source.resume()
        return None

    def _first(self, body: bytes) -> Message | None:
        """Make the start of the response, unless the items have failed before it: then the framework answers 500."""
        error = self._source.error
        if error is not None and not body:
            self._fail(error)
            return None
        self._opening = self._manner.opening + body
        return self._start()

    def _last(self) -> Message | None:
        """Make the message that ends the stream. On a shutdown the items are closed before, or late."""
        source = self._source
        if self._shutting_down:
            if not (source.over or self._hurried):
                return None
            self._ending = "shutdown"
            return body_message(self._manner.last, more=False)
        if source.error is not None:
            self._fail(source.error)
            return None
        self._ending = "finished"
        return body_message(b"", more=False)

    # The timer.

    def _set_timer(self) -> None:
        """Look again when something may be due: one timer for heartbeats and timeouts, which no send touches."""
        heartbeat, timeout = self._manner.heartbeat, self._manner.send_timeout
        spent = self._loop.time() - self._sent_at
        waits: list[float] = []
        if timeout is not None:
            waits.append(timeout - spent if self._pending else timeout)
        if heartbeat is not None:
            waits.append(heartbeat if self._pending else heartbeat - spent)
        if waits:
            self._timer = self._loop.call_later(max(0.0, min(waits)), self._look)

    def _look(self) -> None:
        heartbeat, timeout = self._manner.heartbeat, self._manner.send_timeout
        spent = self._loop.time() - self._sent_at
        if self._pending and timeout and spent >= timeout:
            self._finish("timeout")
            return
        if not self._pending and heartbeat and spent >= heartbeat:
            self._beat()
        self._set_timer()

    def _beat(self) -> None:
        may_beat = self._manner.may_beat
        if may_beat is None or may_beat():
            self._heartbeat_due = True
            self._plain = False
            self._flush()
        else:
            # As if it had been sent: look again after the interval.
            self._sent_at = self._loop.time()

    # The server's shutdown.

    def shut_down(self) -> None:
        """End the stream because the server ends, which the server does at once after the final chunk."""
        self._shutting_down = True
        self._plain = False
        self._source.stop()
        self._flush()
        self._loop.call_later(FAREWELL, self._give_up)

    def _give_up(self) -> None:
        """Wait no longer for items that close slowly, and only a moment for a client that does not read."""
        self._hurried = True
        self._source.abandon()
        self._flush()
        self._loop.call_later(FAREWELL / 4, self._finish, "shutdown")


class _OpenStreams:
    """The open streams of one loop, and how to stop listening for the signal that ends them."""

    __slots__ = ("connections", "stop_listening")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.connections: set[Connection] = set()
        self.stop_listening = on_shutdown(partial(_shut_down, loop))


_open: dict[asyncio.AbstractEventLoop, _OpenStreams] = {}  # loops with streams, and only those


def _register(loop: asyncio.AbstractEventLoop, connection: Connection) -> None:
    if loop not in _open:
        _open[loop] = _OpenStreams(loop)
    _open[loop].connections.add(connection)


def _unregister(loop: asyncio.AbstractEventLoop, connection: Connection) -> None:
    streams = _open.get(loop)
    if streams is not None:
        streams.connections.discard(connection)
        if not streams.connections:
            streams.stop_listening()
            del _open[loop]


def _shut_down(loop: asyncio.AbstractEventLoop) -> None:
    """End the loop's streams: the signal has come. A stream that registers later listens anew, and hears at once."""
    streams = _open.pop(loop, None)
    if streams is not None:
        for connection in streams.connections:
            connection.shut_down()


async def tell_closed(on_close: OnClose | None, reason: str) -> None:
    """Call `on_close`, and log what it raises: the stream is over, and nobody else would hear of it."""
    if on_close is None:
        return
    try:
        closing = on_close(reason)
        if inspect.isawaitable(closing):
            await closing
    except (Exception, asyncio.CancelledError):
        _log.exception("on_close failed")
